"""Runs, for everybody but the processes that execute them: create, look at, change, delete."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan_service.app.ports import Unfinished
from flowspan_service.domain.commands import Command, CommandKind
from flowspan_service.domain.errors import (
    AlreadyExistsError,
    BadTokenError,
    NotFoundError,
    StateConflictError,
)
from flowspan_service.domain.rules.transitions import ProposedTransition, decide, enter
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.sessions import SessionStatus
from flowspan_service.domain.states import DEFAULT_NAMES, Cause, State, StateType
from flowspan_service.domain.verdicts import Verdict, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports import Place, Store, UnitOfWork
    from flowspan_service.app.queries import Page
    from flowspan_service.domain.runs import NewRun, Transition


@dataclass(slots=True)
class Created:
    """A run, and whether it is new."""

    run: Run
    is_new: bool


class CreateRun:
    """Creates a run that nobody executes yet. Idempotent by the id."""

    __slots__ = ("new", "run_ids", "weight")

    def __init__(self, new: NewRun) -> None:
        """Prepares it."""
        self.new = new
        self.run_ids: Sequence[str] = (new.id,)
        self.weight = 2

    def __call__(self, uow: UnitOfWork) -> Created:
        """Does it.

        Raises:
            AlreadyExistsError: The id is taken by a run with another content.
            StateConflictError: The run of that id, or the parent, is being deleted.
        """
        run = uow.run(self.new.id)
        parent = uow.run(self.new.parent_run_id) if self.new.parent_run_id else None
        for known in (run, parent):
            if known is not None and uow.is_being_deleted(known):
                raise StateConflictError(
                    f"The run {known.id} is being deleted.",
                    advice="Choose another id or parent.",
                    run_id=known.id,
                )
        if run is None:
            run = self.new.make(cause=Cause.REQUESTED, session_id=None)
            uow.add_run(run)
            return Created(copy(run), is_new=True)
        if not self.new.agrees_with(run):
            raise AlreadyExistsError(
                f"A run {run.id} exists and was created with another content.",
                advice="Choose a new id for a new run.",
                run_id=run.id,
            )
        return Created(copy(run), is_new=False)


@dataclass(slots=True)
class StateSet:
    """What became of a state that was asked for."""

    verdict: Verdict
    run: Run
    """The run afterwards."""
    command: Command | None = None
    """What the session that executes the run is asked."""


class SetState:
    """Asks for a transition.

    CANCELLING cancels: the session that executes the run gets a command; a run that nobody executes
    becomes CANCELLED directly.
    """

    __slots__ = ("kind", "run_id", "run_ids", "state", "weight")

    def __init__(self, kind: int, run_id: str, state: State) -> None:
        """Prepares it, for a run of a kind; the state's time is set by the service's clock."""
        self.kind = kind
        self.run_id = run_id
        self.state = state
        self.run_ids: Sequence[str] = (run_id,)
        self.weight = 2

    def __call__(self, uow: UnitOfWork) -> StateSet:
        """Does it.

        Raises:
            NotFoundError: There is no such run.
        """
        run = uow.run(self.run_id)
        if run is None or run.kind != self.kind or uow.is_being_deleted(run):
            raise run_not_found(self.kind, self.run_id)
        state = copy(self.state)
        state.time_us = max(uow.now_us, run.state.time_us)
        cancels = state.type == StateType.CANCELLING
        if cancels and not run.state.is_terminal and not _is_executed(uow, run):
            state.type = StateType.CANCELLED
            if state.name == DEFAULT_NAMES[StateType.CANCELLING]:
                state.name = DEFAULT_NAMES[StateType.CANCELLED]
        proposed = ProposedTransition(state, run.attempt, Cause.REQUESTED)
        objection = decide(run, proposed)
        verdict = Verdict(VerdictKind.ACCEPTED, run.id)
        if objection is None:
            if run.state.type == StateType.CANCELLING:
                uow.finish_commands(run.id)
            enter(run, proposed)
            uow.add_transition(run)
        else:
            verdict = Verdict(objection.kind, run.id, objection.rule, objection.reason)
        verdict.state = run.state
        verdict.attempt = run.attempt
        return StateSet(verdict, copy(run), _command(uow, run))


class DeleteRun:
    """Deletes a flow run with all that it called; nothing, if it is not there.

    A large tree takes several transactions. The first one notes that the deletion was begun: from
    then on nothing that is reported of the tree is accepted, and `loops.unfinished` finishes what a
    service that died has left.
    """

    __slots__ = ("_checked", "_deleted", "_path", "force", "run_id", "run_ids", "weight")

    def __init__(self, run_id: str, *, force: bool) -> None:
        """Prepares it.

        Args:
            run_id: Which run.
            force: Whether runs that have not ended are deleted too.
        """
        self.run_id = run_id
        self.force = force
        self.run_ids: Sequence[str] = (run_id,)
        self.weight = 100
        self._deleted = 0
        self._checked: Place | None = None
        self._path: Sequence[str] = (run_id,)

    def __call__(self, uow: UnitOfWork) -> int | Unfinished:
        """Does it.

        Returns:
            How many runs were deleted by this call.

        Raises:
            StateConflictError: A run of the tree has not ended.
        """
        if self.run_id not in uow.deletions():
            run = uow.run(self.run_id)
            if run is None or run.kind != RunKind.FLOW:
                return self._deleted
            place = None if self.force else self._check(uow)
            if place is not None:
                return self._rest(self._path, self._deleted, checked=place)
            uow.begin_deletion(run)
        path, deleted = list(self._path), self._deleted
        while True:
            deleted += uow.delete_below(path)
            if not path:
                uow.end_deletion(self.run_id)
                return deleted
            if uow.is_spent():
                return self._rest(path, deleted)

    def _check(self, uow: UnitOfWork) -> Place | None:
        """Look for runs that have not ended; return where to go on, None if there are none.

        Raises:
            StateConflictError: There is one.
        """
        place = self._checked
        while True:
            run, place = uow.open_run_below(self.run_id, after=place)
            if run is not None:
                raise StateConflictError(
                    f"The run {run.id} is {run.state.name} and has not ended.",
                    advice="Cancel it first, or delete it by force.",
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
    """One run.

    Raises:
        NotFoundError: There is no such run.
    """
    run = store.get_run(kind, run_id)
    if run is None:
        raise run_not_found(kind, run_id)
    return run


def get_run_of_any_kind(store: Store, run_id: str) -> Run:
    """One run, a flow run or a task run.

    Raises:
        NotFoundError: There is no such run.
    """
    run = store.get_run(RunKind.FLOW, run_id) or store.get_run(RunKind.TASK, run_id)
    if run is None:
        raise NotFoundError(f"There is no run {run_id}.", run_id=run_id)
    return run


def history(
    store: Store, kind: int, run_id: str, *, after_ordinal: int, limit: int, limit_bytes: int
) -> Page[Transition]:
    """A page of the transitions of a run, by ordinal.

    Raises:
        NotFoundError: There is no such run.
        BadTokenError: Its history is shorter than that.
    """
    run = get_run(store, kind, run_id)
    if after_ordinal > run.transition_count:
        raise beyond_the_end("page_token")
    page = store.transition_page(
        run_id, after_ordinal=after_ordinal, limit=limit, limit_bytes=limit_bytes
    )
    if not page.items and not after_ordinal:
        raise run_not_found(kind, run_id)  # deleted meanwhile: no run is without a transition
    return page


def beyond_the_end(field: str) -> BadTokenError:
    """The error for a page token of a state that the database is not in any more."""
    return BadTokenError(
        f"{field}: the token is of a later state of the database (a backup was restored?)",
        advice="Begin without a token.",
        field=field,
    )


def run_not_found(kind: int, run_id: str) -> NotFoundError:
    """The error for a run that is not there."""
    noun = "flow run" if kind == RunKind.FLOW else "task run"
    return NotFoundError(f"There is no {noun} {run_id}.", run_id=run_id)


def _command(uow: UnitOfWork, run: Run) -> Command | None:
    """Ask the session that executes the run for what its state means; also when it was asked."""
    if run.state.type != StateType.CANCELLING or run.session_id is None:
        return None
    command = Command(
        run_id=run.id,
        number=run.transition_count,
        session_id=run.session_id,
        kind=CommandKind.CANCEL_RUN,
        reason=run.state.message,
        created_us=uow.now_us,
    )
    uow.add_command(command)
    return command


def _is_executed(uow: UnitOfWork, run: Run) -> bool:
    """Whether a live session executes the run."""
    if run.session_id is None:
        return False
    session = uow.session(run.session_id)
    return session is not None and session.status == SessionStatus.OPEN
