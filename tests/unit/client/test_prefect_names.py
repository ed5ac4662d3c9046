"""Names of Prefect that are not there: what an import of them says."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import flowspan
from flowspan.prefect_names import MODULES, NAMES


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
        exec(f"from {home} import {name}")  # noqa: S102 - as a program would
    assert NAMES[module][name] in str(caught.value)


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
