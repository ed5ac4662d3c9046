"""The loop that exports spans: at least once, by one process at a time, not in the writer's way."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.api.span_facts import MessageDecoder
from flowspan_service.domain.rules.transitions import ProposedTransition, enter
from flowspan_service.domain.runs import Run, RunKind, TraceContext
from flowspan_service.domain.sessions import OtlpTarget, Session, SessionStatus
from flowspan_service.domain.states import Cause, State, StateType
from flowspan_service.loops import span_doubts, span_lanes
from flowspan_service.loops import span_exporter as spans_module
from flowspan_service.loops.loop_claims import LEASE_S, HeldClaim, holder_name
from flowspan_service.loops.span_batches import SpanBatches
from flowspan_service.loops.span_exporter import SpanExporter
from flowspan_service.loops.span_receivers import Receiver, Receivers
from flowspan_service.loops.span_senders import SpanSender
from flowspan_service.loops.span_watermark import OldWatermark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

    from flowspan_service.app.ports import UnitOfWork

WAIT_S = 30
SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


class FakeSink:
    """Keeps the names of spans; fails as often as it is told."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.failures = 0
        self.gate = threading.Event()
        self.gate.set()
        self.tried = threading.Semaphore(0)
        self.arrived = threading.Condition()

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult:
        self.tried.release()
        self.gate.wait(WAIT_S)
        if self.failures:
            self.failures -= 1
            return FAILURE
        with self.arrived:
            self.names += [span.name for span in spans]
            self.arrived.notify_all()
        return SUCCESS

    def shutdown(self) -> None:
        self.gate.set()

    def wait_for(self, *names: str) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: set(names) <= set(self.names), WAIT_S), self.names


class Begin:
    """A run is created and runs."""

    weight = 2

    def __init__(self, name: str) -> None:
        self.run_ids = (name,)

    def __call__(self, uow: UnitOfWork) -> None:
        (name,) = self.run_ids
        number = abs(hash(name)) % (1 << 60) + 1
        run = Run(
            id=name,
            kind=RunKind.FLOW,
            function_name=name,
            run_name="",
            parent_run_id=None,
            root_run_id=name,
            flow_run_id=name,
            tags=(),
            parameters=None,
            trace=TraceContext(f"00-{number:032x}-{number:016x}-01"),
            version="",
            created_us=uow.now_us,
            state=State(StateType.PENDING, "Pending", "", uow.now_us),
        )
        uow.runs.add(run)
        enter(
            run,
            ProposedTransition(
                State(StateType.RUNNING, "Running", "", uow.now_us), 1, Cause.REPORTED
            ),
        )
        uow.runs.add_transition(run)


class End:
    """A run ends."""

    weight = 1

    def __init__(self, name: str, kind: StateType, cause: Cause) -> None:
        self.run_ids = (name,)
        self.kind, self.cause = kind, cause

    def __call__(self, uow: UnitOfWork) -> None:
        run = uow.runs.get(self.run_ids[0])
        assert run is not None
        state = State(self.kind, self.kind.name.capitalize(), "", uow.now_us)
        enter(run, ProposedTransition(state, run.attempt, self.cause))
        uow.runs.add_transition(run)


OWN = Receiver("grpc", "http://own:4317", is_own=True)


class Clock(ManualClock):
    """A wall clock that moves only when told to, and a real monotonic clock."""

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1000


def senders_to(store: MemoryStore, sink: FakeSink) -> Callable[[Receiver], SpanSender]:
    batches = SpanBatches(store, Resource({}), MessageDecoder())
    return lambda _: SpanSender(batches, sink)


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
    monkeypatch.setattr(span_lanes, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(spans_module, "RETRY_S", 0.001)
    monkeypatch.setattr(spans_module, "LOOK_INTERVAL_S", 0.001)
    started = []

    def build(*, is_shared: bool = False, sink: FakeSink = sink) -> SpanExporter:
        exporter = SpanExporter(
            store,
            store.clock,
            receivers=Receivers(OWN, allows_clients=False),
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


def position(store: MemoryStore) -> int | None:
    """The position up to which spans were exported, as it is stored."""
    claim = store.claims.get("spans")
    return None if claim is None else claim.position


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


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
        receivers=Receivers(OWN, allows_clients=False),
        senders=senders_to(store, sink),
        exists=lambda *_: None,
        holder=f"replica {number}",
        is_shared=True,
        old_watermark=OldWatermark(None),
        spawn=lambda work: work(),
    )
    assert exporter._begin().name == "DONE"
    return exporter


NAMED = OtlpTarget("grpc", "http://named:4317")
OTHER = OtlpTarget("http/protobuf", "http://other:4318/v1/traces")


class Rig:
    """An exporter with a sink for each receiver, and sessions that name them."""

    def __init__(self, store: MemoryStore, *, own: bool, allows_clients: bool = True) -> None:
        self.store = store
        self.sinks: dict[str, FakeSink] = {}
        self.alive: set[int] = set()
        self.exporter = SpanExporter(
            store,
            store.clock,
            receivers=Receivers(OWN if own else None, allows_clients=allows_clients),
            senders=self._sender,
            exists=lambda process_id, *_: process_id in self.alive,
            holder="only",
            is_shared=False,
            old_watermark=OldWatermark(None),
        )

    def sink(self, url: str) -> FakeSink:
        return self.sinks.setdefault(url, FakeSink())

    def _sender(self, receiver: Receiver) -> SpanSender:
        return senders_to(self.store, self.sink(receiver.url))(receiver)

    def session(
        self, target: OtlpTarget | None, *, is_over: bool = True, process_id: int = 0
    ) -> str:
        session_id = f"s{len(self.store.data.sessions)}"
        client = {"process_id": str(process_id), "process_mark": "m"} if process_id else {}
        status = SessionStatus.CLOSED if is_over else SessionStatus.LOST
        now_us = self.store.clock.now_us()
        self.store.data.sessions[session_id] = Session(
            session_id, status, 0, 1, now_us, now_us, client
        )
        self.store.data.targets[session_id] = target
        return session_id

    def crash(self, name: str, session_id: str) -> None:
        self.store.do(Begin(name))
        self.store.data.runs[name].session_id = session_id
        self.store.do(End(name, StateType.CRASHED, Cause.SESSION_LOST))


@pytest.fixture
def rig(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    monkeypatch.setattr(span_lanes, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(span_lanes, "MAX_PAUSE_S", 0.005)
    monkeypatch.setattr(span_doubts, "EXAMINE_US", 1_000)
    monkeypatch.setattr(span_doubts, "READ_US", 5_000)
    rigs: list[Rig] = []

    def build(*, own: bool = False, allows_clients: bool = True) -> Rig:
        rigs.append(Rig(store, own=own, allows_clients=allows_clients))
        rigs[-1].exporter.start()
        return rigs[-1]

    yield build
    for each in rigs:
        each.exporter.close()


def test_the_spans_go_where_their_client_exports(
    store: MemoryStore, rig: Callable[..., Rig]
) -> None:
    made = rig(own=True)
    for name, target in (("a", NAMED), ("b", OTHER), ("c", None), ("d", NAMED)):
        made.crash(name, made.session(target))
    made.sink(NAMED.traces_url).wait_for("a", "d")
    made.sink(OTHER.traces_url).wait_for("b")
    made.sink(OWN.url).wait_for("c")
    wait_until(lambda: position(store) == store.position())


def test_a_dead_receiver_holds_up_no_other_and_only_the_position(
    store: MemoryStore, rig: Callable[..., Rig]
) -> None:
    made = rig(own=True)
    dead = made.sink(NAMED.traces_url)
    dead.failures = 1_000_000_000
    to_dead, to_own = made.session(NAMED), made.session(None)
    made.crash("x", to_own)
    made.crash("waits", to_dead)
    lowest = store.data.runs["waits"].position
    for number in range(5):
        made.crash(f"fine-{number}", to_own)
        made.crash(f"waits-{number}", to_dead)
    made.sink(OWN.url).wait_for("x", *(f"fine-{number}" for number in range(5)))
    wait_until(lambda: position(store) == lowest - 1)
    dead.failures = 0
    dead.wait_for("waits", *(f"waits-{number}" for number in range(5)))
    wait_until(lambda: position(store) == store.position())
    assert len(dead.names) == len(set(dead.names)) == 6
    own = made.sink(OWN.url)
    assert len(own.names) == len(set(own.names)) == 6, "no span goes out twice meanwhile"


def test_a_slow_receiver_holds_up_no_other(store: MemoryStore, rig: Callable[..., Rig]) -> None:
    made = rig(own=True)
    slow = made.sink(NAMED.traces_url)
    slow.gate.clear()
    made.crash("slow", made.session(NAMED))
    assert slow.tried.acquire(timeout=WAIT_S)
    made.crash("fast", made.session(None))
    made.sink(OWN.url).wait_for("fast")
    assert position(store) < store.data.runs["slow"].position
    slow.gate.set()
    slow.wait_for("slow")


def test_a_named_receiver_is_given_up(
    store: MemoryStore,
    rig: Callable[..., Rig],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(span_lanes, "GIVE_UP_S", 0.2)
    monkeypatch.setattr(spans_module, "PAGE", 2)
    made = rig(own=False)
    dead = made.sink(NAMED.traces_url)
    dead.failures = 1_000_000_000
    session_id = made.session(NAMED)
    for number in range(5):
        made.crash(f"lost-{number}", session_id)
    wait_until(lambda: position(store) == store.position())
    output = capsys.readouterr().out
    assert output.count("spans_given_up") == 1
    assert "run_count=5" in output
    dead.failures = 0
    made.crash("later", session_id)
    dead.wait_for("later")
    assert dead.names == ["later"]


def test_without_any_receiver_nothing_is_stored_and_each_session_is_one_warning(
    store: MemoryStore, rig: Callable[..., Rig], capsys: pytest.CaptureFixture[str]
) -> None:
    made = rig(own=False)
    first, second = made.session(None), made.session(None)
    for name, session_id in (("a", first), ("b", first), ("c", second)):
        made.crash(name, session_id)
    wait_until(lambda: made.exporter._scanned == store.position())
    time.sleep(0.02)
    assert capsys.readouterr().out.count("spans_have_no_receiver") == 2
    assert position(store) is None, "the first service with a receiver looks back"
    assert made.sinks == {}
    made.crash("d", made.session(NAMED))
    made.sink(NAMED.traces_url).wait_for("d")
    wait_until(lambda: position(store) == store.position())


def test_a_client_that_asks_for_spans_without_a_receiver_costs_no_search(
    store: MemoryStore, rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[int] = []
    needing_spans = store.runs.needing_spans

    def search(**options: Any) -> Any:
        searches.append(options["after"])
        return needing_spans(**options)

    monkeypatch.setattr(store.runs, "needing_spans", search)
    made = rig(own=False)
    session_id = made.session(None)

    def complete(name: str) -> None:
        store.do(Begin(name))
        run = store.data.runs[name]
        run.session_id = session_id
        assert run.trace is not None
        run.trace.exported_by_service = True
        store.do(End(name, StateType.COMPLETED, Cause.REPORTED))

    complete("first")
    wait_until(lambda: made.exporter._scanned == store.position())
    time.sleep(0.02)
    before = len(searches)
    for number in range(10):
        complete(f"run-{number}")
    time.sleep(0.02)
    assert len(searches) == before


def test_a_process_that_may_come_back_is_waited_for(
    store: MemoryStore, rig: Callable[..., Rig]
) -> None:
    made = rig(own=True)
    made.alive.add(7)
    silent = made.session(None, is_over=False, process_id=7)
    made.crash("silent", silent)
    made.crash("back", silent)
    lowest = store.data.runs["silent"].position
    made.crash("gone", made.session(None))
    sink = made.sink(OWN.url)
    sink.wait_for("gone")
    wait_until(lambda: position(store) == lowest - 1)
    store.do(End("back", StateType.COMPLETED, Cause.REPORTED))
    time.sleep(0.05)
    assert sink.names == ["gone"]
    made.alive.clear()
    sink.wait_for("silent")
    wait_until(lambda: position(store) == store.position())
    assert sink.names == ["gone", "silent"]


def test_a_session_that_came_back_releases_the_runs_that_it_reported(
    store: MemoryStore, rig: Callable[..., Rig]
) -> None:
    made = rig(own=True)
    session_id = made.session(None, is_over=False)
    made.crash("back", session_id)
    lowest = store.data.runs["back"].position
    wait_until(lambda: position(store) == lowest - 1)
    store.data.sessions[session_id].renew(store.clock.now_us())
    store.do(End("back", StateType.COMPLETED, Cause.REPORTED))
    wait_until(lambda: position(store) == store.position())
    assert made.sink(OWN.url).names == []


def test_many_receivers_at_a_time(
    store: MemoryStore, rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans_module, "MAX_LANES", 3)
    made = rig(own=False)
    targets = [OtlpTarget("grpc", f"http://c{number}:4317") for number in range(10)]
    for number, target in enumerate(targets):
        made.crash(f"run-{number}", made.session(target))
    for number, target in enumerate(targets):
        made.sink(target.traces_url).wait_for(f"run-{number}")
    wait_until(lambda: position(store) == store.position())
