"""The environment of the local service."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from flowspan.connection.service_environment import service_environment, without_debugger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def folder(path: Path, *names: str) -> str:
    path.mkdir(parents=True)
    for name in names:
        (path / name).touch()
    return str(path)


@pytest.mark.parametrize(
    "name",
    [
        *("FLOWSPAN_RUN", "TRACEPARENT", "TRACESTATE"),
        *("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "AUTOWRAPT_BOOTSTRAP"),
        *("PYTHONINSPECT", "PYTHONSTARTUP"),
        *("OTEL_PYTHON_DISTRO", "OTEL_PYTHON_TRACER_PROVIDER"),
    ],
)
def test_the_service_does_not_inherit_what_concerns_its_starter(name: str) -> None:
    assert service_environment({name: "x", "HOME": "/home/me"}) == {"HOME": "/home/me"}


@pytest.mark.parametrize(
    "name",
    [
        *("FLOWSPAN_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME"),
        *("OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER", "PYTHONHOME", "PATH"),
    ],
)
def test_the_service_inherits_everything_else(name: str) -> None:
    assert service_environment({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    "module", ["sitecustomize.py", "sitecustomize.cpython-311.so", "usercustomize.py"]
)
def test_folders_that_change_how_python_starts_are_left_out(tmp_path: Path, module: str) -> None:
    tool = folder(tmp_path / "auto_instrumentation", "__init__.py", module)
    own = folder(tmp_path / "own", "sites.py")
    found = service_environment({"PYTHONPATH": os.pathsep.join([tool, own])})
    assert found == {"PYTHONPATH": own}
    assert service_environment({"PYTHONPATH": tool}) == {}


@pytest.mark.parametrize("package", ["flowspan_service", "grpcio-1.85.1.dist-info"])
def test_folders_with_packages_for_the_service_stay(tmp_path: Path, package: str) -> None:
    site = folder(tmp_path / "site", "sitecustomize.py", package)
    assert service_environment({"PYTHONPATH": site}) == {"PYTHONPATH": site}


def test_folders_that_are_missing_stay(tmp_path: Path) -> None:
    archive = str(tmp_path / "flowspan.zip")
    assert service_environment({"PYTHONPATH": archive}) == {"PYTHONPATH": archive}


def test_relative_folders_are_those_of_the_starter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = service_environment({"PYTHONPATH": os.pathsep.join(["lib", "", "../x"])})
    assert found["PYTHONPATH"].split(os.pathsep) == [
        str(tmp_path / "lib"),
        str(tmp_path.parent / "x"),
    ]


def test_a_debugger_does_not_follow_into_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    @contextmanager
    def skip() -> Iterator[None]:
        steps.append("skips")
        yield
        steps.append("patches again")

    pydevd = SimpleNamespace(skip_subprocess_arg_patch=skip)
    monkeypatch.setitem(sys.modules, "_pydev_bundle.pydev_monkey", pydevd)  # type: ignore[arg-type] # a fake
    with without_debugger():
        steps.append("start")
    assert steps == ["skips", "start", "patches again"]


@pytest.mark.parametrize("pydevd", [None, SimpleNamespace()])
def test_no_debugger_is_needed(
    pydevd: SimpleNamespace | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pydevd is not None:
        monkeypatch.setitem(sys.modules, "_pydev_bundle.pydev_monkey", pydevd)  # type: ignore[arg-type] # a fake
    with without_debugger():
        pass
