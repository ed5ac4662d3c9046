"""The option `--state`: types and names of states, and what to say about a wrong one."""

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
# The names that are not those of types; code may give others to states that it returns.
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
    """Return the types and the names of states that `--state` gives, in any case of letters.

    A name that flowspan does not know stays as it is: it may be one of the user's.

    Raises:
        typer.BadParameter: There are both types and names.
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
        msg = "give types of states (failed) or names of states (TimedOut), not both"
        raise typer.BadParameter(msg, param_hint="--state")
    return tuple(types), tuple(names)


def checked(found: Iterator[T], client: SyncFlowspanClient, names: tuple[str, ...]) -> Iterator[T]:
    """Give on the runs that were found; check the names of states if there are none.

    A name that flowspan does not know is right if a run is in a state of that name.

    Args:
        found: The runs.
        client: The service.
        names: The names of states that were asked for.

    Raises:
        typer.BadParameter: flowspan gives no state such a name, and no run is in one.
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
        f"{name!r} is no state, and no run is in a state that code gave this name.{suggestion}\n"
        f"Types: {', '.join(_TYPES)}. Names: {', '.join(_NAMES.values())}."
    )


def _shown(word: str) -> str:
    return _NAMES.get(word, word)
