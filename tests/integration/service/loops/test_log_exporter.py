"""The loop that exports logs: at least once, by one process at a time, each receiver on its own."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.context import get_value
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.domain.logs import LogEntry
from flowspan_service.domain.otlp_receivers import Receiver, Receivers, Signal
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.sessions import OTLP_GRPC, OtlpTarget, Session, SessionStatus
from flowspan_service.domain.states import State, StateType
from flowspan_service.loops import log_exporter as exporter_module
from flowspan_service.loops import receiver_failures
from flowspan_service.loops.log_exporter import LogExporter
from flowspan_service.loops.log_exporter_lifecycle import exporting_logs
from flowspan_service.loops.loop_claims import HeldClaim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowspan_service.app.ports import UnitOfWork

WAIT_S = 30.0
OWN = Receiver(OTLP_GRPC, "http://own:4317", is_own=True)
RUN = "0199c0de-0000-7000-8000-000000000001"


class Sink:
    """Keeps the texts; fails as long as it is told."""

    def __init__(self, receiver: Receiver, arrived: threading.Condition) -> None:
        self.receiver = receiver
        self.arrived = arrived
        self.texts: list[str] = []
        self.requests = 0
        self.fails = False
        self.tries = 0
        self.refused = 0
        self.gate = threading.Event()
        self.gate.set()
        self.is_closed = self.is_suppressed = False

    def send(self, request: bytes) -> bytes:
        self.gate.wait(WAIT_S)
        with self.arrived:
            self.tries += 1
            self.is_suppressed = get_value("suppress_instrumentation") is True
            self.arrived.notify_all()
            if self.fails:
                raise OSError("away")
            message = ExportLogsServiceRequest.FromString(request)
            [group] = message.resource_logs
            self.texts += [
                record.body.string_value
                for scope in group.scope_logs
                for record in scope.log_records
            ]
            self.requests += 1
        response = ExportLogsServiceResponse()
        response.partial_success.rejected_log_records = self.refused
        return response.SerializeToString()

    def close(self) -> None:
        self.is_closed = True
        self.gate.set()


class World:
    """A store with a run, exporters over it, and their sinks."""

    def __init__(self) -> None:
        self.store = MemoryStore(ManualClock())
        self.arrived = threading.Condition()
        self.sinks: dict[str, Sink] = {}
        self.exporters: list[LogExporter] = []
        self.store.do(self._add_run)

    def _add_run(self, uow: UnitOfWork) -> None:
        state = State(StateType.PENDING, "Pending", "", 0)
        uow.runs.add(
            Run(RUN, RunKind.FLOW, "etl", "", None, RUN, RUN, (), None, None, "", 0, state)
        )

    def connect(self, receiver: Receiver) -> Sink:
        sink = self.sinks.get(receiver.url)
        if sink is None:
            sink = self.sinks[receiver.url] = Sink(receiver, self.arrived)
        return sink

    def sink(self, url: str = OWN.url) -> Sink:
        return self.connect(OWN if url == OWN.url else Receiver(OTLP_GRPC, url))

    def log(self, session_id: str, *texts: str, target: str = "") -> None:
        """Store records of a session that wait; its client names a receiver."""

        def add(uow: UnitOfWork) -> None:
            if uow.sessions.get(session_id) is None:
                uow.sessions.save(Session(session_id, SessionStatus.OPEN, 0, 1, 1, 0))
                if target:
                    uow.sessions.save_target(session_id, OtlpTarget(OTLP_GRPC, "", target))
            entries = [LogEntry(RUN, 1, 20, 0, "l", text) for text in texts]
            uow.logs.add(entries)
            uow.log_exports.add(session_id, entries)

        self.store.do(add)

    def start(self, own: Receiver | None = OWN) -> LogExporter:
        exporter = LogExporter(
            self.store,
            self.store.clock,
            receivers=Receivers(Signal.LOGS, own, allows_clients=True),
            connect=self.connect,
            gather_s=0.0,
        )
        exporter.start()
        self.exporters.append(exporter)
        return exporter

    def wait(self, condition: Callable[[], Any]) -> None:
        with self.arrived:
            assert self.arrived.wait_for(condition, WAIT_S)

    def wait_until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def nothing_waits(self) -> bool:
        return not self.store.log_exports.sessions(limit=1)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(receiver_failures, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(receiver_failures, "MAX_PAUSE_S", 0.02)
    monkeypatch.setattr(exporter_module, "LOOK_INTERVAL_S", 0.02)
    world = World()
    yield world
    for exporter in world.exporters:
        exporter.close()


def test_records_are_exported_in_order_and_forgotten(world: World) -> None:
    world.log("s1", "before the start")
    world.start()
    world.wait(lambda: world.sink().texts == ["before the start"])
    assert world.sink().is_suppressed, "an instrumented gRPC or HTTP library would trace it"
    world.log("s1", "a", "b")
    world.log("s1", "c")
    world.wait(lambda: world.sink().texts[1:] == ["a", "b", "c"])
    world.wait_until(world.nothing_waits)


def test_requests_have_one_session_and_a_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter_module, "PAGE", 2)
    world.log("s1", *"abcde")
    world.log("s2", "f")
    world.start()
    world.wait(lambda: len(world.sink().texts) == 6)
    assert world.sink().texts == list("abcdef")
    assert world.sink().requests == 4


def test_a_receiver_that_is_away_holds_up_no_other(world: World) -> None:
    dead, alive = world.sink("http://dead:1"), world.sink("http://alive:1")
    dead.fails = True
    world.log("s1", "for the dead", target="http://dead:1")
    world.log("s2", "for the living", target="http://alive:1")
    world.start()
    world.wait(lambda: alive.texts == ["for the living"] and dead.tries > 2)
    dead.fails = False
    world.wait(lambda: dead.texts == ["for the dead"])
    world.wait_until(world.nothing_waits)


def test_a_receiver_that_hangs_holds_up_no_other(world: World) -> None:
    slow, alive = world.sink("http://slow:1"), world.sink("http://alive:1")
    slow.gate.clear()
    world.log("s1", "slow", target="http://slow:1")
    world.start()
    for number in range(5):
        world.log("s2", str(number), target="http://alive:1")
    world.wait(lambda: len(alive.texts) == 5)
    assert slow.texts == []


def test_many_sessions_of_a_dead_receiver_hold_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter_module, "MAX_SESSIONS", 3)
    world.sink("http://dead:1").fails = True
    for number in range(10):
        world.log(f"a{number}", "x", target="http://dead:1")
    world.log("z", "for the living")
    world.start()
    world.wait(lambda: world.sink().texts == ["for the living"])


def test_a_receiver_that_a_client_named_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_failures, "GIVE_UP_S", 0.05)
    world.sink("http://dead:1").fails = world.sink().fails = True
    world.log("s1", "lost", target="http://dead:1")
    world.log("s2", "kept")
    world.start()
    world.wait_until(lambda: world.store.log_exports.sessions(limit=9) == ["s2"])
    world.sink().fails = False
    world.wait(lambda: world.sink().texts == ["kept"])


def test_what_was_sent_but_not_noted_is_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget, failures = LogExporter.forget, [OSError("the database is away")]

    def fail_once(self: LogExporter, session_id: str, upto: int) -> None:
        if failures:
            raise failures.pop()
        forget(self, session_id, upto)

    monkeypatch.setattr(LogExporter, "forget", fail_once)
    world.log("s1", "twice")
    world.start()
    world.wait(lambda: world.sink().texts == ["twice", "twice"])
    world.wait_until(world.nothing_waits)


def test_refused_records_are_not_sent_again(world: World) -> None:
    world.sink().refused = 1
    world.log("s1", "refused")
    world.start()
    world.wait_until(world.nothing_waits)
    assert world.sink().texts == ["refused"]


def test_without_a_receiver_records_are_dropped(world: World) -> None:
    world.log("s1", "nowhere")
    world.start(own=None)
    world.wait_until(world.nothing_waits)
    assert world.sinks == {}


def test_only_the_holder_of_the_claim_exports(world: World) -> None:
    world.store.is_shared = True
    other = HeldClaim(world.store, exporter_module.LOOP, holder="another process")
    assert other.take(begin_at=0) is not None
    world.log("s1", "a")
    world.start()
    time.sleep(0.2)
    assert world.sink().texts == []
    assert other.move(None, keep=False)
    world.wait(lambda: world.sink().texts == ["a"])
    world.wait_until(lambda: other.take(begin_at=0) is not None)


def test_an_exporter_that_lost_its_claim_stops(world: World) -> None:
    world.store.is_shared = True
    world.sink().fails = True
    world.log("s1", "a")
    exporter = world.start()
    world.wait(lambda: world.sink().tries > 0)
    claim = world.store.claims.get(exporter_module.LOOP)
    assert claim is not None

    def take(uow: UnitOfWork) -> None:
        claim.holder, claim.left_us = "another process", 60_000_000
        uow.claims.save(claim)

    world.store.do(take)
    world.wait_until(lambda: not exporter.may_send)
    tries = world.sink().tries
    time.sleep(0.1)
    assert world.sink().tries <= tries + 1


def test_a_service_that_exports_none_forgets_what_waits(world: World) -> None:
    world.log("s1", "a")
    world.log("s2", "b")
    none = Receivers(Signal.LOGS)
    with exporting_logs(world.store, world.store.clock, none, lambda _, at: world.connect(at)):
        world.wait_until(world.nothing_waits)
    assert world.sinks == {}


def test_closing_ends_a_request_in_flight(world: World) -> None:
    world.sink().gate.clear()
    world.log("s1", "a")
    exporter = world.start()
    world.wait_until(lambda: exporter.may_send)
    began_s = time.monotonic()
    exporter.close()
    assert time.monotonic() - began_s < exporter_module.CLOSE_TIMEOUT_S + 1
    assert world.sink().is_closed
