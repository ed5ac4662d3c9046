"""Effects: the consequences of a transition, as data.

The rules return effects, and `app.transitions` performs them in the transaction of the transition.
Watches and the spans of crashed runs are not effects: they follow from the committed transitions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.domain.commands import CommandKind
from flowspan_service.domain.states import Cause, StateType

if TYPE_CHECKING:
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.states import State


class IssueCommand(NamedTuple):
    """Send a command to the session that executes the run, unless it was issued before."""

    run_id: str
    number: int
    session_id: str
    kind: CommandKind
    reason: str


class FinishCommands(NamedTuple):
    """Close the open commands of a run: it left the state that caused them."""

    run_id: str


class MoveCommands(NamedTuple):
    """Redirect the open commands of a run to the session that took it over."""

    run_id: str
    session_id: str


Effect = IssueCommand | FinishCommands | MoveCommands
Effects = tuple[Effect, ...]

NO_EFFECTS: Effects = ()

COMMANDS: dict[int, CommandKind] = {StateType.CANCELLING: CommandKind.CANCEL_RUN}
"""The types of states that the owner of a run confirms, and the commands that ask for it."""


def effects_of_transition(run: Run, before: State) -> Effects:
    """Return the effects of a transition that was just entered.

    A command is issued for a requested state only: a session that reports one knows about it.

    Args:
        run: The run, in its new state.
        before: The state that it left.
    """
    effects: list[Effect] = []
    if before.type in COMMANDS:
        effects.append(FinishCommands(run.id))
    if run.cause == Cause.REQUESTED:
        effects += effects_of_request(run)
    return tuple(effects)


def effects_of_request(run: Run) -> Effects:
    """Return the commands that the state of a run implies, to be issued again on each request."""
    kind = COMMANDS.get(run.state.type)
    if kind is None or run.session_id is None:
        return NO_EFFECTS
    message = run.state.message
    return (IssueCommand(run.id, run.transition_count, run.session_id, kind, message),)


def effects_of_takeover(run: Run) -> Effects:
    """Return the effects of a session's taking over a run: `run.session_id` is the new owner."""
    if run.state.type not in COMMANDS or run.session_id is None:
        return NO_EFFECTS
    return (MoveCommands(run.id, run.session_id),)
