"""Runs whose spans the service exports, as the store finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.store.builders import START_US, a_run, add_runs, delete_tree, do, enter, move

from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.runs import Run, TraceContext
from flowspan_service.domain.states import Cause, StateType

if TYPE_CHECKING:
    import pytest
    from tests.store.builders import FakeClock

    from flowspan_service.stores.store import SqlStore


def crash(store: SqlStore, run: Run, *, cause: int = Cause.SESSION_LOST, **values: Any) -> None:
    def end(uow: Any) -> None:
        found = uow.runs.get(run.id)
        uow.runs.add_transition(enter(found, StateType.CRASHED, cause=cause, **values))

    do(store, end, run.id)


TRACE = TraceContext("00-" + "1" * 32 + "-" + "2" * 16 + "-01")


def found(store: SqlStore, *, after: int = 0, since_us: int = 0, limit: int = 9) -> list[str]:
    return [
        run.id
        for run in store.runs.needing_spans(after=after, since_us=since_us, limit=limit).items
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
    assert store.runs.needing_spans(after=0, since_us=0, limit=9)[1:] == (store.position(), False)
    run = store.runs.needing_spans(after=0, since_us=0, limit=1).items[0]
    expected = store.runs.get(run.kind, lost.id)
    assert expected is not None
    expected.parameters = None  # no span shows payloads
    assert run == expected
    clock.time_us = START_US + 1
    crash(store, done)
    assert found(store) == [lost.id, done.id]
    assert found(store, since_us=START_US + 1) == [done.id]


def test_runs_whose_ids_are_derived(store: SqlStore) -> None:
    by_service = TraceContext("", exported_by_service=True)
    root = a_run(trace=by_service)
    child = a_run(parent=root, trace=by_service)
    add_runs(store, [root, child])
    failure = b"failure"
    crash(store, child, cause=Cause.REPORTED, failure=failure)
    (found_run,) = store.runs.needing_spans(after=0, since_us=0, limit=9).items
    assert found_run.id == child.id
    assert found_run.state.failure == failure, "spans show it"
    assert found_run.trace is not None
    digits = child.id.replace("-", "")
    assert found_run.trace.traceparent == f"00-{root.id.replace('-', '')}-{digits[16:]}-03"
    assert found_run.trace.parent_span_id == root.id.replace("-", "")[16:]


def test_a_page_of_large_failures_ends_early(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowspan_service.stores.run_reads.SPAN_BYTES", 5_000)
    runs = [a_run(trace=TraceContext("", exported_by_service=True)) for _ in range(10)]
    add_runs(store, runs)
    for run in runs:
        crash(store, run, cause=Cause.REPORTED, failure=b"x" * 3_000)
    seen: list[str] = []
    after, has_more = 0, True
    while has_more:
        items, after, has_more = store.runs.needing_spans(after=after, since_us=0, limit=9)
        assert len(items) <= 2
        seen += [run.id for run in items]
    assert seen == [run.id for run in runs]


def test_pages_of_such_runs_leave_none_out(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowspan_service.stores.run_reads.SCAN_LIMIT", 7)
    runs = [a_run(trace=TRACE) for _ in range(20)]
    add_runs(store, runs)
    for run in runs:
        crash(store, run)
    seen: list[str] = []
    after, has_more = 0, True
    while has_more:
        items, looked_at, has_more = store.runs.needing_spans(after=after, since_us=0, limit=3)
        assert looked_at > after
        after = looked_at
        seen += [run.id for run in items]
    assert seen == [run.id for run in runs]
    assert after == store.position()
