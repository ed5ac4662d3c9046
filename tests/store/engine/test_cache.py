"""The writer's memory while other service processes write to the same database."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.builders import (
    Op,
    a_run,
    a_session,
    add_runs,
    delete_tree,
    do,
    enter,
    move,
    new_id,
)

from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.states import StateType
from flowspan_service.stores.engine import cache as cache_module
from flowspan_service.stores.engine.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.store import SqlStore

RUNS = 4
NAMES = st.integers(0, RUNS - 1)
OPEN_TYPES = [StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]
STEPS = st.one_of(
    st.tuples(st.just("move"), NAMES, st.sampled_from([*OPEN_TYPES, StateType.COMPLETED])),
    st.tuples(st.just("adopt"), NAMES, st.integers(0, 1)),
    st.tuples(st.just("add"), NAMES, st.none() | NAMES),
    st.tuples(st.just("delete"), NAMES, st.none()),
    st.tuples(st.just("open"), st.integers(0, 1), st.none()),
    st.tuples(st.just("undone"), NAMES, st.none()),
    st.tuples(st.just("renew"), st.integers(0, 1), st.none()),
)
INTERLEAVING = st.lists(
    st.tuples(st.integers(0, 1), st.lists(STEPS, min_size=1, max_size=3), st.booleans()),
    min_size=2,
    max_size=14,
)


class _UndoneError(Exception):
    """Rolls a transaction back."""


class _Example:
    """Runs and sessions of one example; the examples share a database."""

    def __init__(self) -> None:
        self.run_ids = [new_id() for _ in range(RUNS)]
        self.session_ids = [new_id() for _ in range(2)]

    def seen(self, uow: UnitOfWork) -> dict[str, Any]:
        """Return everything that the transaction sees of the example."""
        found: dict[str, Any] = {each: deepcopy(uow.runs.get(each)) for each in self.run_ids}
        found |= {each: deepcopy(uow.sessions.get(each)) for each in self.session_ids}
        return found

    def take(self, uow: UnitOfWork, steps: Sequence[tuple[str, int, Any]]) -> None:
        for name, number, argument in steps:
            getattr(self, f"_{name}")(uow, number, argument)

    def _add(self, uow: UnitOfWork, number: int, parent: int | None) -> None:
        run_id = self.run_ids[number]
        if uow.runs.get(run_id) is None:
            above = uow.runs.get(self.run_ids[parent]) if parent is not None else None
            uow.runs.add(a_run(id=run_id, parent=above, session_id=self.session_ids[0]))

    def _move(self, uow: UnitOfWork, number: int, state_type: int) -> None:
        run = uow.runs.get(self.run_ids[number])
        if run is not None:
            uow.runs.add_transition(enter(run, state_type, message=f"{run.transition_count}"))

    def _adopt(self, uow: UnitOfWork, number: int, session: int) -> None:
        """Change the one thing that may change without a transition."""
        run = uow.runs.get(self.run_ids[number])
        if run is not None:
            run.session_id = self.session_ids[session]
            uow.runs.update(run)

    def _delete(self, uow: UnitOfWork, number: int, _: None) -> None:
        delete_tree(uow, self.run_ids[number])

    def _open(self, uow: UnitOfWork, session: int, _: None) -> None:
        uow.runs.open_of(self.session_ids[session], limit=9, limit_bytes=10**6)

    def _renew(self, uow: UnitOfWork, number: int, _: None) -> None:
        session = uow.sessions.get(self.session_ids[number]) or a_session(
            id=self.session_ids[number]
        )
        session.renew(uow.now_us)
        uow.sessions.save(session)

    def _undone(self, uow: UnitOfWork, number: int, _: None) -> None:
        self._move(uow, number, StateType.PAUSED)
        raise _UndoneError


def without_memory(store: SqlStore) -> SqlStore:
    """Make the store forget everything before each transaction."""
    cache, unit = store._writer._cache, store._writer._unit

    def forgetful(*args: Any, **options: Any) -> Any:
        cache.clear()
        return unit(*args, **options)

    store._writer._unit = forgetful  # type: ignore[method-assign] # a test double
    return store


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(interleaving=INTERLEAVING)
def test_no_interleaving_shows_a_stale_run(
    store_url: str, open_url: Callable[..., SqlStore], interleaving: list[tuple[Any, ...]]
) -> None:
    """Two replicas write in turns; each sees what a store without memory sees."""
    stores = _cached.get(store_url)
    if stores is None:
        stores = _cached[store_url] = [open_url(store_url) for _ in range(3)]
        without_memory(stores[2])
    example = _Example()
    for number, steps, is_named in interleaving:
        expected = do(stores[2], example.seen, *example.run_ids)

        def act(
            uow: UnitOfWork,
            steps: Sequence[tuple[str, int, Any]] = steps,
            expected: dict[str, Any] = expected,
        ) -> None:
            assert example.seen(uow) == expected
            example.take(uow, steps)

        future = stores[number].submit(Op(act, example.run_ids if is_named else ()))
        error = future.exception(60)
        assert error is None or isinstance(error, _UndoneError), error
    expected = do(stores[2], example.seen, *example.run_ids)
    for store in stores[:2]:
        assert do(store, example.seen, *example.run_ids) == expected


_cached: dict[str, list[SqlStore]] = {}
"""The stores of a test, for all of its examples, by the URL of their database."""


class _Reads:
    """Counts the reads of runs by the writer of a store."""

    def __init__(self, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[str] = []
        self.versions: list[list[str]] = []
        dialect = store._dialect
        load_runs, run_versions = dialect.load_runs, dialect.run_versions

        def loading(connection: Any, run_ids: Sequence[str]) -> list[Run]:
            self.rows += run_ids
            return load_runs(connection, run_ids)

        def reading(connection: Any, run_ids: Sequence[str]) -> Any:
            self.versions.append(list(run_ids))
            return run_versions(connection, run_ids)

        monkeypatch.setattr(dialect, "load_runs", loading)
        monkeypatch.setattr(dialect, "run_versions", reading)


def test_one_process_alone_reads_no_run_again(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [a_run() for _ in range(20)]
    add_runs(store, runs)
    reads = _Reads(store, monkeypatch)
    for state_type in OPEN_TYPES:
        for run in runs:
            move(store, run.id, state_type)
    assert (reads.rows, reads.versions) == ([], [])


def test_after_a_commit_of_another_process_only_its_runs_are_read_again(
    store_url: str, open_url: Callable[..., SqlStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = open_url(store_url), open_url(store_url)
    mine, theirs = [a_run() for _ in range(20)], a_run()
    add_runs(one, [*mine, theirs])
    reads = _Reads(one, monkeypatch)
    move(two, theirs.id, StateType.RUNNING)
    wanted = [run.id for run in mine]
    do(one, lambda uow: [uow.runs.get(each) for each in wanted], *wanted)
    assert (reads.rows, reads.versions) == ([], [wanted])
    # What was confirmed is not asked about again.
    do(one, lambda uow: [uow.runs.get(each) for each in wanted], *wanted)
    assert len(reads.versions) == 1
    state = do(one, lambda uow: uow.runs.get(theirs.id).state.type, theirs.id)
    assert state == StateType.RUNNING
    assert reads.rows == [theirs.id]


def test_sessions_are_read_together_after_a_commit_of_another_process(
    store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    one, two = open_url(store_url), open_url(store_url)
    sessions = [a_session() for _ in range(3)]
    do(one, lambda uow: [uow.sessions.save(each) for each in sessions])
    add_runs(two, [a_run()])
    futures = []
    for session in sessions:
        operation = Op(lambda uow, session=session: uow.sessions.get(session.id).renewals)
        operation.session_id = session.id  # type: ignore[attr-defined] # as ApplyReport has one
        futures.append(one.submit(operation))
    assert [future.result(60) for future in futures] == [0, 0, 0]


def test_doubted_runs_count_towards_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MAX_PAYLOAD_BYTES", 1000)
    cache = Cache(max_runs=5)
    for _ in range(4):
        run = a_run()
        cache.runs[run.id] = run
    cache.doubt()
    fresh = [a_run(), a_run(parameters=Payload("json", b"x" * 900))]
    for run in fresh:
        cache.runs[run.id] = run
    cache.trim()
    assert (len(cache.doubted), len(cache.runs)) == (3, 2)
    cache.doubt()
    assert (len(cache.doubted), len(cache.runs)) == (5, 0)
    cache.payload_bytes = 1100  # an estimate that is too high makes the cache count
    cache.trim()
    assert (len(cache.doubted), cache.payload_bytes) == (4, 0)
    assert fresh[0].id in cache.doubted
