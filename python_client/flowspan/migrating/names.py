"""What flowspan has under the names of Prefect's API."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from typing import Any

SAME, DIFFERS, RENAMED, MISSING = "same", "differs", "renamed", "missing"

_CODE = re.compile(r"`([^`]+)`")
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
"""Classes whose attributes have a group of another name."""


@dataclass(frozen=True)
class Fact:
    """What flowspan has under a name of Prefect's.

    Attributes:
        word: "same", "differs", "renamed" or "missing".
        note: What differs, or why it is missing; may be empty.
        here: Its dotted name in flowspan; empty if it is missing.
    """

    word: str
    note: str = ""
    here: str = ""

    @property
    def is_there(self) -> bool:
        """True if flowspan has it, under this name or another that can be imported."""
        return self.here.partition(".")[0] == "flowspan"


def import_fact(name: str) -> Fact:
    """Return the fact about something that a program imports, or reaches from what it imports.

    Args:
        name: Its dotted name, which begins with "prefect".
    """
    parts = name.split(".")[1:]
    if not parts:
        return Fact(SAME, "", "flowspan")
    here = ".".join(["flowspan", *parts])
    listed = _listed(parts)
    if listed is not None:
        word, note = listed
        if word == RENAMED:
            return Fact(word, note, _first_code(note))
        return Fact(word, note, here if word != MISSING else "")
    found, why = _look_up(here)
    if found:
        return Fact(SAME, "", here)
    module = _tables().get("modules", {}).get(parts[0])
    if module is not None:
        return Fact(MISSING, module[1])
    return Fact(MISSING, why)


def fact(group: str, name: str) -> Fact | None:
    """Return the fact about an option, a method, a setting or a command; None if it is not known.

    Args:
        group: The table of the migrating page: "options of @flow", "Flow", "client", "settings" …
        name: The name in it.
    """
    row = _tables().get(group, {}).get(name)
    if row is None:
        return None
    return Fact(*row)


def attribute_fact(kind: str, name: str) -> Fact:
    """Return the fact about an attribute of a flow or a task.

    Args:
        kind: "Flow" or "Task".
        name: The attribute.
    """
    known = fact(kind, name)
    if known is not None:
        return known
    maker = getattr(import_module("flowspan"), kind.lower())
    is_there = hasattr(maker(_sample), name)
    return Fact(SAME) if is_there else Fact(MISSING, f"a {kind.lower()} has no {name} here")


def option_fact(kind: str, name: str) -> Fact:
    """Return the fact about an option of `@flow` or `@task`.

    Args:
        kind: "Flow" or "Task".
        name: The option.
    """
    return fact(f"options of @{kind.lower()}", name) or Fact(MISSING, "there is no such option")


def is_module(name: str) -> bool:
    """True if a dotted name begins with a module of Prefect's that is known."""
    parts = name.split(".")[1:]
    return bool(parts) and (_listed(parts) is not None or parts[0] in _modules())


def _sample() -> None:
    """Stands in for the functions of programs."""


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


def _look_up(here: str) -> tuple[bool, str]:
    """Look for a name that is not on the page: whether it is there, and if not, why."""
    value: Any = import_module("flowspan")
    path = "flowspan"
    for part in here.split(".")[1:]:
        path = f"{path}.{part}"
        try:
            value = getattr(value, part)
        except AttributeError as error:
            try:
                value = import_module(path)
            except ModuleNotFoundError:
                said = str(error)
                return False, "" if "has no attribute" in said else said
            except ImportError as refusal:
                return False, str(refusal)
        except ImportError as refusal:
            return False, str(refusal)
    return True, ""


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
