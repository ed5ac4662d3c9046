"""Claims of loops as rows, and the runs whose spans the service exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.store.builders import START_US, a_run, add_runs, delete_tree, do, enter, move

from flowspan_service.app.claims import MoveClaim, TakeClaim
from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.runs import Run, TraceContext
from flowspan_service.domain.states import Cause, StateType

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from tests.store.builders import FakeClock

    from flowspan_service.domain.claims import LoopClaim
    from flowspan_service.stores.store import SqlStore

LEASE_US = 60_000_000


def take(store: SqlStore, holder: str, **options: Any) -> LoopClaim | None:
    operation = TakeClaim("loop", holder=holder, **{"lease_us": LEASE_US} | options)
    return store.submit(operation).result(60)


def move_claim(
    store: SqlStore, holder: str, position: int | None, *, lease_us: int | None = None
) -> bool:
    operation = MoveClaim("loop", holder=holder, position=position, lease_us=lease_us)
    return store.submit(operation).result(60)


def test_one_process_at_a_time_has_the_claim(store: SqlStore) -> None:
    assert store.claims.get("loop") is None
    claim = take(store, "one", begin_at=7)
    assert claim is not None
    assert (claim.holder, claim.position) == ("one", 7)
    assert take(store, "two") is None
    assert not move_claim(store, "two", 9)
    stored = store.claims.get("loop")
    assert stored is not None
    assert (stored.holder, stored.position) == ("one", 7)
    assert LEASE_US - 30_000_000 < stored.left_us <= LEASE_US
    assert take(store, "one", begin_at=0) is not None
    assert move_claim(store, "one", 8, lease_us=LEASE_US)
    assert take(store, "two") is None
    assert move_claim(store, "one", 9)
    claim = take(store, "two", begin_at=0)
    assert claim is not None
    assert claim.position == 9


def test_the_lease_is_measured_by_the_clock_of_the_database(
    store: SqlStore, clock: FakeClock
) -> None:
    assert take(store, "dead", begin_at=1, lease_us=0) is not None
    clock.time_us -= 3_600_000_000  # the wall clock of this process does not matter
    assert take(store, "two") is not None
    assert not move_claim(store, "dead", 2)
    clock.time_us += 7_200_000_000
    assert take(store, "three") is None


def test_a_claim_may_be_taken_and_set_back_at_once(store: SqlStore) -> None:
    assert take(store, "one", begin_at=5, rewind_to=9).position == 5  # type: ignore[union-attr]
    assert take(store, "one", rewind_to=3).position == 3  # type: ignore[union-attr]


def crash(store: SqlStore, run: Run, *, cause: int = Cause.SESSION_LOST, **values: Any) -> None:
    def end(uow: Any) -> None:
        found = uow.runs.get(run.id)
        uow.runs.add_transition(enter(found, StateType.CRASHED, cause=cause, **values))

    do(store, end, run.id)


TRACE = TraceContext("00-" + "1" * 32 + "-" + "2" * 16 + "-01")


def found(store: SqlStore, *, after: int = 0, since_us: int = 0, limit: int = 9) -> list[str]:
    return [
        run.id
        for run in store.transitions.span_runs(after=after, since_us=since_us, limit=limit).items
    ]


def test_runs_whose_spans_the_service_exports(store: SqlStore, clock: FakeClock) -> None:
    asked = TraceContext(TRACE.traceparent, exported_by_service=True)
    payload = Payload("json", b"[1]")
    lost, done, untraced, own, back, gone = runs = [
        a_run(trace=TRACE, parameters=payload, tags=("a",)),
        a_run(trace=asked),
        a_run(),
        a_run(trace=TRACE),
        a_run(trace=TRACE),
        a_run(trace=TRACE),
    ]
    add_runs(store, runs)
    crash(store, lost, message="lost")
    move(store, done.id, StateType.COMPLETED)
    crash(store, untraced)
    crash(store, own, cause=Cause.REPORTED)
    crash(store, back)
    move(store, back.id, StateType.COMPLETED)
    crash(store, gone)
    do(store, lambda uow: delete_tree(uow, gone.id))
    assert found(store) == [lost.id, done.id]
    assert store.transitions.span_runs(after=0, since_us=0, limit=9)[1:] == (
        store.position(),
        False,
    )
    run = store.transitions.span_runs(after=0, since_us=0, limit=1).items[0]
    expected = store.runs.get(run.kind, lost.id)
    assert expected is not None
    expected.parameters = None  # no span shows payloads
    assert run == expected
    clock.time_us = START_US + 1
    crash(store, done)
    assert found(store) == [lost.id, done.id]
    assert found(store, since_us=START_US + 1) == [done.id]


def test_pages_of_such_runs_leave_none_out(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowspan_service.stores.transitions.SCAN_LIMIT", 7)
    runs = [a_run(trace=TRACE) for _ in range(20)]
    add_runs(store, runs)
    for run in runs:
        crash(store, run)
    seen: list[str] = []
    after, has_more = 0, True
    while has_more:
        items, looked_at, has_more = store.transitions.span_runs(after=after, since_us=0, limit=3)
        assert looked_at > after
        after = looked_at
        seen += [run.id for run in items]
    assert seen == [run.id for run in runs]
    assert after == store.position()


def test_two_replicas_take_turns(store_url: str, open_url: Callable[..., SqlStore]) -> None:
    one, two = open_url(store_url), open_url(store_url)
    assert take(one, "one", begin_at=1) is not None
    assert take(two, "two") is None
    assert move_claim(one, "one", 4)
    claim = take(two, "two")
    assert claim is not None
    assert claim.position == 4
