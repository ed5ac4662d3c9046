"""Missing Prefect names: the error of an import."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest
from scripts import migrating_names

import flowspan
from flowspan.migrating.names import import_fact
from flowspan.prefect_names import (
    ATTRIBUTES,
    MODULES,
    NAMES,
    advice_on_module,
    advice_on_name,
)

MODULES_OF_PREFECT = [
    *("agent", "artifacts", "assets", "automations", "blocks", "blocks.notifications"),
    *("blocks.system", "cache_policies", "client", "client.cloud", "client.orchestration"),
    *("client.schemas", "client.schemas.actions", "client.schemas.filters"),
    *("client.schemas.objects", "client.schemas.responses", "client.schemas.schedules"),
    *("client.schemas.sorting", "concurrency", "concurrency.asyncio", "concurrency.sync"),
    *("context", "deployments", "docker", "engine", "events", "exceptions", "filesystems"),
    *("flow_engine", "flow_runs", "flows", "futures", "infrastructure", "input", "locking"),
    *("locking.filesystem", "locking.memory", "logging", "logging.configuration"),
    *("logging.formatters", "logging.handlers", "logging.loggers", "main", "plugins"),
    *("results", "runner", "runner.storage", "runtime", "runtime.deployment"),
    *("runtime.flow_run", "runtime.task_run", "schedules", "serializers", "server"),
    *("settings", "states", "task_engine", "task_runners", "task_runs", "task_worker"),
    *("tasks", "testing", "testing.fixtures", "testing.utilities", "transactions", "types"),
    *("utilities", "utilities.annotations", "utilities.asyncutils", "utilities.callables"),
    *("utilities.collections", "utilities.filesystem", "utilities.hashing"),
    *("utilities.importtools", "utilities.names", "utilities.processutils"),
    *("utilities.pydantic", "utilities.templating", "utilities.text", "utilities.timeout"),
    *("variables", "workers", "workers.base"),
]
"""Modules of Prefect 3.9 that programs import."""


@pytest.mark.parametrize("name", MODULES)
def test_a_missing_module_says_what_to_use(name: str) -> None:
    for module in (f"flowspan.{name}", f"flowspan.{name}.anything"):
        with pytest.raises(ModuleNotFoundError, match="No module named") as caught:
            importlib.import_module(module)
        assert MODULES[name] in str(caught.value)
    assert not hasattr(flowspan, name)


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in NAMES.items() for name in names]
)
def test_a_missing_name_says_what_to_use(module: str, name: str) -> None:
    home = f"flowspan.{module}".rstrip(".")
    found = importlib.import_module(home)
    assert not hasattr(found, name)
    assert getattr(found, name, None) is None
    with pytest.raises(AttributeError) as refused:
        getattr(found, name)
    assert NAMES[module][name] in str(refused.value)
    with pytest.raises(ImportError) as caught:
        exec(f"from {home} import {name}")  # noqa: S102 - imports as a program does
    assert NAMES[module][name] in str(caught.value)


def missing_on_the_page() -> list[tuple[str, str]]:
    """Return the missing names on the page, with the modules that have them in Prefect."""
    homes = {"prefect": "", "settings objects": "settings"}
    return [
        (homes.get(group, group), name)
        for group, names in migrating_names.tables().items()
        if group not in {"modules", "Flow", "Task", "client", "settings", "commands"}
        and not group.startswith("options")
        for name, (word, _) in names.items()
        if word in {"missing", "renamed"}
    ]


@pytest.mark.parametrize(("module", "name"), missing_on_the_page())
def test_the_import_of_each_name_that_the_page_misses_says_what_to_use(
    module: str, name: str
) -> None:
    assert advice_on_name(module, name)
    assert import_fact(f"prefect.{module}.{name}".replace("..", ".")).note
    home = f"flowspan.{module}".rstrip(".")
    with pytest.raises(ImportError, match=r" has no .*\. [A-Zf`]"):
        exec(f"from {home} import {name}")  # noqa: S102 - imports as a program does


@pytest.mark.parametrize("name", MODULES_OF_PREFECT)
def test_each_module_of_prefects_is_there_or_its_import_says_what_to_use(name: str) -> None:
    advice = advice_on_module(name)
    if advice:
        with pytest.raises(ModuleNotFoundError, match=re.escape(advice)):
            importlib.import_module(f"flowspan.{name}")
    else:
        assert importlib.import_module(f"flowspan.{name}")


@pytest.mark.parametrize(
    "made", [flowspan.flow(print, name="f"), flowspan.task(print)], ids=["Flow", "Task"]
)
def test_a_missing_attribute_says_what_to_use(made: object) -> None:
    kind = type(made).__name__
    for name, advice in ATTRIBUTES[kind].items():
        assert not hasattr(made, name)
        with pytest.raises(AttributeError, match=re.escape(advice)):
            getattr(made, name)
    with pytest.raises(AttributeError, match=f"'{kind}' object has no attribute 'nonsense'$"):
        made.nonsense  # type: ignore[attr-defined] # noqa: B018 - as in programs


def test_a_setting_without_a_counterpart_says_so() -> None:
    with pytest.raises(ImportError, match="flowspan has no such setting"):
        exec("from flowspan.settings import PREFECT_UI_URL")  # noqa: S102 - as in programs


def test_other_names_and_modules_are_missing_as_ever() -> None:
    assert not hasattr(flowspan, "nonsense")
    assert not hasattr(importlib.import_module("flowspan.flows"), "nonsense")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'flowspan.nonsense'$"):
        importlib.import_module("flowspan.nonsense")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'nonsense'$"):
        importlib.import_module("nonsense")


def test_the_tables_are_not_read_for_imports_that_succeed() -> None:
    code = "import sys, flowspan; assert 'flowspan.prefect_names' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
