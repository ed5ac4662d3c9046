"""docs/migrating-from-prefect.md against the code: each statement about a name is checked.

`tests/data/prefect-3.8.8.txt` lists Prefect's names by group (the attributes of its instances, the
public names of its modules), some of them with their arguments. Each was looked up in 3.9.1 as
well, which has them all. Each group is a table of the page, below a comment with the group's name.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

import flowspan
from flowspan.cli.main import app
from flowspan.config import Config

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "migrating-from-prefect.md"
NAMES = ROOT / "tests" / "data" / "prefect-3.8.8.txt"

COMMENT = re.compile(r"<!-- (.+) -->")
CODE = re.compile(r"`([^`]+)`")
MISSING = object()

OWNERS = {
    "prefect": "flowspan",
    "Flow": "flowspan.Flow",
    "Task": "flowspan.Task",
    "State": "flowspan.State",
    "futures.PrefectFuture": "flowspan.futures.TaskFuture",
    "client": "flowspan.client.FlowspanClient",
    "modules": "flowspan",
    "settings objects": "flowspan.settings",
}
"""The owner of a group's names, where it is not the flowspan module of the group's name."""

OPTIONS = {"options of @flow": flowspan.Flow, "options of @task": flowspan.Task}


@flowspan.flow
def sample_flow() -> None:
    """Provide the attributes of flows."""


@flowspan.task
def sample_task() -> None:
    """Provide the attributes of tasks."""


SAMPLES: dict[str, Any] = {"flowspan.Flow": sample_flow, "flowspan.Task": sample_task}


class Row(NamedTuple):
    """A name in a table of the page, with its status and the note."""

    name: str
    word: str
    note: str


@cache
def tables() -> dict[str, list[Row]]:
    """Return the rows of the page by group."""
    found: dict[str, list[Row]] = {}
    group = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        comment = COMMENT.fullmatch(line)
        if comment:
            group = comment[1]
            found[group] = []
        elif not line:
            group = ""
        elif group and line.startswith("| `") and " | here | " not in line:
            names, word, note = (cell.strip() for cell in line.strip("|").split(" | "))
            found[group] += [Row(name, word, note) for name in CODE.findall(names)]
    return found


@cache
def prefects_names() -> dict[str, dict[str, dict[str, str]]]:
    """Return Prefect's names by group, with the arguments and their defaults ("" for none)."""
    groups: dict[str, dict[str, dict[str, str]]] = {}
    names: dict[str, dict[str, str]] = {}
    for line in NAMES.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            names = groups.setdefault(line.strip("[]"), {})
        elif line:
            name, _, arguments = line.partition("(")
            pairs = (item.partition("=") for item in arguments.rstrip(")").split(", ") if item)
            names[name] = {argument: default for argument, _, default in pairs}
    return groups


def find(path: str) -> Any:
    """Return the module or object with this dotted name, or MISSING."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        owner, _, name = path.rpartition(".")
        if not owner:
            return MISSING
        value = SAMPLES.get(owner) or find(owner)
        # Runtime attributes are None outside of a run, but they exist.
        return getattr(value, name, None) if name in dir(value) else MISSING


@cache
def command_names() -> set[str]:
    return set(get_command(app).commands)


def command(name: str) -> Any:
    return name if name in command_names() else MISSING


def here(group: str, name: str) -> Any:
    """Return flowspan's object under a Prefect name, or MISSING."""
    if group in OPTIONS:
        return inspect.signature(OPTIONS[group]).parameters.get(name, MISSING)
    if group == "commands":
        return command(name)
    if group == "settings":
        return find(name)
    return find(f"{OWNERS.get(group, f'flowspan.{group}')}.{name}")


def named_in(note: str) -> Any:
    """Return the object that the first code in a note names, or MISSING."""
    code = CODE.search(note)
    if code is None:
        return MISSING
    name = code[1]
    if name.startswith("FLOWSPAN_"):
        settings = {f"FLOWSPAN_{field.name.upper()}" for field in fields(Config)}
        return name if name in settings else MISSING
    return command(name.split()[1]) if name.startswith("flowspan ") else find(name)


def objection(group: str, row: Row) -> str:
    """Return the error in a row; empty if it is correct."""
    value = here(group, row.name)
    if row.word in {"missing", "renamed"}:
        if value is not MISSING:
            return "is there"
        if row.word == "renamed" and named_in(row.note) is MISSING:
            return "is not called so here either"
        return ""
    if row.word not in {"same", "differs"}:
        return f"is {row.word!r}, which is no word for it"
    if value is MISSING:
        return "is not there"
    if row.word == "differs":
        return "" if row.note else "differs, and the page does not say how"
    return missing_arguments(value, prefects_names()[group].get(row.name, {}), row.note)


def missing_arguments(value: Any, arguments: dict[str, str], note: str) -> str:
    """Return Prefect's arguments that are missing or have another default, unless noted."""
    if not arguments or arguments.keys() == {"fn"}:
        return ""
    parameters = inspect.signature(value).parameters
    wrong = []
    for name, default in arguments.items():
        if f"`{name}" in note:
            continue
        parameter = parameters.get(name)
        if parameter is None:
            wrong.append(f"no {name}")
        elif default and parameter.default != ast.literal_eval(default):
            wrong.append(f"{name}={parameter.default!r} instead of {default}")
    return ", ".join(wrong)


@pytest.mark.parametrize("group", prefects_names())
def test_what_the_page_says_of_each_name_is_so(group: str) -> None:
    objections = [f"{row.name}: {objection(group, row)}" for row in tables().get(group, [])]
    wrong = [text for text in objections if not text.endswith(": ")]
    assert not wrong, f"mend the rows of these names in {PAGE.name}"


@pytest.mark.parametrize("group", prefects_names())
def test_the_page_has_each_of_prefects_names_once(group: str) -> None:
    assert sorted(row.name for row in tables()[group]) == sorted(prefects_names()[group])


def test_the_page_has_no_other_tables() -> None:
    assert tables().keys() == prefects_names().keys()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Row("tags", "missing", ""), "is there"),
        (Row("nonsense", "same", ""), "is not there"),
        (Row("Transaction2", "renamed", "`flowspan.Nonsense`"), "is not called so here either"),
        (Row("get_client", "differs", ""), "differs, and the page does not say how"),
        (Row("get_client", "similar", ""), "is 'similar', which is no word for it"),
    ],
    ids=lambda value: value.word if isinstance(value, Row) else None,
)
def test_what_is_not_so_is_found(row: Row, words: str) -> None:
    assert objection("prefect", row) == words


def test_an_argument_that_is_not_taken_is_found() -> None:
    def wait(timeout: float | None = 5) -> None: ...

    arguments = {"futures": "", "timeout": "None"}
    said = "no futures, timeout=5 instead of None"
    assert missing_arguments(wait, arguments, "") == said
    assert missing_arguments(wait, arguments, "no `futures`, `timeout=5`") == ""
