"""The rules of transitions: which state may follow which. Pure; docs/states.md draws them.

`decide` looks at a run and at a state that somebody wants it to enter, and says what becomes of it.
The rules are asked in the order of `RULES`; the first that objects decides, and if none does the
transition is accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.domain.states import ROLLED_BACK, TERMINAL_TYPES, Cause, StateType
from flowspan_service.domain.verdicts import VerdictKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.states import State

_S = StateType
_CANCELLING = int(_S.CANCELLING)
_RUNNING = int(_S.RUNNING)  # reading a member from its class takes as long as a small function

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
"""Which types may follow a type within one attempt."""

RETRYABLE_TYPES = frozenset(
    {_S.SCHEDULED, _S.PENDING, _S.RUNNING, _S.PAUSED, _S.FAILED, _S.CRASHED}
)
"""The types after which a newer attempt may begin."""

MAX_DURATION_US = 315_576_000_000_000_000
"""The longest duration that the protos can carry, 10,000 years. The times of a run's states may be
anything between 1970 and 9999, so what they add up to needs a bound of its own."""

RETRY_STARTS = frozenset({_S.SCHEDULED, _S.PENDING, _S.RUNNING})
"""The types with which a newer attempt begins."""


class Wish(NamedTuple):
    """A state that somebody wants a run to enter, and in which attempt."""

    state: State
    attempt: int
    cause: int


class Objection(NamedTuple):
    """What a rule says when it does not let a transition pass."""

    kind: VerdictKind
    rule: str
    reason: str


def same_again(run: Run, wish: Wish) -> Objection | None:
    """The state that the run is in, reported once more, is a DUPLICATE."""
    now = run.state
    if (
        wish.attempt == run.attempt
        and wish.state.type == now.type
        and wish.state.name == now.name
        and (wish.state.time_us == now.time_us or wish.cause == Cause.REQUESTED)
    ):
        return Objection(VerdictKind.DUPLICATE, "same_again", "The run is in this state already.")
    return None


def older_attempt_is_fenced(run: Run, wish: Wish) -> Objection | None:
    """Once a newer attempt exists, nothing of an older one is accepted."""
    if wish.attempt < run.attempt:
        return Objection(
            VerdictKind.ABORT,
            "older_attempt_is_fenced",
            f"Attempt {wish.attempt} was superseded by attempt {run.attempt}.",
        )
    return None


def newer_attempt_starts_fresh(run: Run, wish: Wish) -> Objection | None:
    """A newer attempt is the next one, begins as one does, and only where a retry makes sense."""
    if wish.attempt == run.attempt:
        return None
    if wish.attempt != run.attempt + 1:
        reason = (
            f"Attempt {wish.attempt} cannot follow attempt {run.attempt}: attempts count up by one."
        )
    elif run.state.type not in RETRYABLE_TYPES:
        reason = f"A run that is {run.state.name} is not tried again."
    elif wish.state.type not in RETRY_STARTS:
        reason = f"A new attempt cannot begin with {wish.state.name}."
    else:
        return None
    return Objection(VerdictKind.REJECTED, "newer_attempt_starts_fresh", reason)


def terminal_is_final(run: Run, wish: Wish) -> Objection | None:
    """A terminal state is final for its attempt, with two exceptions.

    CRASHED because the session fell silent is overruled by the later report of the same attempt
    (`silence_is_overruled`): the process was alive after all. And what COMPLETED in a transaction
    may be reported as rolled back with it, once (`completed_may_be_rolled_back`).
    """
    if wish.attempt != run.attempt or run.state.type not in TERMINAL_TYPES:
        return None
    if is_silence(run) and wish.cause == Cause.REPORTED:
        return None
    if is_rollback(run, wish):
        return None
    return Objection(
        VerdictKind.REJECTED,
        "terminal_is_final",
        f"The run ended as {run.state.name}; that is final for attempt {run.attempt}.",
    )


def cancelling_only_ends(run: Run, wish: Wish) -> Objection | None:
    """A run that is being cancelled may only end; whoever runs it should stop."""
    if (
        wish.attempt == run.attempt
        and run.state.type == StateType.CANCELLING
        and wish.state.type not in TERMINAL_TYPES
    ):
        return Objection(
            VerdictKind.REJECTED,
            "cancelling_only_ends",
            "The run is being cancelled; it can only end.",
        )
    return None


def order_of_types(run: Run, wish: Wish) -> Objection | None:
    """The table `ALLOWED`: for example, nothing goes back from RUNNING to PENDING."""
    if wish.attempt != run.attempt or is_silence(run) or is_rollback(run, wish):
        return None
    if wish.state.type in ALLOWED[run.state.type]:
        return None
    return Objection(
        VerdictKind.REJECTED,
        "order_of_types",
        f"{wish.state.name} cannot follow {run.state.name}.",
    )


def is_silence(run: Run) -> bool:
    """Whether the run is CRASHED only because its session fell silent."""
    return run.state.type == StateType.CRASHED and run.cause == Cause.SESSION_LOST


def is_rollback(run: Run, wish: Wish) -> bool:
    """Whether the process reports of a run that has COMPLETED that it was rolled back."""
    before, after = run.state, wish.state
    return (
        before.type == StateType.COMPLETED
        and after.type == StateType.COMPLETED
        and after.name == ROLLED_BACK != before.name
        and wish.cause == Cause.REPORTED
        and wish.attempt == run.attempt
    )


RULES: tuple[Callable[[Run, Wish], Objection | None], ...] = (
    same_again,
    older_attempt_is_fenced,
    newer_attempt_starts_fresh,
    terminal_is_final,
    cancelling_only_ends,
    order_of_types,
)


def decide(run: Run, wish: Wish) -> Objection | None:
    """Whether the run may enter the state.

    Args:
        run: The run as it is.
        wish: The state that it is to enter.

    Returns:
        None if it may; else the objection of the first rule that has one.
    """
    # The common case, first: the same attempt goes on, by the table. No rule objects to it, for
    # `same_again` cannot hold between different types.
    now = run.state.type
    if wish.attempt == run.attempt and wish.state.type != now and wish.state.type in ALLOWED[now]:
        return None
    for rule in RULES:
        objection = rule(run, wish)
        if objection is not None:
            return objection
    return None


def enter(run: Run, wish: Wish) -> None:
    """Moves the run to the state; to be called only after `decide` had no objection.

    Keeps the times: started_us at the first RUNNING, ended_us at a terminal state (and taken back
    when the run goes on after all), and the time spent in RUNNING, or in CANCELLING once it has
    run: until it ends, its code is at work.
    """
    before, after = run.state, wish.state
    if before.type == _RUNNING or (before.type == _CANCELLING and run.started_us is not None):
        run.run_duration_us += max(0, after.time_us - before.time_us)
        if run.run_duration_us > MAX_DURATION_US:
            run.run_duration_us = MAX_DURATION_US
    if after.type == _RUNNING and run.started_us is None:
        run.started_us = after.time_us
    run.ended_us = after.time_us if after.type in TERMINAL_TYPES else None
    run.state = after
    run.attempt = wish.attempt
    run.cause = wish.cause
    run.transition_count += 1
