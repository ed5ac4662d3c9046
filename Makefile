# `make` or `make help` lists what there is. Works with GNU make 3.81 and later.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The Python that .venv is made with: PYTHON=python3.13 make setup. The first that is new enough, if not given.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$python; exit; fi; done; echo python3)
# More arguments for pytest, the demo or the benchmarks: make test ARGS="-k promise"
ARGS ?=
# Test processes. More than cores, for many tests wait for processes that they started.
WORKERS ?= 4

# More arguments for pip, to test with other versions: make test VENV=.build/oldest PINS="-r requirements-oldest.lock"
PINS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
USER_INSTALLED := $(VENV)/.installed-user
GEN_VENV := .venv-gen
GEN_INSTALLED := $(GEN_VENV)/.installed
# The oldest release that the package supports: stubs run with the grpcio that made them and newer.
GRPCIO_TOOLS := 1.76.0
STUBS := python_client/flowspan/v1
RELEASED_PROTO := proto/released/flowspan.v1.binpb
PIP_FLAGS := --quiet --disable-pip-version-check

define CHECK_PYTHON
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "flowspan needs Python 3.11 or later, but $(PYTHON) is older or missing. Name another:"; \
	echo "    make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11"; exit 1; }
endef

.PHONY: help setup lock gen gen-check fmt lint lint-proto types test test-prefect test-jaeger check demo serve soak \
	bench bench-peers release-proto clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED) ## Make .venv with flowspan (editable) and the development tools

$(INSTALLED): requirements-dev.lock pyproject.toml
	@$(CHECK_PYTHON)
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) -r requirements-dev.lock
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --editable .
	@test -z '$(PINS)' || $(BIN)/python -m pip install $(PIP_FLAGS) $(PINS)
	@touch $@

# Without --quiet: the installation takes half a minute, and pip shows its progress.
$(USER_INSTALLED): requirements-dev.lock pyproject.toml
	@$(CHECK_PYTHON)
	@echo "Installing flowspan and its dependencies into $(VENV). This is needed only once."
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --constraint requirements-dev.lock --editable .
	@touch $@

$(GEN_INSTALLED): Makefile
	@$(GEN_VENV)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(GEN_VENV)
	$(GEN_VENV)/bin/python -m pip install $(PIP_FLAGS) grpcio-tools==$(GRPCIO_TOOLS)
	@touch $@

lock: $(INSTALLED) ## Resolve the development requirements, and the oldest supported ones (*.lock)
	@$(BIN)/python -m pip install $(PIP_FLAGS) uv
	$(BIN)/uv pip compile pyproject.toml --extra postgres --extra migrate --group dev --universal \
		--python-version 3.11 --no-header --no-annotate --upgrade --quiet \
		--output-file requirements-dev.lock
	$(BIN)/uv pip compile pyproject.toml --extra postgres --extra migrate --resolution lowest-direct \
		--python-version 3.11 --no-header --no-annotate --quiet --output-file requirements-oldest.lock

gen: $(GEN_INSTALLED) ## Generate the stubs from proto/
	@proto/generate.sh $(GEN_VENV)/bin/python .build/gen
	@rm -f $(STUBS)/*_pb2*.py $(STUBS)/*_pb2*.pyi
	@cp .build/gen/flowspan/v1/* $(STUBS)/

gen-check: $(GEN_INSTALLED) ## Check that the committed stubs are those of proto/
	@proto/generate.sh $(GEN_VENV)/bin/python .build/gen-check
	@diff -r -q -x __pycache__ -x __init__.py .build/gen-check/flowspan/v1 $(STUBS) \
		|| { echo "The stubs do not belong to the protos: run 'make gen'."; exit 1; }

fmt: $(INSTALLED) ## Format the code and mend what the linter can mend
	$(BIN)/ruff format --quiet
	$(BIN)/ruff check --fix --quiet

lint: $(INSTALLED) lint-proto ## Style, import contracts, protos
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

lint-proto: $(INSTALLED)
	$(BIN)/buf lint
	@if test -f $(RELEASED_PROTO); then set -x; $(BIN)/buf breaking --against $(RELEASED_PROTO); \
		else echo "No release of the protos yet, nothing to break."; fi

release-proto: $(INSTALLED) ## Keep the protos as those of the last release (see CONTRIBUTING.md)
	@mkdir -p $(dir $(RELEASED_PROTO))
	$(BIN)/buf build --exclude-source-info --output $(RELEASED_PROTO)

types: $(INSTALLED) ## Check the types
	$(BIN)/mypy

test: $(INSTALLED) ## All tests but those with Jaeger
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not jaeger" $(ARGS)

# Each release in an environment of its own. Prefect 3.8.8 does not run with newer releases of fastapi.
test-prefect: ## What tests/migrating says of Prefect, on the real one: 3.8.8, and the newest
	@scripts/test-prefect.sh "$(PYTHON)" 3.8.8 "prefect==3.8.8" "fastapi==0.140.0" -- $(ARGS)
	@scripts/test-prefect.sh "$(PYTHON)" newest "prefect>=3.9" -- $(ARGS)

test-jaeger: $(INSTALLED) ## The tests with a real Jaeger (found, or built with Go: minutes)
	@scripts/build-jaeger.sh > /dev/null || test $$? -eq 3 # 3: none here, and no Go: they are skipped
	$(BIN)/pytest -m jaeger $(ARGS)

soak: $(INSTALLED) ## Run flows while everything fails: make soak ARGS="--minutes 10 --db postgresql --seed 1"
	$(BIN)/python -m tests.soak $(ARGS)

check: gen-check lint types test ## All that CI checks

# Users' dependencies are enough, unless the development tools are there already.
demo: $(if $(wildcard $(INSTALLED)),$(INSTALLED),$(USER_INSTALLED)) ## A real flow: a census of the Python standard library
	$(BIN)/python examples/stdlib_census.py $(ARGS)

serve: $(INSTALLED) ## A service in the foreground, on port 4600
	$(BIN)/flowspan server start $(ARGS)

bench: $(INSTALLED) ## Measure; ARGS=--json for programs
	$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(INSTALLED) ## Measure the same with Prefect and DBOS, each in its own environment
	$(BIN)/python -m benchmarks.peers $(ARGS)

clean: ## Remove what was built, the environments included
	rm -rf $(VENV) $(GEN_VENV) .build build dist .pytest_cache .ruff_cache .mypy_cache \
		.import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
