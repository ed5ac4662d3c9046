"""The name of the program as the service of its traces."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from flowspan.connection import program
from flowspan.connection.program import host_name, service_name, set_service_name

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that makes the process look like a program."""
    monkeypatch.setattr(program, "_of_parent", None)
    monkeypatch.delitem(sys.modules, "__mp_main__", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)

    def look_like(
        file: str | None = None,
        spec: str | None = None,
        argv: tuple[str, ...] = ("",),
        spawned: bool = False,
        **more: Any,
    ) -> None:
        main = ModuleType("__main__")
        vars(main).update(more)
        if file is not None:
            main.__file__ = file
        main.__spec__ = SimpleNamespace(name=spec) if spec is not None else None  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, "__main__", main)
        if spawned:
            monkeypatch.setitem(sys.modules, "__mp_main__", main)
        monkeypatch.setattr(sys, "argv", list(argv))

    return look_like


@pytest.mark.parametrize(
    ("file", "spec", "name"),
    [
        ("jobs/etl.py", None, "etl"),
        ("/srv/jobs/nightly.report.py", None, "nightly.report"),
        ("/venv/bin/uvicorn", None, "uvicorn"),
        ("/venv/bin/run-v1.2", None, "run-v1.2"),
        ("/venv/lib/shop/orders.py", "shop.orders", "shop.orders"),
        ("/venv/lib/shop/__main__.py", "shop.__main__", "shop"),
        ("/venv/lib/pytest/__main__.py", "pytest.__main__", "pytest"),
        ("/srv/orders/__main__.py", "__main__", "orders"),
        ("/srv/orders.pyz/__main__.py", "__main__", "orders"),
        (None, None, "python"),
        ("<stdin>", None, "python"),
    ],
)
@pytest.mark.parametrize("spawned", [False, True], ids=["program", "child of multiprocessing"])
def test_the_name_of_a_program(
    run: Run, file: str | None, spec: str | None, name: str, spawned: bool
) -> None:
    run(file, spec, ("-c",), spawned)
    assert service_name({}) == name


@pytest.mark.parametrize("module", ["cProfile", "trace"])
def test_a_script_in_a_profiler_keeps_its_name(run: Run, module: str) -> None:
    run("/usr/lib/python3/cProfile.py", module, ("jobs/etl.py", "--all"))
    assert service_name({}) == "etl"


@pytest.mark.parametrize(
    ("argv", "name"),
    [(("jobs/etl.py", "--all"), "etl"), (("",), "python"), (("-",), "python"), ((), "python")],
)
def test_a_script_keeps_its_name_after_the_end_of_its_main_thread(
    run: Run, argv: tuple[str, ...], name: str
) -> None:
    run(None, None, argv)  # Python removes `__file__` from `__main__` then
    assert service_name({}) == name


def test_a_frozen_program_is_named_after_its_file(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("/opt/_MEI1/main.py")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", "/opt/orders")
    assert service_name({}) == "orders"


@pytest.mark.parametrize(
    ("environ", "more", "name"),
    [
        ({"JPY_SESSION_NAME": "work/sales report.ipynb"}, {}, "sales report"),
        ({}, {"__vsc_ipynb_file__": "/home/a/sales.ipynb"}, "sales"),
        ({"JPY_SESSION_NAME": "4ba1-console"}, {}, "notebook"),
        ({}, {}, "notebook"),
    ],
)
def test_a_notebook(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    more: dict[str, str],
    name: str,
) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    run(None, None, ("/venv/lib/ipykernel_launcher.py", "-f", "k.json"), **more)
    assert service_name(environ) == name


def test_a_worker_process_has_the_name_of_its_parent(run: Run) -> None:
    run(None, None, ("-c",))
    set_service_name("etl")
    assert service_name({}) == "etl"


def test_the_host_has_a_name() -> None:
    assert host_name()
