"""The lookup of facts for the modules of flowspan.runtime."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from flowspan.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.run import Run


class Fact(NamedTuple):
    """A fact about a run."""

    of: Callable[[Run], Any]
    """The function for the value inside of a run."""
    empty: Callable[[], Any] = lambda: None
    """The function for the value outside of runs; it returns a new list or dictionary each time."""
    read: Callable[[str], Any] = str
    """The parser for the value of an environment variable."""


class Facts:
    """The facts of one module."""

    def __init__(
        self, module: str, current: Callable[[], Run | None], facts: dict[str, Fact]
    ) -> None:
        """Define the facts.

        Args:
            module: The name of the module.
            current: Returns the run that the module is about, or None.
            facts: The facts by name.
        """
        self._module = module
        self._current = current
        self._facts = facts
        self._prefix = f"FLOWSPAN__RUNTIME__{module.rpartition('.')[2].upper()}__"

    def __call__(self, name: str) -> Any:
        """Return a fact: the value that a test set in the environment, or else that in the run.

        Raises:
            AttributeError: There is no such fact.
            ConfigError: The environment variable has an invalid value.
        """
        fact = self._facts.get(name)
        variable = self._prefix + name.upper()
        text = os.environ.get(variable)
        if text is not None:
            try:
                return fact.read(text) if fact is not None else text
            except ValueError as error:
                raise ConfigError(f"{variable}={text!r}: {error}") from None
        if fact is None:
            raise AttributeError(f"module {self._module!r} has no attribute {name!r}")
        run = self._current()
        return fact.empty() if run is None else fact.of(run)


def read_list(text: str) -> list[str]:
    """Parse a JSON list of strings, or comma-separated strings."""
    if text.lstrip().startswith("["):
        return [str(item) for item in json.loads(text)]
    return [item.strip() for item in text.split(",") if item.strip()]


def read_dict(text: str) -> dict[str, Any]:
    """Parse a JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


def read_time(text: str) -> datetime:
    """Parse an ISO 8601 time as an aware instant; without an offset it is in UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def nothing(_: Run) -> None:
    """Return None, for facts that no run has yet."""
