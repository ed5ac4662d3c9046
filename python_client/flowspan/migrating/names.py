"""The lookup of flowspan's counterparts of Prefect's names."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from typing import Any

from flowspan.prefect_names import ATTRIBUTES, advice_on_module, advice_on_name

SAME, DIFFERS, RENAMED, MISSING = "same", "differs", "renamed", "missing"

_CODE = re.compile(r"`([^`]+)`")
_OF_RUNTIME = "PREFECT__RUNTIME__"
"""The beginning of the variables that replace facts of `prefect.runtime` in tests."""
_OWNERS = {
    "flow": "Flow",
    "flows.flow": "Flow",
    "flows.Flow": "Flow",
    "task": "Task",
    "tasks.task": "Task",
    "tasks.Task": "Task",
    "states.State": "State",
    "futures.PrefectConcurrentFuture": "futures.PrefectFuture",
}
"""Classes whose attributes are listed in a group with another name."""
_HOMES = {
    "client.get_client": ["get_client"],
    "client.schemas": ["client", "schemas", "objects"],
    "settings": ["settings objects"],
}
"""Modules and names whose rows are listed under another name."""
_TERSE = frozenset({"", "no", "later"})
"""Notes without meaning outside of the migrating page."""
_NOT_HERE = "flowspan does not have it"


@dataclass(frozen=True)
class Fact:
    """flowspan's counterpart of a Prefect name.

    Attributes:
        word: "same", "differs", "renamed" or "missing".
        note: The difference, or the reason why it is missing; may be empty.
        here: Its dotted name in flowspan; empty if it is missing.
    """

    word: str
    note: str = ""
    here: str = ""

    @property
    def is_there(self) -> bool:
        """True if flowspan has it, under this name or another one that can be imported."""
        return self.here.partition(".")[0] == "flowspan"


def import_fact(name: str) -> Fact:
    """Return the fact about a name that a program imports, or reaches from an import.

    Args:
        name: The dotted name, which begins with "prefect".
    """
    parts = name.split(".")[1:]
    if not parts:
        return Fact(SAME, "", "flowspan")
    here = ".".join(["flowspan", *parts])
    listed = _listed(_at_home(parts))
    if listed is not None:
        word, note = listed
        if word == RENAMED:
            return Fact(word, note, _first_code(note))
        return Fact(MISSING, _advice(parts, note)) if word == MISSING else Fact(word, note, here)
    if _is_there(here):
        return Fact(SAME, "", here)
    return Fact(MISSING, _advice(parts, _tables()["modules"].get(parts[0], ("", ""))[1]))


def fact(group: str, name: str) -> Fact | None:
    """Return the fact about an option, a method, a setting or a command; None if unknown.

    Args:
        group: The table of the migrating page: "options of @flow", "Flow", "client", "settings" …
        name: The name in the table.
    """
    row = _tables().get(group, {}).get(name)
    if row is None:
        return None
    word, note = row
    return Fact(word, _in_full(note) if word == MISSING else note)


def attribute_fact(kind: str, name: str) -> Fact:
    """Return the fact about an attribute of a flow or a task.

    Args:
        kind: "Flow" or "Task".
        name: The attribute.
    """
    if name in ATTRIBUTES[kind]:
        return Fact(MISSING, _short(ATTRIBUTES[kind][name]))
    known = fact(kind, name)
    if known is not None:
        return known
    maker = getattr(import_module("flowspan"), kind.lower())
    is_there = hasattr(maker(_sample), name)
    return Fact(SAME) if is_there else Fact(MISSING, _NOT_HERE)


def option_fact(kind: str, name: str) -> Fact:
    """Return the fact about an option of `@flow` or `@task`.

    Args:
        kind: "Flow" or "Task".
        name: The option.
    """
    return fact(f"options of @{kind.lower()}", name) or Fact(MISSING, "flowspan has no such option")


def setting_fact(name: str) -> Fact:
    """Return the fact about a variable of the environment.

    Args:
        name: The variable, which begins with "PREFECT_".
    """
    if name.startswith(_OF_RUNTIME):
        return Fact(RENAMED, f"`FLOWSPAN{name.removeprefix('PREFECT')}`")
    return fact("settings", name) or Fact(MISSING, "flowspan has no such setting")


def is_module(name: str) -> bool:
    """Return True if a dotted name begins with a known module of Prefect."""
    parts = name.split(".")[1:]
    return bool(parts) and (_listed(parts) is not None or parts[0] in _modules())


def _sample() -> None:
    """Stand in for the functions of programs."""


@cache
def _modules() -> frozenset[str]:
    return frozenset(group.split(".")[0] for group in _tables()) | _tables()["modules"].keys()


def _listed(parts: list[str]) -> tuple[str, str] | None:
    """Return the row of the page for a dotted name, without "prefect"."""
    for count in range(len(parts) - 1, -1, -1):
        group = ".".join(parts[:count])
        group = _OWNERS.get(group, group or "prefect")
        row = _tables().get(group, {}).get(".".join(parts[count:]))
        if row is not None:
            return row
    return None


def _at_home(parts: list[str]) -> list[str]:
    """Replace the beginning of a dotted name with the group that has its row."""
    for count in range(len(parts), 0, -1):
        home = _HOMES.get(".".join(parts[:count]))
        inner = parts[count:]
        if home is not None and inner[:1] != ["objects"]:
            return [*home, *inner]
    return parts


def _advice(parts: list[str], note: str) -> str:
    """Return the replacement for a name: the advice of the import error, or the row's note."""
    for count in range(len(parts)):
        owner = ".".join(parts[:count])
        attributes = ATTRIBUTES.get(_OWNERS.get(owner, owner), {})
        advice = attributes.get(parts[count]) or advice_on_name(owner, parts[count])
        if advice:
            return _short(advice)
    advice = advice_on_module(".".join(parts))
    if advice:
        return _short(advice)
    return _in_full(note)


def _in_full(note: str) -> str:
    """Return the note of a missing name in a form that is clear without the page."""
    if note in _TERSE:
        return _NOT_HERE
    return note.removeprefix("no: ").replace("later, with", "not yet; it comes with", 1)


def _short(advice: str) -> str:
    """Return advice as a note: without a capital letter and a full stop."""
    text = advice.removesuffix(".")
    is_word = text[:2].lower() == text[:1].lower() + text[1:2]
    return text[:1].lower() + text[1:] if is_word else text


def _is_there(here: str) -> bool:
    """Return True if flowspan has a name that is not on the page."""
    value: Any = import_module("flowspan")
    path = "flowspan"
    for part in here.split(".")[1:]:
        path = f"{path}.{part}"
        try:
            value = getattr(value, part)
        except AttributeError:
            try:
                value = import_module(path)
            except ImportError:
                return False
        except ImportError:
            return False
    return True


def _first_code(note: str) -> str:
    code = _CODE.search(note)
    return code[1] if code else ""


@cache
def _tables() -> dict[str, dict[str, tuple[str, str]]]:
    rows = json.loads((resources.files(__package__) / "names.json").read_text(encoding="utf-8"))
    tables: dict[str, dict[str, tuple[str, str]]] = {}
    for group, name, word, note in rows:
        tables.setdefault(group, {})[name] = (word, note)
    return tables
