# `make` or `make help` lists the targets. Works with GNU make 3.81 and later.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The Python for .venv: PYTHON=python3.13 make setup. By default, the first that is new enough.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$python; exit; fi; done; echo python3)
# Further arguments for pytest, the demo or the benchmarks: make test ARGS="-k promise"
ARGS ?=
# Test processes: more than cores, because many tests wait for processes that they started.
WORKERS ?= 4

# Further requirements for pip, to test with other versions: make test VENV=.build/oldest PINS="-r requirements-oldest.lock"
PINS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
USER_INSTALLED := $(VENV)/.installed-user
GEN_VENV := .venv-gen
GEN_INSTALLED := $(GEN_VENV)/.installed
# The oldest release that the package supports: stubs need at least the grpcio that generated them.
GRPCIO_TOOLS := 1.76.0
STUBS := python_client/flowspan/v1
OPENAPI := service/flowspan_service/transports/http/openapi.json
RELEASED_PROTO := proto/released/flowspan.v1.binpb
PIP_FLAGS := --quiet --disable-pip-version-check

define CHECK_PYTHON
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "flowspan needs Python 3.11 or later, but $(PYTHON) is older or missing. Choose another:"; \
	echo "    make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11"; exit 1; }
endef

.PHONY: help setup lock gen gen-check fmt lint lint-proto types test test-clients test-prefect test-instrumented test-jaeger check \
	demo serve soak bench bench-peers bench-clients client-go client-java client-typescript release-proto clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED) ## Create .venv with flowspan (editable) and the development tools

$(INSTALLED): requirements-dev.lock pyproject.toml
	@$(CHECK_PYTHON)
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) -r requirements-dev.lock
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --editable .
	@test -z '$(PINS)' || $(BIN)/python -m pip install $(PIP_FLAGS) $(PINS)
	@touch $@

# Without --quiet, because the installation takes half a minute and pip shows its progress.
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

lock: $(INSTALLED) ## Resolve the requirements of development, of tests, and the oldest ones (*.lock)
	@$(BIN)/python -m pip install $(PIP_FLAGS) uv
	$(BIN)/uv pip compile pyproject.toml --extra postgres --extra migrate --group dev --universal \
		--python-version 3.11 --no-header --no-annotate --upgrade --quiet \
		--output-file requirements-dev.lock
	$(BIN)/uv pip compile pyproject.toml --extra postgres --extra migrate --resolution lowest-direct \
		--python-version 3.11 --no-header --no-annotate --quiet --output-file requirements-oldest.lock
	@cp requirements-dev.lock requirements-instrumented.lock # the same releases, where they fit
	$(BIN)/uv pip compile pyproject.toml requirements-instrumented.in --extra postgres --extra migrate \
		--group dev --universal --python-version 3.11 --no-header --no-annotate --quiet \
		--output-file requirements-instrumented.lock

gen: $(GEN_INSTALLED) ## Generate the stubs and the OpenAPI document from proto/
	@proto/generate.sh $(GEN_VENV)/bin/python .build/gen
	@rm -f $(STUBS)/*_pb2*.py $(STUBS)/*_pb2*.pyi
	@cp .build/gen/flowspan/v1/* $(STUBS)/
	@cp .build/gen/openapi.json $(OPENAPI)

gen-check: $(GEN_INSTALLED) ## Check that the committed stubs and OpenAPI document match proto/
	@proto/generate.sh $(GEN_VENV)/bin/python .build/gen-check
	@diff -r -q -x __pycache__ -x __init__.py .build/gen-check/flowspan/v1 $(STUBS) \
		|| { echo "The stubs do not match the protos: run 'make gen'."; exit 1; }
	@diff -q .build/gen-check/openapi.json $(OPENAPI) \
		|| { echo "The OpenAPI document does not match the protos: run 'make gen'."; exit 1; }

fmt: $(INSTALLED) ## Format the code and apply the linter's fixes
	$(BIN)/ruff format --quiet
	$(BIN)/ruff check --fix --quiet

lint: $(INSTALLED) lint-proto ## Check style, import contracts and protos
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

lint-proto: $(INSTALLED)
	$(BIN)/buf lint
	@if test -f $(RELEASED_PROTO); then set -x; $(BIN)/buf breaking --against $(RELEASED_PROTO); \
		else echo "The protos have no release yet, so there is nothing to break."; fi

release-proto: $(INSTALLED) ## Store the protos as the last release (see CONTRIBUTING.md)
	@mkdir -p $(dir $(RELEASED_PROTO))
	$(BIN)/buf build --exclude-source-info --output $(RELEASED_PROTO)

types: $(INSTALLED) ## Check the types
	$(BIN)/mypy

test: $(INSTALLED) ## Run all tests except those with Jaeger
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not jaeger" $(ARGS)

test-clients: $(INSTALLED) ## Run the conformance tests of the clients in all languages, and print the matrix
	FLOWSPAN_TEST_LANGUAGES=all $(BIN)/pytest -n $(WORKERS) --dist worksteal tests/conformance $(ARGS)
	@$(BIN)/python -m tests.conformance.matrix --write

# Each release gets its own environment. Prefect 3.8.8 does not run with newer releases of fastapi.
test-prefect: ## Run tests/migrating on the real Prefect: 3.8.8 and the newest
	@scripts/test-prefect.sh "$(PYTHON)" 3.8.8 "prefect==3.8.8" "fastapi==0.140.0" -- $(ARGS)
	@scripts/test-prefect.sh "$(PYTHON)" newest "prefect>=3.9" -- $(ARGS)

# In an environment of its own: instrumentations need older releases of some packages.
test-instrumented: ## Run tests/instrumented: programs and services under opentelemetry-instrument
	@scripts/test-instrumented.sh "$(PYTHON)" $(ARGS)

test-jaeger: $(INSTALLED) ## Run the tests with a real Jaeger (found, or built with Go in minutes)
	@scripts/build-jaeger.sh > /dev/null || test $$? -eq 3 # 3: neither Jaeger nor Go, so the tests are skipped
	$(BIN)/pytest -m jaeger $(ARGS)

client-java: $(INSTALLED) ## Check and test the Java client (needs Java 17)
	cd clients/java && ./mvnw --quiet --batch-mode verify

client-typescript: $(INSTALLED) ## Check and test the TypeScript client (needs Node)
	cd clients/typescript && npm ci --no-audit --no-fund && npm run lint && npm test

soak: $(INSTALLED) ## Run flows while everything fails: make soak ARGS="--minutes 10 --db postgresql --seed 1"
	$(BIN)/python -m tests.soak $(ARGS)

check: gen-check lint types test ## Run all checks of CI

# The user dependencies are enough, unless the development tools are already installed.
demo: $(if $(wildcard $(INSTALLED)),$(INSTALLED),$(USER_INSTALLED)) ## Run a real flow: a census of the Python standard library
	$(BIN)/python examples/stdlib_census.py $(ARGS)

serve: $(INSTALLED) ## Run a service in the foreground, on port 4600
	$(BIN)/flowspan server start $(ARGS)

bench: $(INSTALLED) ## Run the benchmarks; ARGS=--json for machine-readable output
	$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(INSTALLED) ## Run them with Prefect and DBOS as well, each in its own environment
	$(BIN)/python -m benchmarks.peers $(ARGS)

# Builds the linter once, in minutes.
client-go: $(INSTALLED) ## Check and test the Go client
	@cd clients/go && ./check.sh $(ARGS)

bench-clients: $(INSTALLED) ## Measure the clients in other languages; one line of JSON per figure
	@cd clients/go && go run ./benchmarks $(ARGS)
	@$(BIN)/python -m benchmarks.clients

clean: ## Remove all build results and environments
	rm -rf $(VENV) $(GEN_VENV) .build build dist .pytest_cache .ruff_cache .mypy_cache \
		.import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
