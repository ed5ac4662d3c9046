"""How the modules of flowspan.runtime find what they tell."""

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
    """One thing to tell of a run."""

    of: Callable[[Run], Any]
    """What it is inside of a run."""
    empty: Callable[[], Any] = lambda: None
    """What it is outside of runs; a list or a dictionary is a new one each time."""
    read: Callable[[str], Any] = str
    """Reads it from the text of an environment variable."""


class Facts:
    """What one module tells."""

    def __init__(
        self, module: str, current: Callable[[], Run | None], facts: dict[str, Fact]
    ) -> None:
        """Notes what there is.

        Args:
            module: The name of the module.
            current: The run that the module is about, if there is one here.
            facts: What there is to tell.
        """
        self._module = module
        self._current = current
        self._facts = facts
        self._prefix = f"FLOWSPAN__RUNTIME__{module.rpartition('.')[2].upper()}__"

    def __call__(self, name: str) -> Any:
        """One fact: the value that a test put into the environment, else that of the run.

        Raises:
            AttributeError: There is no such fact.
            ConfigError: The environment variable has another form than the fact.
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
    """Texts from a JSON list, or from texts with commas between them."""
    if text.lstrip().startswith("["):
        return [str(item) for item in json.loads(text)]
    return [item.strip() for item in text.split(",") if item.strip()]


def read_dict(text: str) -> dict[str, Any]:
    """A dictionary from a JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


def read_time(text: str) -> datetime:
    """An aware instant from ISO 8601; one without an offset is in UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def nothing(_: Run) -> None:
    """For what no run has yet."""
