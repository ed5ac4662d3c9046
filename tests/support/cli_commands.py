"""Every command of the program, with arguments that are safe to repeat."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from flowspan.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAM = Path(__file__).parents[1] / "migrating/programs/calling/return_state.py"
# "RUN" stands for the id of an existing run, "TASK" for the id of one of its task runs.
SAMPLES: dict[str, tuple[str, ...]] = {
    "version": (),
    "config show": (),
    "server start": ("--help",),
    "server status": (),
    "server stop": ("--help",),
    "run ls": (),
    "run show": ("RUN",),
    "run logs": ("RUN",),
    "run watch": ("RUN",),
    "run history": ("RUN",),
    "run open": ("--help",),
    "run label": ("RUN",),
    "run cancel": ("--help",),
    "run delete": ("--help",),
    "task ls": (),
    "task show": ("TASK",),
    "flow ls": (),
    "artifact ls": (),
    "artifact inspect": ("report",),
    "artifact delete": ("--help",),
    "variable ls": (),
    "variable get": ("limit",),
    "variable inspect": ("limit",),
    "variable set": ("limit", "5", "--overwrite"),
    "variable unset": ("--help",),
    "spool ls": (),
    "spool push": (),
    "token create": ("--help",),
    "token ls": (),
    "token revoke": ("--help",),
    "profile ls": (),
    "profile use": ("--help",),
    "profile set": ("--help",),
    "migrate": (str(_PROGRAM),),
}
LOCAL = {
    *("version", "config show", "server start", "spool ls", "migrate"),
    *("profile ls", "profile use", "profile set"),
}
"""Commands that do not connect to a service."""


@cache
def all_commands() -> dict[str, Any]:
    """Return the commands by path, such as "run ls"."""
    return dict(_below(typer.main.get_command(app), ()))


def _below(group: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _below(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def sample(path: str, *, run: str, task: str) -> tuple[str, ...]:
    """Return a sample command line: the command with its arguments."""
    stands_for = {"RUN": run, "TASK": task}
    return (*path.split(), *(stands_for.get(word, word) for word in SAMPLES[path]))
