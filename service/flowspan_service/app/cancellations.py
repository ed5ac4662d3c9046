"""Cancellations: a run and all runs that it called, in whichever processes they run."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowspan_service.app.clocks import service_time
from flowspan_service.app.finding import run_not_found
from flowspan_service.app.ports import Unfinished
from flowspan_service.app.transitions import make_transition, perform
from flowspan_service.domain.effects import effects_of_request
from flowspan_service.domain.rules.ownership import is_alive
from flowspan_service.domain.rules.transitions import ProposedTransition, requested_state
from flowspan_service.domain.states import DEFAULT_NAMES, Cause, State, StateType
from flowspan_service.domain.traces import trace_of
from flowspan_service.domain.verdicts import Objection, Verdict, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.app.ports.cancellations import OpenBelow
    from flowspan_service.app.ports.deletions import Place
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.runs import Run

MAX_WALKS = 3
"""Walks over a tree. The second one finds runs that changed their state during the first."""

_CANCELLING = int(StateType.CANCELLING)
_CANCELLED = int(StateType.CANCELLED)
_REPORTED = int(Cause.REPORTED)

BEING_CANCELLED = Objection(
    VerdictKind.DUPLICATE, "same_again", "The run is being cancelled already."
)


@dataclass(slots=True)
class Asked:
    """The outcome of asking runs to stop."""

    run_count: int = 0
    """The number of runs whose sessions were asked to stop them."""
    transition_count: int = 0
    commands: list[Command] = field(default_factory=list)
    """The commands to the sessions."""


@dataclass(slots=True)
class CancelBegun:
    """The outcome of the first step of a cancellation."""

    verdict: Verdict
    run: Run
    """The run after the step."""
    asked: Asked
    goes_on: bool
    """True if CancelBelow follows."""


class BeginCancel:
    """Cancel a run itself, and record that its descendants are to follow."""

    __slots__ = ("kind", "reason", "run_id", "run_ids", "weight")

    def __init__(self, kind: int, run_id: str, reason: str) -> None:
        """Initialize with the kind of the run, its id, and the reason for people."""
        self.kind = kind
        self.run_id = run_id
        self.reason = reason
        self.run_ids: Sequence[str] = (run_id,)
        self.weight = 3

    def __call__(self, uow: UnitOfWork) -> CancelBegun:
        """Ask the session of the run to stop it; without one, the run is CANCELLED.

        Raises:
            NotFoundError: There is no such run.
        """
        run = uow.runs.get(self.run_id)
        if run is None or run.kind != self.kind or uow.deletions.covers(run):
            raise run_not_found(self.kind, self.run_id)
        asked = Asked()
        objection = cancel_run(uow, run, self.reason, asked)
        # The run may have ended by an earlier call whose answer was lost: that asks again, too.
        goes_on = objection is None or run.state.type in (_CANCELLING, _CANCELLED)
        if goes_on:
            uow.cancellations.begin(run, self.reason)
        verdict = Verdict(VerdictKind.ACCEPTED, run.id)
        if objection is not None:
            verdict = Verdict(objection.kind, run.id, objection.rule, objection.reason)
        verdict.state, verdict.attempt = run.state, run.attempt
        after = copy(run)
        after.trace = trace_of(run, uow.runs.get)
        return CancelBegun(verdict, after, asked, goes_on)


class CancelBelow:
    """Cancel the open descendants of a run whose cancellation has begun.

    Each session gets a command for its topmost ones, as it stops the runs that these called in the
    same process. A large tree takes several transactions; `loops.unfinished` finishes the work of a
    service that died.
    """

    __slots__ = ("_asked", "_changed", "_place", "_walks", "run_id", "run_ids", "weight")

    def __init__(self, run_id: str) -> None:
        """Initialize with the run."""
        self.run_id = run_id
        self.run_ids: Sequence[str] = (run_id,)
        self.weight = 100
        self._asked = Asked()
        self._place: Place | None = None
        self._walks = 0
        self._changed = False
        """True if this walk has changed a run."""

    def __call__(self, uow: UnitOfWork) -> Asked | Unfinished:
        """Ask as many runs as there is time for."""
        before = self._asked
        asked = Asked(before.run_count, before.transition_count, list(before.commands))
        place, walks, changed = self._place, self._walks, self._changed
        reason = uow.cancellations.reason(self.run_id)
        if reason is None:
            return asked  # deleted, or finished by another process
        while True:
            found, place = uow.cancellations.open_below(self.run_id, after=place)
            count = asked.transition_count
            _cancel_some(uow, found, reason, asked, is_first_walk=walks == 0)
            changed = changed or asked.transition_count > count
            if place is None:
                walks += 1
                if not changed or walks == MAX_WALKS:
                    uow.cancellations.walked(self.run_id)
                    return asked
                changed = False
            if uow.is_spent():
                return self._rest(asked, place, walks, changed=changed)

    def _rest(self, asked: Asked, place: Place | None, walks: int, *, changed: bool) -> Unfinished:
        rest = CancelBelow(self.run_id)
        rest._asked, rest._place, rest._walks, rest._changed = asked, place, walks, changed
        return Unfinished(
            rest,
            f"{asked.run_count} runs were asked to stop; the others will be when the service runs"
            " again.",
        )


class ForgetCancellation:
    """Forget a cancellation if the run and all runs below have ended."""

    __slots__ = ("_place", "run_id", "run_ids", "weight")

    def __init__(self, run_id: str, *, place: Place | None = None) -> None:
        """Initialize with the run, and the place in its tree to continue from."""
        self.run_id = run_id
        self.run_ids: Sequence[str] = (run_id,)
        self.weight = 100
        self._place = place

    def __call__(self, uow: UnitOfWork) -> bool | Unfinished:
        """Search the tree for open runs; return True if there are none."""
        place = self._place
        while True:
            run, place = uow.deletions.open_run_below(self.run_id, after=place)
            if run is not None:
                return False
            if place is None:
                uow.cancellations.end(self.run_id)
                return True
            if uow.is_spent():
                return Unfinished(ForgetCancellation(self.run_id, place=place), "It is kept.")


def cancel_run(uow: UnitOfWork, run: Run, reason: str, asked: Asked) -> Objection | None:
    """Ask the session of a run to stop it, again if it was asked before.

    A run that no session executes becomes CANCELLED.

    Returns:
        The objection of the rules; None if the run changed its state.
    """
    if run.state.type == _CANCELLING and is_executed(uow, run):
        asked.commands += perform(uow, effects_of_request(run))
        asked.run_count += 1
        return BEING_CANCELLED
    wanted = State(_CANCELLING, DEFAULT_NAMES[_CANCELLING], reason, 0)
    executed = is_executed(uow, run)
    state = requested_state(run, wanted, now_us=service_time(uow, run), is_executed=executed)
    objection, commands = make_transition(
        uow, run, ProposedTransition(state, run.attempt, Cause.REQUESTED)
    )
    if objection is None:
        asked.transition_count += 1
        asked.run_count += executed
        asked.commands += commands
    return objection


def cancel_with_tree(uow: UnitOfWork, run: Run, reason: str) -> None:
    """Cancel a run that turned out to be below a cancelled one.

    `loops.unfinished` cancels its descendants, and `loops.commands` sends the commands.
    """
    if not run.state.is_terminal:
        cancel_run(uow, run, reason, Asked())
    uow.cancellations.begin(run, reason)


def is_refused_below(uow: UnitOfWork, parent: Run, session_id: str | None) -> bool:
    """Return True if no run may be created below a run, because of a cancellation.

    A session may create runs below its own runs, also while it stops them: it has the command, and
    a cancelled run may call tasks to clean up. Above an open run of another session, only
    cancellations of trees count, whose descendants all have to end.

    Args:
        uow: The transaction.
        parent: The run that calls the new run.
        session_id: The session that creates the run; None for a request.
    """
    seen: set[str] = set()
    run: Run | None = parent
    while run is not None and run.id not in seen:
        kind = run.state.type
        is_own = session_id is not None and run.session_id == session_id
        if is_own and (kind <= _CANCELLING or (kind == _CANCELLED and run.cause == _REPORTED)):
            return False
        if kind in (_CANCELLING, _CANCELLED):
            return True
        if kind < _CANCELLING:
            return uow.cancellations.covers(run)
        seen.add(run.id)
        run = uow.runs.get(run.parent_run_id) if run.parent_run_id else None
    return False


def is_executed(uow: UnitOfWork, run: Run) -> bool:
    """Return True if a live session executes the run."""
    return run.session_id is not None and is_alive(uow.sessions.get(run.session_id))


def _cancel_some(
    uow: UnitOfWork,
    found: Sequence[OpenBelow],
    reason: str,
    asked: Asked,
    *,
    is_first_walk: bool,
) -> None:
    chosen = [each.run_id for each in found if not (each.is_covered and _is_live(uow, each))]
    uow.runs.preload(chosen)
    for run_id in chosen:
        run = uow.runs.get(run_id)
        if run is None or run.state.is_terminal:
            continue
        if run.state.type != _CANCELLING or is_first_walk or not is_executed(uow, run):
            cancel_run(uow, run, reason, asked)


def _is_live(uow: UnitOfWork, each: OpenBelow) -> bool:
    return each.session_id is not None and is_alive(uow.sessions.get(each.session_id))
