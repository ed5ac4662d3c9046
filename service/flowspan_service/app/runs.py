"""Runs, for all callers but the processes that execute them: create, read, change, delete."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan_service.app.cancellations import is_executed, is_refused_below
from flowspan_service.app.clocks import service_time
from flowspan_service.app.families import after_arrival
from flowspan_service.app.finding import run_not_found
from flowspan_service.app.ports import Unfinished
from flowspan_service.app.transitions import make_transition, perform
from flowspan_service.domain.effects import effects_of_request
from flowspan_service.domain.errors import (
    AlreadyExistsError,
    BadTokenError,
    NotFoundError,
    StateConflictError,
)
from flowspan_service.domain.rules.families import PARENT_IS_CANCELLED, put_below
from flowspan_service.domain.rules.transitions import ProposedTransition, requested_state
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.states import Cause
from flowspan_service.domain.traces import trace_of
from flowspan_service.domain.verdicts import Verdict, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports import Store, UnitOfWork
    from flowspan_service.app.ports.deletions import Place
    from flowspan_service.app.ports.pages import Page
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.runs import NewRun, Transition
    from flowspan_service.domain.states import State


@dataclass(slots=True)
class Created:
    """The outcome of a creation."""

    run: Run
    is_new: bool


class CreateRun:
    """Create a run that no session executes yet. Idempotent by the id."""

    __slots__ = ("new", "run_ids", "weight")

    def __init__(self, new: NewRun) -> None:
        self.new = new
        self.run_ids: Sequence[str] = (new.id,)
        self.weight = 2

    def __call__(self, uow: UnitOfWork) -> Created | Unfinished:
        """Create the run, or return the one that a request before this one created.

        Raises:
            AlreadyExistsError: The id belongs to a run with different content.
            StateConflictError: The run of that id, or the parent, is being deleted; or the parent,
                or one further up, is being cancelled or was.
        """
        run = uow.runs.get(self.new.id)
        parent = uow.runs.get(self.new.parent_run_id) if self.new.parent_run_id else None
        for known in (run, parent):
            if known is not None and uow.deletions.covers(known):
                raise StateConflictError(
                    f"The run {known.id} is being deleted.",
                    advice="Choose another id or parent.",
                    run_id=known.id,
                )
        if run is None:
            return self._create(uow, parent)
        if not self.new.agrees_with(run):
            raise AlreadyExistsError(
                f"A run {run.id} already exists with different content.",
                advice="Choose a new id for a new run.",
                run_id=run.id,
            )
        return Created(copy(run), is_new=False)

    def _create(self, uow: UnitOfWork, parent: Run | None) -> Created | Unfinished:
        if self._is_refused(uow, parent):
            raise StateConflictError(
                f"{PARENT_IS_CANCELLED.reason} The parent is {self.new.parent_run_id}.",
                advice="Choose another parent, or none.",
                run_id=self.new.parent_run_id or "",
            )
        run = self.new.make(cause=Cause.REQUESTED, session_id=None)
        if parent is not None:
            put_below(run, parent)
        uow.runs.add(run)
        if parent is None and run.parent_run_id is not None:
            uow.families.wait_for_parent(run)
        return after_arrival(uow, (run.id,), Created(copy(run), is_new=True))

    def _is_refused(self, uow: UnitOfWork, parent: Run | None) -> bool:
        if parent is not None:
            return is_refused_below(uow, parent, None)
        return self.new.parent_run_id is not None and uow.fences.is_refused(self.new.parent_run_id)


@dataclass(slots=True)
class StateSet:
    """The outcome of a requested state."""

    verdict: Verdict
    run: Run
    """The run after the request."""
    command: Command | None = None
    """The command to the session that executes the run."""


class SetState:
    """Request a transition.

    CANCELLING cancels: the session that executes the run gets a command. A run that no session
    executes becomes CANCELLED at once.
    """

    __slots__ = ("kind", "run_id", "run_ids", "state", "weight")

    def __init__(self, kind: int, run_id: str, state: State) -> None:
        """Initialize the operation.

        Args:
            kind: The kind of the run.
            run_id: The run.
            state: The requested state. The service's clock sets its time.
        """
        self.kind = kind
        self.run_id = run_id
        self.state = state
        self.run_ids: Sequence[str] = (run_id,)
        self.weight = 2

    def __call__(self, uow: UnitOfWork) -> StateSet:
        """Decide about the state, and enter it if the rules allow it.

        Raises:
            NotFoundError: There is no such run.
        """
        run = uow.runs.get(self.run_id)
        if run is None or run.kind != self.kind or uow.deletions.covers(run):
            raise run_not_found(self.kind, self.run_id)
        executed = is_executed(uow, run)
        now_us = service_time(uow, run)
        state = requested_state(run, self.state, now_us=now_us, is_executed=executed)
        proposed = ProposedTransition(state, run.attempt, Cause.REQUESTED)
        objection, commands = make_transition(uow, run, proposed)
        if objection is None:
            verdict = Verdict(VerdictKind.ACCEPTED, run.id)
        else:
            verdict = Verdict(objection.kind, run.id, objection.rule, objection.reason)
            commands = perform(uow, effects_of_request(run))
        verdict.state = run.state
        verdict.attempt = run.attempt
        after = copy(run)
        after.trace = trace_of(run, uow.runs.get)
        return StateSet(verdict, after, commands[0] if commands else None)


class DeleteRun:
    """Delete a flow run with its descendants. A no-op if there is no such run.

    A large tree takes several transactions. The first one records that the deletion began: from
    then on no report about the tree is accepted, and `loops.unfinished` finishes the deletions of a
    service that died.
    """

    __slots__ = ("_checked", "_deleted", "_path", "force", "run_id", "run_ids", "weight")

    def __init__(self, run_id: str, *, force: bool) -> None:
        """Initialize the operation.

        Args:
            run_id: The run.
            force: True to delete runs that have not ended, too.
        """
        self.run_id = run_id
        self.force = force
        self.run_ids: Sequence[str] = (run_id,)
        self.weight = 100
        self._deleted = 0
        self._checked: Place | None = None
        self._path: Sequence[str] = (run_id,)

    def __call__(self, uow: UnitOfWork) -> int | Unfinished:
        """Delete as many runs as there is time for.

        Returns:
            The number of runs deleted by this call.

        Raises:
            StateConflictError: A run of the tree has not ended.
        """
        if self.run_id not in uow.deletions.begun():
            run = uow.runs.get(self.run_id)
            if run is None or run.kind != RunKind.FLOW:
                return self._deleted
            place = None if self.force else self._check(uow)
            if place is not None:
                return self._rest(self._path, self._deleted, checked=place)
            uow.deletions.begin(run)
        path, deleted = list(self._path), self._deleted
        while True:
            deleted += uow.deletions.delete_below(path)
            if not path:
                uow.deletions.end(self.run_id)
                return deleted
            if uow.is_spent():
                return self._rest(path, deleted)

    def _check(self, uow: UnitOfWork) -> Place | None:
        """Search the tree for open runs; return the place to continue, or None at the end.

        Raises:
            StateConflictError: The tree has an open run.
        """
        place = self._checked
        while True:
            run, place = uow.deletions.open_run_below(self.run_id, after=place)
            if run is not None:
                raise StateConflictError(
                    f"The run {run.id} is {run.state.name} and has not ended.",
                    advice="Cancel it first, or force the deletion.",
                    run_id=run.id,
                    state=run.state.name,
                )
            if place is None or uow.is_spent():
                return place

    def _rest(
        self, path: Sequence[str], deleted: int, *, checked: Place | None = None
    ) -> Unfinished:
        rest = DeleteRun(self.run_id, force=self.force)
        rest._checked, rest._path, rest._deleted = checked, path, deleted
        if checked is not None:
            return Unfinished(rest, "Nothing was deleted.")
        return Unfinished(
            rest,
            f"{deleted} runs were deleted; the others will be when the service runs again.",
        )


def get_run(store: Store, kind: int, run_id: str) -> Run:
    """Return a run of that kind.

    Raises:
        NotFoundError: There is no such run.
    """
    run = store.runs.get(kind, run_id)
    if run is None:
        raise run_not_found(kind, run_id)
    return run


def get_run_of_any_kind(store: Store, run_id: str) -> Run:
    """Return a run of any kind.

    Raises:
        NotFoundError: There is no such run.
    """
    run = store.runs.get(RunKind.FLOW, run_id) or store.runs.get(RunKind.TASK, run_id)
    if run is None:
        raise NotFoundError(f"There is no run {run_id}.", run_id=run_id)
    return run


def history(
    store: Store, kind: int, run_id: str, *, after_ordinal: int, limit: int, limit_bytes: int
) -> Page[Transition]:
    """Return a page of the transitions of a run, by ordinal.

    Raises:
        NotFoundError: There is no such run.
        BadTokenError: The history is shorter than `after_ordinal`.
    """
    run = get_run(store, kind, run_id)
    if after_ordinal > run.transition_count:
        raise beyond_the_end("page_token")
    page = store.transitions.page(
        run_id, after_ordinal=after_ordinal, limit=limit, limit_bytes=limit_bytes
    )
    if not page.items and not after_ordinal:
        raise run_not_found(kind, run_id)  # deleted in the meantime: every run has a transition
    return page


def beyond_the_end(field: str) -> BadTokenError:
    """Return the error for a page token from a later state of the database."""
    return BadTokenError(
        f"{field}: the token is from a later state of the database (a backup was restored?)",
        advice="Begin without a token.",
        field=field,
    )
