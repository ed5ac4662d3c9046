"""Parsing and checking of the `--state` option."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

import typer

from flowspan.api.models import RunFilter, StateType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.api.client import SyncFlowspanClient

T = TypeVar("T")

_TYPES = {kind.name.lower(): kind for kind in StateType if kind is not StateType.UNKNOWN}
# State names that differ from the type names. User code may use further names.
_NAMES = {
    name.lower(): name
    for name in (
        "AwaitingConcurrencySlot",
        "AwaitingRetry",
        "Cached",
        "InfrastructurePending",
        "Late",
        "NotReady",
        "Resuming",
        "Retrying",
        "RolledBack",
        "Submitting",
        "Suspended",
        "TimedOut",
    )
}


def parse_states(texts: list[str] | None) -> tuple[tuple[StateType, ...], tuple[str, ...]]:
    """Return the state types and state names given by `--state`, case-insensitively.

    An unknown name is kept as written, because user code may define it.

    Raises:
        typer.BadParameter: Types and names are mixed.
    """
    types: list[StateType] = []
    names: list[str] = []
    for text in texts or ():
        word = text.strip().lower()
        if word in _TYPES:
            types.append(_TYPES[word])
        else:
            names.append(_NAMES.get(word, text.strip()))
    if types and names:
        msg = "give either state types (failed) or state names (TimedOut), not both"
        raise typer.BadParameter(msg, param_hint="--state")
    return tuple(types), tuple(names)


def checked(found: Iterator[T], client: SyncFlowspanClient, names: tuple[str, ...]) -> Iterator[T]:
    """Yield the found runs; if there are none, check that the state names exist.

    An unknown name is accepted if some run is in a state of that name.

    Args:
        found: The runs.
        client: The service.
        names: The state names given by the user.

    Raises:
        typer.BadParameter: A name is neither a state name of flowspan nor used by any run.
    """
    is_empty = True
    for run in found:
        is_empty = False
        yield run
    if is_empty:
        for name in names:
            if name not in _NAMES.values() and not _is_used(client, name):
                raise typer.BadParameter(_message(name), param_hint="--state")


def _is_used(client: SyncFlowspanClient, name: str) -> bool:
    wanted = RunFilter(state_names=(name,))
    return any(
        True
        for read in (client.read_flow_runs, client.read_task_runs)
        for _ in read(wanted, limit=1, page_size=1)
    )


def _message(name: str) -> str:
    known = _TYPES | _NAMES
    words = name.lower().replace(" ", "").replace("-", "").replace("_", "")
    close = [words] if words in known else get_close_matches(words, known, n=1)
    suggestion = f" Did you mean {_shown(close[0])}?" if close else ""
    return (
        f"{name!r} is not a state, and no run is in a custom state of that name.{suggestion}\n"
        f"Types: {', '.join(_TYPES)}. Names: {', '.join(_NAMES.values())}."
    )


def _shown(word: str) -> str:
    return _NAMES.get(word, word)
