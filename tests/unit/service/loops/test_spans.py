"""The loop that exports spans: at least once, in bounded memory, without blocking the writer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.domain.rules.transitions import ProposedTransition, enter
from flowspan_service.domain.runs import Run, RunKind, TraceContext
from flowspan_service.domain.states import Cause, State, StateType
from flowspan_service.loops import spans as spans_module
from flowspan_service.loops.span_watermark import Watermark
from flowspan_service.loops.spans import SpanExporter, span_exporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

    from flowspan_service.app.ports import UnitOfWork

WAIT_S = 30
SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


class FakeSink:
    """Records the names of spans; fails the requested number of times."""

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
    """Create a run and start it."""

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
    """End a run."""

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


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


@pytest.fixture
def start(
    store: MemoryStore, sink: FakeSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], SpanExporter]]:
    monkeypatch.setattr(spans_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(spans_module, "SAVE_INTERVAL_S", 0.001)
    started = []

    def build() -> SpanExporter:
        exporter = SpanExporter(
            store,
            store.clock,
            sink=sink,
            resource=Resource({}),
            watermark=Watermark(tmp_path / "spans-exported"),
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
    store: MemoryStore, sink: FakeSink, start: Callable[[], SpanExporter]
) -> None:
    start()
    store.do(Begin("fine"))
    store.do(End("fine", StateType.COMPLETED, Cause.REPORTED))
    crash(store, "crashed")
    sink.wait_for("crashed")
    assert sink.names == ["crashed"]


def test_the_writer_does_not_wait(
    store: MemoryStore, sink: FakeSink, start: Callable[[], SpanExporter]
) -> None:
    sink.gate.clear()
    start()
    crash(store, "a")
    assert sink.tried.acquire(timeout=WAIT_S), "the sink must have been called"
    crash(store, "b", "c")  # This returns although the sink hangs.
    sink.gate.set()
    sink.wait_for("a", "b", "c")


def test_what_fails_is_tried_again(
    store: MemoryStore, sink: FakeSink, start: Callable[[], SpanExporter]
) -> None:
    sink.failures = 3
    start()
    crash(store, "a")
    sink.wait_for("a")
    assert sink.failures == 0
    assert sink.names == ["a"]


def test_what_was_committed_and_not_exported_is_exported_at_the_next_start(
    store: MemoryStore, sink: FakeSink, start: Callable[[], SpanExporter]
) -> None:
    first = start()
    crash(store, "a")
    sink.wait_for("a")
    first.close()
    store.listeners.clear()
    crash(store, "b")  # The exporter is gone, but the commit succeeds.
    start()
    sink.wait_for("b")
    assert sink.names[-1] == "b"
    assert set(sink.names) == {"a", "b"}


def test_a_service_killed_while_the_receiver_was_away_forgets_nothing(
    store: MemoryStore, sink: FakeSink, start: Callable[[], SpanExporter]
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
    store: MemoryStore, sink: FakeSink, start: Callable[[], SpanExporter]
) -> None:
    crash(store, "old")
    store.clock.advance(3600)
    crash(store, "recent")
    start()
    sink.wait_for("recent")
    assert sink.names == ["recent"]


def test_a_watermark_of_another_database_is_not_believed(
    store: MemoryStore, sink: FakeSink, start: Callable[[], SpanExporter], tmp_path: Path
) -> None:
    (tmp_path / "spans-exported").write_text("1000000\n")
    crash(store, "recent")
    start()
    sink.wait_for("recent")


def test_a_run_that_came_back_meanwhile_is_left_to_its_client(
    store: MemoryStore, sink: FakeSink, start: Callable[[], SpanExporter]
) -> None:
    crash(store, "back")
    store.do(End("back", StateType.COMPLETED, Cause.REPORTED))
    crash(store, "gone")
    start()
    sink.wait_for("gone")
    assert sink.names == ["gone"]


def test_what_does_not_fit_into_memory_is_read_from_the_store(
    store: MemoryStore,
    sink: FakeSink,
    start: Callable[[], SpanExporter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spans_module, "MAX_WAITING", 2)
    monkeypatch.setattr(spans_module, "PAGE", 3)
    monkeypatch.setattr(spans_module, "BATCH", 2)
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
    start: Callable[[], SpanExporter],
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


def test_a_watermark_that_cannot_be_written_stops_nothing(
    store: MemoryStore, sink: FakeSink, start: Callable[[], SpanExporter], tmp_path: Path
) -> None:
    (tmp_path / "spans-exported.new").mkdir()
    start()
    crash(store, "a")
    sink.wait_for("a")
    crash(store, "b")
    sink.wait_for("b")


def test_whether_there_is_anything_to_do(store: MemoryStore, tmp_path: Path) -> None:
    def made(endpoint: str | None, **environ: str) -> bool:
        exporter = span_exporter(
            store, store.clock, endpoint=endpoint, home=tmp_path, environ=environ
        )
        if exporter is not None:
            exporter.close()
        return exporter is not None

    assert not made(None)
    assert not made("", OTEL_EXPORTER_OTLP_ENDPOINT=" ")
    assert made("127.0.0.1:4317")
    assert made(None, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317")
    assert made(None, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://127.0.0.1:4317")
    assert not made("127.0.0.1:4317", OTEL_SDK_DISABLED="true")
