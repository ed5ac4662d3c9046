"""Several service processes over one PostgreSQL, of which one dies and never comes back."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.otlp import OtlpReceiver
from tests.support.postgres import postgres_server, postgres_url
from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.run_queries import wait_until

from flowspan.v1 import trace_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from tests.support.service import ServiceProcess

__all__ = ["postgres_server", "postgres_url"]

LEASE_S = 10.0
"""As in loops.loop_claims."""
EXPORT_TIMEOUT_S = 10.0
"""How long an attempt of the survivor, which met the closed receiver, may last."""
SLOWNESS_S = 10.0


class Receiver(OtlpReceiver):
    """Takes spans while it is open; else it turns them away, as an overloaded collector does."""

    def __init__(self) -> None:
        super().__init__(answer=self._refuse)
        self.is_open = threading.Event()
        self.is_open.set()
        self.refused: set[str] = set()

    def _refuse(self, request: ExportTraceServiceRequest, context: grpc.ServicerContext) -> None:
        if not self.is_open.is_set():
            self.refused.add(context.peer())
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    @property
    def run_ids(self) -> set[str]:
        """The runs whose spans have arrived."""
        return {span.run_id for span in list(self.spans)}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def crash_flows(service: ServiceProcess, count: int) -> set[str]:
    """Let flows crash, in a transaction of that service process; return the ids of their runs."""
    run_ids = [new_id() for _ in range(count)]
    stream = ReportStream(service.channel)
    for run_id in run_ids:
        trace_id, span_id = run_id.replace("-", ""), run_id.replace("-", "")[-16:]
        trace = trace_pb2.TraceContext(traceparent=f"00-{trace_id}-{span_id}-01")
        stream.report(created(run_id, trace=trace), entered(run_id, "RUNNING"))
    stream.goodbye()  # its process ended, and left them running
    return set(run_ids)


def test_promise_spans_of_crashed_runs_arrive_though_a_replica_dies(
    postgres_url: str, start_service: Callable[..., ServiceProcess], receiver: Receiver
) -> None:
    arguments = ("--otlp-endpoint", receiver.endpoint)
    mortal = start_service(db=postgres_url, arguments=arguments, check_history=False)
    survivor = start_service(db=postgres_url, arguments=arguments)

    crashed = crash_flows(mortal, 20) | crash_flows(survivor, 20)
    wait_until(lambda: receiver.run_ids == crashed, "the spans while both live")
    receiver.is_open.clear()
    crashed |= crash_flows(mortal, 30)
    wait_until(lambda: bool(receiver.refused), "an export under way")
    crashed |= crash_flows(survivor, 30) | crash_flows(mortal, 30)
    mortal.kill()
    receiver.is_open.set()
    died_at = time.monotonic()

    crashed |= crash_flows(survivor, 1)
    wait_until(lambda: receiver.run_ids >= crashed, "the spans of the dead replica's runs")
    assert time.monotonic() - died_at < LEASE_S + EXPORT_TIMEOUT_S + SLOWNESS_S
    assert receiver.run_ids == crashed
    # The survivor alone still exports at once.
    more = crash_flows(survivor, 5)
    wait_until(lambda: receiver.run_ids == crashed | more, "the spans of the survivor's runs")


def test_promise_spans_arrive_though_replicas_die_one_after_the_other(
    postgres_url: str, start_service: Callable[..., ServiceProcess], receiver: Receiver
) -> None:
    """Each dies right after its commit, before its exporter has done anything."""
    arguments = ("--otlp-endpoint", receiver.endpoint)
    crashed: set[str] = set()
    for _ in range(3):
        service = start_service(db=postgres_url, arguments=arguments, check_history=False)
        receiver.is_open.clear()
        crashed |= crash_flows(service, 10)
        service.kill()
    receiver.is_open.set()
    start_service(db=postgres_url, arguments=arguments)
    wait_until(lambda: receiver.run_ids == crashed, "the spans of the dead replicas' runs")
