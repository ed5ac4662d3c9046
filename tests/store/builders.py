"""Builders of records and operations for the store tests."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

from flowspan_service.domain.artifacts import Artifact
from flowspan_service.domain.logs import LogEntry
from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.sessions import Session, SessionStatus
from flowspan_service.domain.states import DEFAULT_NAMES, TERMINAL_TYPES, Cause, State, StateType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.stores.store import SqlStore

START_US = 1_790_000_000_000_000

_counter = itertools.count(1)


class FakeClock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time_us = START_US

    def now_us(self) -> int:
        return self.time_us

    def monotonic_us(self) -> int:
        return self.time_us - START_US


class Op:
    """An operation that calls a function."""

    def __init__(
        self, function: Callable[[UnitOfWork], Any], run_ids: Sequence[str] = (), weight: int = 1
    ) -> None:
        self.function = function
        self.run_ids = list(run_ids)
        self.weight = weight
        self.calls = 0

    def __call__(self, uow: UnitOfWork) -> Any:
        self.calls += 1
        return self.function(uow)


class Gate:
    """Blocks the writer in an operation, so that later operations gather in one group."""

    def __init__(self, store: SqlStore) -> None:
        self._entered, self._open = threading.Event(), threading.Event()
        self._future = store.submit(Op(self._wait))
        assert self._entered.wait(60)

    def _wait(self, _uow: UnitOfWork) -> None:
        self._entered.set()
        assert self._open.wait(60)

    def open(self) -> None:
        self._open.set()
        self._future.result(60)


def do(store: SqlStore, function: Callable[[UnitOfWork], Any], *run_ids: str) -> Any:
    """Run a function in a transaction; return its result."""
    return store.submit(Op(function, run_ids)).result(timeout=60)


def new_id(time_us: int = START_US) -> str:
    """Return a UUIDv7 of this time, greater than all earlier ones of the same time."""
    count = next(_counter)
    digits = f"{time_us // 1000:012x}7{count >> 60:03x}8{count & ((1 << 60) - 1):015x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def a_state(state_type: int, time_us: int = START_US, **values: Any) -> State:
    values = {"name": DEFAULT_NAMES[state_type], "message": ""} | values
    return State(type=int(state_type), time_us=time_us, **values)


def a_run(**values: Any) -> Run:
    """Return a run; by default top-level and PENDING."""
    run_id = values.pop("id", None) or new_id()
    parent: Run | None = values.pop("parent", None)
    defaults: dict[str, Any] = {
        "id": run_id,
        "kind": RunKind.TASK if parent else RunKind.FLOW,
        "function_name": "load",
        "run_name": "brave-otter",
        "parent_run_id": parent.id if parent else None,
        "root_run_id": parent.root_run_id if parent else run_id,
        "flow_run_id": None,
        "tags": (),
        "parameters": None,
        "trace": None,
        "version": "",
        "created_us": START_US,
        "state": a_state(StateType.PENDING),
    }
    if parent and values.get("kind", RunKind.TASK) == RunKind.TASK:
        defaults["flow_run_id"] = parent.id if parent.kind == RunKind.FLOW else parent.flow_run_id
    return Run(**defaults | values)


def a_session(**values: Any) -> Session:
    defaults: dict[str, Any] = {
        "id": new_id(),
        "status": SessionStatus.OPEN,
        "last_sequence": 0,
        "lease_us": 30_000_000,
        "lease_expires_us": START_US + 30_000_000,
        "created_us": START_US,
        "client": {"language": "python", "hostname": "hübsch"},
    }
    return Session(**defaults | values)


def a_log(run: Run, message: str = "hello", **values: Any) -> LogEntry:
    defaults = {"attempt": 1, "level": 20, "time_us": START_US, "logger": "flow"}
    return LogEntry(run_id=run.id, message=message, **defaults | values)


def an_artifact(run: Run | None = None, **values: Any) -> Artifact:
    """Return an artifact of the run; by default Markdown and without a key."""
    defaults: dict[str, Any] = {
        "id": new_id(),
        "key": None,
        "type": "markdown",
        "description": "",
        "data": Payload("json", b'"# hello"'),
        "run_id": run.id if run else None,
        "flow_run_id": run.id if run and run.kind == RunKind.FLOW else None,
        "root_run_id": run.root_run_id if run else None,
        "created_us": START_US,
        "updated_us": START_US,
    }
    return Artifact(**defaults | values)


def put_artifacts(store: SqlStore, *artifacts: Artifact) -> None:
    """Store new or changed artifacts in one transaction."""

    def put(uow: UnitOfWork) -> None:
        uow.artifacts.preload([each.id for each in artifacts])
        for each in artifacts:
            uow.artifacts.get(each.id)
            uow.artifacts.put(each)

    do(store, put)


def enter(run: Run, state_type: int, *, cause: int = Cause.REPORTED, **values: Any) -> Run:
    """Move a run to a state without checking the rules."""
    run.state = a_state(state_type, **values)
    run.transition_count += 1
    run.cause = cause
    run.ended_us = run.state.time_us if state_type in TERMINAL_TYPES else None
    return run


def add_runs(store: SqlStore, runs: Sequence[Run]) -> None:
    """Store new runs."""

    def add(uow: UnitOfWork) -> None:
        for run in runs:
            uow.runs.add(run)

    do(store, add)


def move(store: SqlStore, run_id: str, *state_types: int) -> None:
    """Move a run through the states in one transaction."""

    def transit(uow: UnitOfWork) -> None:
        for state_type in state_types:
            run = uow.runs.get(run_id)
            assert run is not None
            uow.runs.add_transition(enter(run, state_type))

    do(store, transit, run_id)


def delete_tree(uow: UnitOfWork, run_id: str) -> int:
    """Delete a run with all that it called; return how many there were."""
    run = uow.runs.get(run_id)
    if run is None:
        return 0
    uow.deletions.begin(run)
    path, deleted = [run_id], 0
    while path:
        deleted += uow.deletions.delete_below(path)
    uow.deletions.end(run_id)
    return deleted
