"""The exporter of spans with several receivers, and with processes that may come back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import LogCapture
from tests.support.memory_store import MemoryStore
from tests.support.span_exports import (
    OWN,
    WAIT_S,
    Begin,
    Clock,
    End,
    FakeSink,
    position,
    senders_to,
    wait_until,
)

from flowspan_service.domain.otlp_receivers import Receiver, Receivers, Signal
from flowspan_service.domain.sessions import OtlpTarget, Session, SessionStatus
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.loops import receiver_failures, span_doubts, span_lanes, unreceived_spans
from flowspan_service.loops import span_exporter as spans_module
from flowspan_service.loops.span_exporter import CLIENTS_LOOP, SpanExporter
from flowspan_service.loops.span_watermark import OldWatermark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowspan_service.loops.span_senders import SpanSender


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(Clock())


NAMED = OtlpTarget("grpc", "http://named:4317")
OTHER = OtlpTarget("http/protobuf", "http://other:4318/v1/traces")


class Rig:
    """An exporter with a sink for each receiver, and sessions that name them."""

    def __init__(
        self,
        store: MemoryStore,
        *,
        own: bool,
        allows_clients: bool = True,
        holder: str = "only",
        is_shared: bool = False,
    ) -> None:
        self.store = store
        self.sinks: dict[str, FakeSink] = {}
        self.alive: set[int] = set()
        self.exporter = SpanExporter(
            store,
            store.clock,
            receivers=Receivers(Signal.TRACES, OWN if own else None, allows_clients=allows_clients),
            senders=self._sender,
            exists=lambda process_id, *_: process_id in self.alive,
            holder=holder,
            is_shared=is_shared,
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
    monkeypatch.setattr(receiver_failures, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(receiver_failures, "MAX_PAUSE_S", 0.005)
    monkeypatch.setattr(span_doubts, "EXAMINE_US", 1_000)
    monkeypatch.setattr(span_doubts, "READ_US", 5_000)
    rigs: list[Rig] = []

    def build(*, own: bool = False, **options: Any) -> Rig:
        rigs.append(Rig(store, own=own, **options))
        rigs[-1].exporter.start()
        return rigs[-1]

    yield build
    for each in rigs:
        each.exporter.close()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    """Return the log; not by capture_logs(): other tests may have configured a level."""
    lines = LogCapture()
    logger = structlog.wrap_logger(None, processors=[lines], wrapper_class=structlog.BoundLogger)
    for module in (span_lanes, spans_module, unreceived_spans):
        monkeypatch.setattr(module, "log", logger)
    return lines


def test_the_spans_go_where_their_client_exports(
    store: MemoryStore, rig: Callable[..., Rig]
) -> None:
    made = rig(own=True)
    for name, target in (("a", NAMED), ("b", OTHER), ("c", None), ("d", NAMED)):
        made.crash(name, made.session(target))
    made.sink(NAMED.traces_url).wait_for("a", "d")
    made.sink(OTHER.traces_url).wait_for("b")
    made.sink(OWN.url).wait_for("c")
    assert made.sink(OWN.url).is_suppressed
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
    lines: LogCapture,
) -> None:
    monkeypatch.setattr(receiver_failures, "GIVE_UP_S", 0.2)
    monkeypatch.setattr(spans_module, "PAGE", 2)
    made = rig(own=False)
    dead = made.sink(NAMED.traces_url)
    dead.failures = 1_000_000_000
    session_id = made.session(NAMED)
    for number in range(5):
        made.crash(f"lost-{number}", session_id)
    wait_until(lambda: position(store, CLIENTS_LOOP) == store.position())
    (line,) = [entry for entry in lines.entries if entry["event"] == "spans_given_up"]
    assert (line["receiver"], line["run_count"]) == (NAMED.traces_url, 5)
    dead.failures = 0
    made.crash("later", session_id)
    dead.wait_for("later")
    assert dead.names == ["later"]


def test_without_any_receiver_nothing_is_stored_and_each_session_is_one_warning(
    store: MemoryStore, rig: Callable[..., Rig], lines: LogCapture
) -> None:
    made = rig(own=False)
    first, second = made.session(None), made.session(None)
    for name, session_id in (("a", first), ("b", first), ("c", second)):
        made.crash(name, session_id)
    wait_until(lambda: made.exporter._scanned == store.position())
    time.sleep(0.02)
    warned = [
        entry["session_id"] for entry in lines.entries if entry["event"] == "spans_have_no_receiver"
    ]
    assert warned == [first, second]
    assert position(store, CLIENTS_LOOP) is None, "the first service with a receiver looks back"
    assert made.sinks == {}
    made.crash("d", made.session(NAMED))
    made.sink(NAMED.traces_url).wait_for("d")
    wait_until(lambda: position(store, CLIENTS_LOOP) == store.position())


def test_a_service_that_gets_a_receiver_later_exports_what_others_passed(
    store: MemoryStore, rig: Callable[..., Rig]
) -> None:
    without = rig(own=False)
    without.crash("named", without.session(NAMED))
    without.sink(NAMED.traces_url).wait_for("named")
    without.crash("unnamed", without.session(None))
    wait_until(lambda: without.exporter._scanned == store.position())
    without.exporter.close()
    store.listeners.clear()
    rig(own=True).sink(OWN.url).wait_for("unnamed")


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


def test_a_replica_that_waits_for_a_process_keeps_the_claim_and_serves_the_others(
    store: MemoryStore, rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans_module, "SHARED_DOUBT_S", 0.001)
    monkeypatch.setattr(spans_module, "RETRY_S", 0.001)
    waiting = rig(own=True, holder="waiting", is_shared=True)
    waiting.alive.add(7)
    waiting.crash("silent", waiting.session(None, is_over=False, process_id=7))
    lowest = store.data.runs["silent"].position
    wait_until(lambda: position(store) == lowest - 1)
    listeners, store.listeners = store.listeners, []
    other = rig(own=True, holder="other", is_shared=True)
    other.alive = waiting.alive
    other.crash("gone", other.session(None))
    waiting.sink(OWN.url).wait_for("gone")
    store.listeners = [*listeners, *store.listeners]
    waiting.alive.clear()
    wait_until(lambda: position(store) == store.position())
    sent = waiting.sink(OWN.url).names + other.sink(OWN.url).names
    assert sorted(sent) == ["gone", "silent"]


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
    wait_until(lambda: position(store, CLIENTS_LOOP) == store.position())
