"""The rules of transitions between states. Pure; docs/states.md draws them.

`decide` checks a proposed transition of a run. It asks the rules in the order of `RULES`; the first
objection decides, and without one the transition is accepted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.domain.effects import COMMANDS, NO_EFFECTS, effects_of_transition
from flowspan_service.domain.states import (
    DEFAULT_NAMES,
    ROLLED_BACK,
    TERMINAL_TYPES,
    Cause,
    State,
    StateType,
)
from flowspan_service.domain.verdicts import Objection, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.domain.effects import Effects
    from flowspan_service.domain.runs import Run

_S = StateType
_CANCELLING = int(_S.CANCELLING)
_RUNNING = int(_S.RUNNING)  # reading an enum member from its class costs as much as a call

INITIAL_TYPES = frozenset({_S.SCHEDULED, _S.PENDING})
"""The types of a run's first state."""

_LIVE = (_S.SCHEDULED, _S.PENDING, _S.RUNNING, _S.PAUSED, _S.CANCELLING)
_ENDS = frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED, _S.CRASHED})

ALLOWED: dict[int, frozenset[StateType]] = {
    _S.SCHEDULED: frozenset(_LIVE) | _ENDS,
    _S.PENDING: frozenset(_LIVE) | _ENDS,
    _S.RUNNING: frozenset({_S.SCHEDULED, _S.RUNNING, _S.PAUSED, _S.CANCELLING}) | _ENDS,
    _S.PAUSED: frozenset({_S.SCHEDULED, _S.PENDING, _S.RUNNING, _S.CANCELLING}) | _ENDS,
    _S.CANCELLING: _ENDS,
    _S.COMPLETED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.CRASHED: frozenset(),
}
"""The types that may follow a type within one attempt."""

RETRYABLE_TYPES = frozenset(
    {_S.SCHEDULED, _S.PENDING, _S.RUNNING, _S.PAUSED, _S.FAILED, _S.CRASHED}
)
"""The types after which a newer attempt may begin."""

MAX_DURATION_US = 315_576_000_000_000_000
"""The longest duration that the protos can carry, 10,000 years. The times of a run's states may be
anything between 1970 and 9999, so their sum needs a bound of its own."""

RETRY_STARTS = frozenset({_S.SCHEDULED, _S.PENDING, _S.RUNNING})
"""The types with which a newer attempt begins."""


class ProposedTransition(NamedTuple):
    """A state that a run is asked or reported to enter, with the attempt and the cause."""

    state: State
    attempt: int
    cause: int


def same_again(run: Run, proposed: ProposedTransition) -> Objection | None:
    """Return DUPLICATE for the state that the run is in already."""
    now = run.state
    if (
        proposed.attempt == run.attempt
        and proposed.state.type == now.type
        and proposed.state.name == now.name
        and (proposed.state.time_us == now.time_us or proposed.cause == Cause.REQUESTED)
    ):
        return Objection(VerdictKind.DUPLICATE, "same_again", "The run is already in this state.")
    return None


def older_attempt_is_fenced(run: Run, proposed: ProposedTransition) -> Objection | None:
    """Fence off an older attempt once a newer one exists."""
    if proposed.attempt < run.attempt:
        return Objection(
            VerdictKind.ABORT,
            "older_attempt_is_fenced",
            f"Attempt {proposed.attempt} was superseded by attempt {run.attempt}.",
        )
    return None


def newer_attempt_starts_fresh(run: Run, proposed: ProposedTransition) -> Objection | None:
    """Require that a newer attempt is the next one and begins as one, after a retryable state."""
    if proposed.attempt == run.attempt:
        return None
    if proposed.attempt != run.attempt + 1:
        reason = (
            f"Attempt {proposed.attempt} cannot follow attempt {run.attempt}:"
            " attempts increase by one."
        )
    elif run.state.type not in RETRYABLE_TYPES:
        reason = f"A run that is {run.state.name} is not retried."
    elif proposed.state.type not in RETRY_STARTS:
        reason = f"A new attempt cannot begin with {proposed.state.name}."
    else:
        return None
    return Objection(VerdictKind.REJECTED, "newer_attempt_starts_fresh", reason)


def terminal_is_final(run: Run, proposed: ProposedTransition) -> Objection | None:
    """Keep a terminal state final for its attempt, with two exceptions.

    A later report of the same attempt overrules CRASHED by silence (`silence_is_overruled`): the
    process was alive after all. A run that COMPLETED in a transaction may be reported as rolled
    back with it, once (`completed_may_be_rolled_back`).
    """
    if proposed.attempt != run.attempt or run.state.type not in TERMINAL_TYPES:
        return None
    if is_silence(run) and proposed.cause == Cause.REPORTED:
        return None
    if is_rollback(run, proposed):
        return None
    return Objection(
        VerdictKind.REJECTED,
        "terminal_is_final",
        f"The run ended as {run.state.name}; that is final for attempt {run.attempt}.",
    )


def cancelling_only_ends(run: Run, proposed: ProposedTransition) -> Objection | None:
    """Let a run that is being cancelled only end: its process should stop it."""
    if (
        proposed.attempt == run.attempt
        and run.state.type == StateType.CANCELLING
        and proposed.state.type not in TERMINAL_TYPES
    ):
        return Objection(
            VerdictKind.REJECTED,
            "cancelling_only_ends",
            "The run is being cancelled; it can only end.",
        )
    return None


def order_of_types(run: Run, proposed: ProposedTransition) -> Objection | None:
    """Apply the table `ALLOWED`: for example, no run goes back from RUNNING to PENDING."""
    if proposed.attempt != run.attempt or is_silence(run) or is_rollback(run, proposed):
        return None
    if proposed.state.type in ALLOWED[run.state.type]:
        return None
    return Objection(
        VerdictKind.REJECTED,
        "order_of_types",
        f"{proposed.state.name} cannot follow {run.state.name}.",
    )


def is_silence(run: Run) -> bool:
    """Return True if the run is CRASHED only because its session fell silent."""
    return run.state.type == StateType.CRASHED and run.cause == Cause.SESSION_LOST


def is_rollback(run: Run, proposed: ProposedTransition) -> bool:
    """Return True if the process reports that a COMPLETED run was rolled back."""
    before, after = run.state, proposed.state
    return (
        before.type == StateType.COMPLETED
        and after.type == StateType.COMPLETED
        and after.name == ROLLED_BACK != before.name
        and proposed.cause == Cause.REPORTED
        and proposed.attempt == run.attempt
    )


RULES: tuple[Callable[[Run, ProposedTransition], Objection | None], ...] = (
    same_again,
    older_attempt_is_fenced,
    newer_attempt_starts_fresh,
    terminal_is_final,
    cancelling_only_ends,
    order_of_types,
)


def decide(run: Run, proposed: ProposedTransition) -> Objection | None:
    """Check a proposed transition.

    Args:
        run: The run as it is.
        proposed: The state to enter.

    Returns:
        None if the run may enter the state; else the first objection.
    """
    # The common case first: the same attempt continues by the table. No rule objects to that, as
    # `same_again` cannot hold between different types.
    now = run.state.type
    if (
        proposed.attempt == run.attempt
        and proposed.state.type != now
        and proposed.state.type in ALLOWED[now]
    ):
        return None
    for rule in RULES:
        objection = rule(run, proposed)
        if objection is not None:
            return objection
    return None


def enter(run: Run, proposed: ProposedTransition) -> Effects:
    """Move the run to the state. Call it only after `decide` had no objection.

    Keeps the times: `started_us` is set at the first RUNNING, `ended_us` at a terminal state (and
    reset when the run continues after all). `run_duration_us` adds up the time in RUNNING, and in
    CANCELLING once the run has started: its code works until it ends. A reporter's clock may go
    back, so no time is before an earlier one of the run, and the duration never exceeds the time
    between start and end.

    Returns:
        The effects of the transition, to be performed in the same transaction.
    """
    before, after = run.state, proposed.state
    if before.type == _RUNNING or (before.type == _CANCELLING and run.started_us is not None):
        run.run_duration_us += max(0, after.time_us - before.time_us)
        if run.run_duration_us > MAX_DURATION_US:
            run.run_duration_us = MAX_DURATION_US
    if after.type == _RUNNING and run.started_us is None:
        created_us = run.created_us
        run.started_us = after.time_us if after.time_us > created_us else created_us
    if after.type in TERMINAL_TYPES:
        begun_us = run.created_us if run.started_us is None else run.started_us
        run.ended_us = ended_us = after.time_us if after.time_us > begun_us else begun_us
        if run.run_duration_us > ended_us - begun_us:
            run.run_duration_us = ended_us - begun_us
    else:
        run.ended_us = None
    run.state = after
    run.attempt = proposed.attempt
    run.cause = proposed.cause
    run.transition_count += 1
    if before.type in COMMANDS or after.type in COMMANDS:
        return effects_of_transition(run, before)
    return NO_EFFECTS


def requested_state(run: Run, state: State, *, now_us: int, is_executed: bool) -> State:
    """Return the state that a request means for a run.

    A request has no clock of its own: its time is the service's, on the clock of the run, but not
    before the run's state.
    The cancellation of a run that no session executes needs no confirmation: it is CANCELLED.

    Args:
        run: The run as it is.
        state: The requested state.
        now_us: The service's time on the clock of the run (see `domain.clocks`).
        is_executed: True if a live session executes the run.
    """
    meant = replace(state, time_us=max(now_us, run.state.time_us))
    if state.type == _CANCELLING and not run.state.is_terminal and not is_executed:
        meant.type = StateType.CANCELLED
        if meant.name == DEFAULT_NAMES[StateType.CANCELLING]:
            meant.name = DEFAULT_NAMES[StateType.CANCELLED]
    return meant


def at_session_end(run: Run, message: str, *, now_us: int) -> ProposedTransition:
    """Return the transition of an open run whose session has ended: it has CRASHED.

    Args:
        run: The run as it is.
        message: The reason, for people.
        now_us: The service's time on the clock of the run (see `domain.clocks`).
    """
    # A reporter's clock may be ahead; the times of a history do not go back for that.
    time_us = max(now_us, run.state.time_us)
    crashed = State(StateType.CRASHED, DEFAULT_NAMES[StateType.CRASHED], message, time_us)
    return ProposedTransition(crashed, run.attempt, Cause.SESSION_LOST)
