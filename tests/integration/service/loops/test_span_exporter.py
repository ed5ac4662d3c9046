"""The loop that exports spans: at least once, by one process at a time, not in the writer's way."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.memory_store import ManualClock, MemoryStore
from tests.support.span_exports import (
    OWN,
    SUCCESS,
    WAIT_S,
    Begin,
    Clock,
    End,
    FakeSink,
    position,
    senders_to,
    wait_until,
)

from flowspan_service.domain.otlp_receivers import Receivers, Signal
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.loops import receiver_failures
from flowspan_service.loops import span_exporter as spans_module
from flowspan_service.loops.loop_claims import LEASE_S, HeldClaim, holder_name
from flowspan_service.loops.span_exporter import SpanExporter
from flowspan_service.loops.span_watermark import OldWatermark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExportResult


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(Clock())


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


@pytest.fixture
def start(
    store: MemoryStore, sink: FakeSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., SpanExporter]]:
    monkeypatch.setattr(spans_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(receiver_failures, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(spans_module, "RETRY_S", 0.001)
    monkeypatch.setattr(spans_module, "LOOK_INTERVAL_S", 0.001)
    started = []

    def build(*, is_shared: bool = False, sink: FakeSink = sink) -> SpanExporter:
        exporter = SpanExporter(
            store,
            store.clock,
            receivers=Receivers(Signal.TRACES, OWN),
            senders=senders_to(store, sink),
            exists=lambda *_: None,
            holder=holder_name(process_id=1, is_shared=is_shared),
            is_shared=is_shared,
            old_watermark=OldWatermark(tmp_path / "spans-exported"),
        )
        exporter.start()
        started.append(exporter)
        return exporter

    yield build
    for exporter in started:
        exporter.close()


def crash(store: MemoryStore, *names: str) -> None:
    for name in names:
        store.do(Begin(name))
        store.do(End(name, StateType.CRASHED, Cause.SESSION_LOST))


def test_a_run_that_crashes_is_exported(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter]
) -> None:
    start()
    store.do(Begin("fine"))
    store.do(End("fine", StateType.COMPLETED, Cause.REPORTED))
    crash(store, "crashed")
    sink.wait_for("crashed")
    assert sink.names == ["crashed"]


def test_the_writer_does_not_wait(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter]
) -> None:
    sink.gate.clear()
    start()
    crash(store, "a")
    assert sink.tried.acquire(timeout=WAIT_S), "the sink hangs"
    crash(store, "b", "c")  # returns all the same
    sink.gate.set()
    sink.wait_for("a", "b", "c")


def test_what_fails_is_tried_again(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter]
) -> None:
    sink.failures = 3
    start()
    crash(store, "a")
    sink.wait_for("a")
    assert sink.failures == 0
    assert sink.names == ["a"]


def test_what_was_committed_and_not_exported_is_exported_at_the_next_start(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter]
) -> None:
    first = start()
    crash(store, "a")
    sink.wait_for("a")
    first.close()
    store.listeners.clear()
    crash(store, "b")  # the exporter is dead, the commit was done
    start()
    sink.wait_for("b")
    assert sink.names[-1] == "b"
    assert set(sink.names) == {"a", "b"}


def test_a_service_killed_while_the_receiver_was_away_forgets_nothing(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter]
) -> None:
    first = start()
    crash(store, "a")
    sink.wait_for("a")
    sink.failures = 1_000_000_000
    crash(store, "b")
    first.close()
    store.listeners.clear()
    assert sink.names == ["a"]
    sink.failures = 0
    start()
    sink.wait_for("b")


def test_without_a_watermark_the_recent_ones_are_exported(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter]
) -> None:
    crash(store, "old")
    store.clock.advance(3600)
    crash(store, "recent")
    start()
    sink.wait_for("recent")
    assert sink.names == ["recent"]


def test_a_watermark_of_another_database_is_not_believed(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter], tmp_path: Path
) -> None:
    (tmp_path / "spans-exported").write_text("1000000\n")
    crash(store, "recent")
    start()
    sink.wait_for("recent")


def test_the_watermark_of_an_earlier_version_is_taken_over(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter], tmp_path: Path
) -> None:
    crash(store, "exported")
    (tmp_path / "spans-exported").write_text(f"{store.position()}\n")
    crash(store, "missing")
    store.clock.advance(3600)  # no matter how long ago
    start()
    sink.wait_for("missing")
    assert sink.names == ["missing"]
    wait_until(lambda: position(store) == store.position())
    assert not (tmp_path / "spans-exported").exists()


def test_the_watermark_of_a_second_replica_sets_the_position_back(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter], tmp_path: Path
) -> None:
    """It is not known what that replica did not export."""
    start()
    crash(store, "theirs")
    sink.wait_for("theirs")
    (tmp_path / "spans-exported").write_text("1\n")
    start(is_shared=True)
    wait_until(lambda: sink.names == ["theirs", "theirs"])
    wait_until(lambda: position(store) == store.position())
    assert not (tmp_path / "spans-exported").exists()


def test_a_run_that_came_back_meanwhile_is_left_to_its_client(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter]
) -> None:
    crash(store, "back")
    store.do(End("back", StateType.COMPLETED, Cause.REPORTED))
    crash(store, "gone")
    start()
    sink.wait_for("gone")
    assert sink.names == ["gone"]


def test_what_does_not_fit_into_a_page_follows(
    store: MemoryStore,
    sink: FakeSink,
    start: Callable[..., SpanExporter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spans_module, "PAGE", 3)
    sink.gate.clear()
    start()
    crash(store, "first")
    assert sink.tried.acquire(timeout=WAIT_S)
    names = [f"run-{number}" for number in range(20)]
    crash(store, *names)
    sink.gate.set()
    sink.wait_for("first", *names)


def test_a_store_that_cannot_be_read_is_read_later(
    store: MemoryStore,
    sink: FakeSink,
    start: Callable[..., SpanExporter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crash(store, "a")
    position, failures = store.position, [OSError("disk"), OSError("disk")]

    def unreliable() -> int:
        if failures:
            raise failures.pop()
        return position()

    monkeypatch.setattr(store, "position", unreliable)
    start()
    sink.wait_for("a")


def test_an_old_watermark_that_cannot_be_removed_stops_nothing(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter], tmp_path: Path
) -> None:
    (tmp_path / "spans-exported").mkdir()
    start()
    crash(store, "a")
    sink.wait_for("a")
    crash(store, "b")
    sink.wait_for("b")


def test_the_position_moves_after_the_export(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter]
) -> None:
    start()
    wait_until(lambda: position(store) == 0)
    sink.gate.clear()
    crash(store, "a")
    assert sink.tried.acquire(timeout=WAIT_S)
    assert position(store) < store.position()
    assert store.claims.get("spans").holder
    sink.gate.set()
    wait_until(lambda: position(store) == store.position())
    assert not store.claims.get("spans").holder


def test_positions_that_need_no_span_are_passed_without_a_look(
    store: MemoryStore,
    sink: FakeSink,
    start: Callable[..., SpanExporter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spans_module, "MOVE_AFTER", 10)
    looked_after: list[int] = []
    needing_spans = store.runs.needing_spans

    def looking(*, after: int, **options: Any) -> Any:
        looked_after.append(after)
        return needing_spans(after=after, **options)

    monkeypatch.setattr(store.runs, "needing_spans", looking)
    start()
    wait_until(lambda: bool(looked_after))
    for number in range(3):
        store.do(Begin(f"run-{number}"))
        store.do(End(f"run-{number}", StateType.COMPLETED, Cause.REPORTED))
    assert position(store) == 0
    crash(store, "crashed")
    sink.wait_for("crashed")
    wait_until(lambda: position(store) == store.position())
    assert min(looked_after[1:]) > 0
    for number in range(10, 14):
        store.do(Begin(f"run-{number}"))
    wait_until(lambda: position(store) >= store.position() - 10)
    assert sink.names == ["crashed"]


def test_an_exporter_that_is_alone_does_nothing_when_idle(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter]
) -> None:
    exporter = start()
    crash(store, "a")
    sink.wait_for("a")
    wait_until(lambda: position(store) == store.position())
    calls: list[str] = []
    time.sleep(0.05)
    store.claims.get = calls.append  # type: ignore[method-assign, assignment] # a spy
    assert not exporter._wake.wait(0.1)  # a hundred times LOOK_INTERVAL_S
    assert calls == []


def test_what_another_replica_left_is_exported_after_its_lease(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter]
) -> None:
    dead = HeldClaim(store, "spans", holder="dead", lease_s=10)
    assert dead.take(begin_at=0) is not None
    crash(store, "theirs")  # and dies, before it exports
    start(is_shared=True)
    crash(store, "ours")
    store.clock.advance(9)
    assert not sink.tried.acquire(timeout=0.1), "it may be at it"
    store.clock.advance(1)
    sink.wait_for("theirs", "ours")
    wait_until(lambda: position(store) == store.position())
    assert not dead.move(2, keep=False), "it has lost the claim"
    assert position(store) == store.position()


def test_commits_of_a_replica_without_an_exporter_are_noticed(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter]
) -> None:
    start(is_shared=True)
    wait_until(lambda: position(store) == 0)
    listeners, store.listeners = store.listeners, []
    crash(store, "theirs")
    store.listeners = listeners
    sink.wait_for("theirs")


def test_a_replica_that_cannot_reach_the_receiver_lets_another_export(
    store: MemoryStore, sink: FakeSink, start: Callable[..., SpanExporter]
) -> None:
    cut_off = FakeSink()
    cut_off.failures = 1_000_000_000
    start(is_shared=True, sink=cut_off)
    crash(store, "a")
    assert cut_off.tried.acquire(timeout=WAIT_S)
    start(is_shared=True)
    sink.wait_for("a")


class DyingSink(FakeSink):
    """Ends its exporter in the middle of an export, before or after the spans arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.dies: str | None = None

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult:
        if self.dies != "before":
            super().export(spans)
        if self.dies is not None:
            raise SystemExit
        return SUCCESS


REPLICAS = 3
LIVES = st.lists(
    st.one_of(
        st.tuples(st.just("crash"), st.integers(0, REPLICAS - 1)),
        st.tuples(st.just("complete"), st.integers(0, REPLICAS - 1)),
        st.tuples(st.just("look"), st.integers(0, REPLICAS - 1)),
        st.tuples(st.just("before"), st.integers(1, REPLICAS - 1)),
        st.tuples(st.just("after"), st.integers(1, REPLICAS - 1)),
        st.tuples(st.just("wait"), st.integers(1, 11)),
    ),
    max_size=25,
)


@settings(max_examples=200, deadline=None)
@given(life=LIVES)
def test_no_span_is_lost_whichever_replica_dies(life: list[tuple[str, int]]) -> None:
    """Steps of three replicas in any order; all but the first may die in an export."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans_module, "PAGE", 2)
        patch.setattr(spans_module, "MOVE_AFTER", 5)
        store = MemoryStore(ManualClock())
        sink = DyingSink()
        exporters = {number: replica(store, sink, number) for number in range(REPLICAS)}
        crashed: list[str] = []
        for number, (step, argument) in enumerate(life):
            if step == "wait":
                store.clock.advance(argument)
                continue
            exporter = exporters.get(argument)
            if exporter is None:
                continue
            store.listeners = [exporter]  # a process is notified of its own commits alone
            if step == "crash":
                crashed.append(f"run-{number}")
                crash(store, crashed[-1])
            elif step == "complete":
                store.do(Begin(f"run-{number}"))
                store.do(End(f"run-{number}", StateType.COMPLETED, Cause.REPORTED))
            else:
                sink.dies = None if step == "look" else step
                with contextlib.suppress(SystemExit):
                    exporter._look()
                    continue
                del exporters[argument]
        sink.dies = None
        store.clock.advance(LEASE_S)
        store.listeners = [exporters[0]]
        assert exporters[0]._look().name == "DONE"
        assert sorted(set(sink.names)) == sorted(crashed)


def replica(store: MemoryStore, sink: FakeSink, number: int) -> SpanExporter:
    exporter = SpanExporter(
        store,
        store.clock,
        receivers=Receivers(Signal.TRACES, OWN),
        senders=senders_to(store, sink),
        exists=lambda *_: None,
        holder=f"replica {number}",
        is_shared=True,
        old_watermark=OldWatermark(None),
        spawn=lambda work: work(),
    )
    assert exporter._begin().name == "DONE"
    return exporter
