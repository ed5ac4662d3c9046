"""Single runs under kills, restarts, silence, several services and restored backups."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.faults.test_promise_restored_backup import PostgresqlBackup, SqliteBackup, backed_up
from tests.support.harness import Stubs, refused
from tests.support.otlp import ERROR, OtlpReceiver
from tests.support.postgres import db, postgres_server, postgres_url
from tests.support.report_client import new_id
from tests.support.run_queries import flow_history, flow_runs, logs, wait_until

from flowspan.v1 import single_run_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

__all__ = ["backed_up", "db", "postgres_server", "postgres_url"]

DONE = ["Pending", "Running", "Completed"]


class Run:
    """A run of a program that repeats each call until it is answered."""

    def __init__(self, *services: ServiceProcess) -> None:
        self.id = new_id()
        self.token = ""
        self._services = services
        self._calls = 0
        self._number = 0

    def start(self, **fields: Any) -> None:
        request = pb.StartRunRequest(id=self.id, flow_name="single", **fields)
        self.token = self._call("StartRun", request).token

    def touch(self, *lines: str) -> Any:
        return self._call("TouchRun", pb.TouchRunRequest(token=self.token, **self._logs(lines)))

    def finish(self, *lines: str, **outcome: Any) -> Any:
        request = pb.FinishRunRequest(token=self.token, **self._logs(lines), **outcome)
        return self._call("FinishRun", request).flow_run

    def history(self) -> list[str]:
        return flow_history(self._services[-1].channel, self.id)

    def lines(self) -> list[str]:
        return [record.message for record in logs(self._services[-1].channel, self.id)]

    def _logs(self, lines: tuple[str, ...]) -> dict[str, Any]:
        if not lines:
            return {}
        self._number += 1
        return {"logs": [pb.RunLog(message=line) for line in lines], "number": self._number}

    def _call(self, method: str, request: Any) -> Any:
        """Call the services in turn; start one again that has died, and call again."""
        service = self._services[self._calls % len(self._services)]
        self._calls += 1
        while True:
            with contextlib.suppress(grpc.RpcError):
                return getattr(Stubs(service.channel).single_runs, method)(request, timeout=60)
            wait_until(lambda: not service.is_running, "the service to die at its crash point")
            service.restart()


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_service_that_is_killed_in_any_call_loses_and_repeats_nothing(
    start_service: Callable[..., ServiceProcess], point: str, at: int
) -> None:
    service = start_service(crash_point=f"{point}:{at}")
    run = Run(service)
    run.start()
    run.touch("one", "two")
    run.touch("three")
    run.finish("four")
    assert run.history() == DONE
    assert run.lines() == ["one", "two", "three", "four"]
    assert len(flow_runs(service.channel)) == 1


def test_service_that_is_killed_between_the_calls(
    db: str | None, start_service: Callable[..., ServiceProcess]
) -> None:
    service = start_service(db=db)
    run = Run(service)
    run.start()
    service.restart()
    run.touch("one")
    service.restart()
    run.touch("two")
    service.restart()
    run.finish("three")
    service.restart()
    assert run.history() == DONE
    assert run.lines() == ["one", "two", "three"]


def test_calls_reach_any_of_several_services(
    postgres_url: str, start_service: Callable[..., ServiceProcess]
) -> None:
    one, two = (start_service(db=postgres_url) for _ in range(2))
    run = Run(one, two)
    run.start()
    run.touch("one")
    run.touch("two")
    run.finish("three")
    assert run.history() == DONE
    assert run.lines() == ["one", "two", "three"]


def test_run_that_lost_its_lease_ends_as_it_says(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service()
    run = Run(service)
    run.start(lease=Duration(seconds=1))
    wait_until(lambda: run.history()[-1] == "Crashed", "the lease to end")
    assert run.finish("alive").state.name == "Completed"
    assert run.history() == ["Pending", "Running", "Crashed", "Completed"]
    assert run.lines() == ["alive"]


def test_open_run_of_a_dead_program_crashes_after_a_restart(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service()
    run = Run(service)
    run.start(lease=Duration(seconds=1))
    service.restart()
    wait_until(lambda: run.history()[-1] == "Crashed", "the lease to end")


def test_service_exports_the_spans(start_service: Callable[..., ServiceProcess]) -> None:
    with OtlpReceiver() as receiver:
        service = start_service(arguments=("--otlp-endpoint", receiver.endpoint))
        caller, child = Run(service), Run(service)
        caller.start(resource={"service.name": "backup", "host.name": "db1"})
        child.start(run_context=f"r:{caller.id.replace('-', '')}")
        child.finish(failure={"type": "Exit", "message": "code 2"})
        caller.finish()
        receiver.wait_for(lambda spans: len(spans) == 2, "two spans")
    spans = {span.run_id: span for span in receiver.spans}
    above, below = spans[caller.id], spans[child.id]
    assert (above.name, above.service_name, above.parent_id) == ("single", "backup", "")
    assert (below.trace_id, below.parent_id) == (above.trace_id, above.span_id)
    assert below.service_name == "single"  # the name of the flow, as it named no other
    assert (below.status, below.attributes["error.type"]) == (ERROR, "Exit")
    assert above.start_ns < below.start_ns <= below.end_ns <= above.end_ns
    assert not above.is_synthetic


@pytest.mark.slow
def test_tokens_over_a_restored_backup(
    backed_up: tuple[ServiceProcess, SqliteBackup | PostgresqlBackup],
) -> None:
    service, backup = backed_up
    before, after = Run(service), Run(service)
    before.start()
    before.touch("one")
    service.stop()
    backup.make()
    service.start()
    before.touch("two")
    after.start()
    service.stop()
    backup.restore()
    service.start()
    stubs = Stubs(service.channel)
    request = pb.TouchRunRequest(token=after.token)
    told = refused(
        lambda: stubs.single_runs.TouchRun(request), grpc.StatusCode.NOT_FOUND, "NOT_FOUND"
    )
    assert told["advice"]
    before.touch("three")
    before.finish("four")
    assert before.history() == DONE
    assert before.lines() == ["one", "three", "four"]


def test_tokens_of_another_database_are_refused(
    start_service: Callable[..., ServiceProcess],
) -> None:
    one, two = start_service(), start_service()
    run = Run(one)
    run.start()
    stubs = Stubs(two.channel)
    request = pb.FinishRunRequest(token=run.token)
    refused(
        lambda: stubs.single_runs.FinishRun(request),
        grpc.StatusCode.PERMISSION_DENIED,
        "WRONG_SECRET",
    )
    run.finish()
