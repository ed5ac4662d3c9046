"""An exporter of spans in tests: its receivers, its clock, and runs that end."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from opentelemetry.context import get_value
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult
from tests.support.memory_store import ManualClock

from flowspan_service.api.span_facts import MessageDecoder
from flowspan_service.domain.otlp_receivers import Receiver
from flowspan_service.domain.rules.transitions import ProposedTransition, enter
from flowspan_service.domain.runs import Run, RunKind, TraceContext
from flowspan_service.domain.states import Cause, State, StateType
from flowspan_service.loops.span_batches import SpanBatches
from flowspan_service.loops.span_exporter import LOOP
from flowspan_service.loops.span_senders import SpanSender

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from tests.support.memory_store import MemoryStore

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
        self.is_suppressed = False
        """True if no instrumentation would trace the last export."""

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult:
        self.tried.release()
        self.is_suppressed = get_value("suppress_instrumentation") is True
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


def position(store: MemoryStore, loop: str = LOOP) -> int | None:
    """Return the position up to which spans were exported, as it is stored."""
    claim = store.claims.get(loop)
    return None if claim is None else claim.position


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
