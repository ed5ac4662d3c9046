"""Reports runs to a service as a client would, without the engine: for tests of what reads them."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from flowspan.core.ids import IdMaker
from flowspan.v1 import (
    failure_pb2,
    log_pb2,
    payload_pb2,
    report_pb2,
    report_service_pb2,
    report_service_pb2_grpc,
    state_pb2,
)

if TYPE_CHECKING:
    import grpc


class Reporter:
    """One session. Events wait until `send`; `finish` ends the session.

    Args:
        channel: A channel to the service.
        now_s: The time of the first event; each further one is a millisecond later.
    """

    def __init__(self, channel: grpc.Channel, *, now_s: float | None = None) -> None:
        self._stub = report_service_pb2_grpc.ReportServiceStub(channel)
        self._hello = report_pb2.Hello(session_id=new_id(), client_name="flowspan-test")
        self._events: list[report_pb2.Event] = []
        self._sequence = 1
        self._now_ns = int((time.time() if now_s is None else now_s) * 1e9)
        self._roots: dict[str, str] = {}
        self._flows: dict[str, str] = {}

    def flow_run(self, name: str, run_name: str = "", *, parent: str = "", **fields) -> str:
        """A flow run that has just been created; returns its id."""
        return self._created(report_pb2.RUN_KIND_FLOW, name, run_name, parent, fields)

    def task_run(self, name: str, run_name: str = "", *, parent: str = "", **fields) -> str:
        """A task run that has just been created; returns its id."""
        return self._created(report_pb2.RUN_KIND_TASK, name, run_name, parent, fields)

    def state(
        self,
        run_id: str,
        kind: str,
        *,
        name: str = "",
        message: str = "",
        attempt: int = 1,
        failure: failure_pb2.Failure | None = None,
        wait_s: float = 0.001,
    ) -> None:
        """The run enters a state, `wait_s` after the event before."""
        self._now_ns += int(wait_s * 1e9)
        state = self._state(kind, name=name, message=message, failure=failure)
        self._add(
            state_entered=report_pb2.StateEntered(run_id=run_id, attempt=attempt, state=state)
        )

    def log(self, run_id: str, message: str, *, level: int = log_pb2.LOG_LEVEL_INFO, **fields):
        """The run logs something."""
        self._now_ns += 1_000_000
        self._add(
            log=log_pb2.LogRecord(
                run_id=run_id,
                message=message,
                level=level,  # type: ignore[arg-type] # levels between the names are allowed
                logger="flowspan.runs",
                time=self._time(),
                attempt=1,
                **fields,
            )
        )

    def completed(self, *run_ids: str) -> None:
        """The runs run and complete."""
        for run_id in run_ids:
            self.state(run_id, "RUNNING")
            self.state(run_id, "COMPLETED")

    def send(self) -> None:
        """Reports what waits; everything is to be accepted."""
        answer = self._report(goodbye=False)
        assert not answer.ack.verdicts, answer

    def finish(self) -> None:
        """Reports what waits, and ends the session: what has not ended crashes."""
        answer = self._report(goodbye=True)
        assert not answer.ack.verdicts, answer

    def _report(self, *, goodbye: bool) -> report_service_pb2.ReportBatchResponse:
        batch = report_pb2.Batch(first_sequence=self._sequence, events=self._events)
        answer = self._stub.ReportBatch(
            report_service_pb2.ReportBatchRequest(hello=self._hello, batch=batch, goodbye=goodbye),
            timeout=30,
        )
        self._sequence += len(self._events)
        self._events = []
        assert answer.ack.up_to_sequence == self._sequence - 1, answer
        return answer

    def _created(self, kind, name: str, run_name: str, parent: str, fields: dict) -> str:
        run_id = new_id()
        self._roots[run_id] = self._roots.get(parent, run_id)
        is_flow = kind == report_pb2.RUN_KIND_FLOW
        self._flows[run_id] = run_id if is_flow else self._flows.get(parent, "")
        parameters = fields.pop("parameters", None)
        if parameters is not None:
            fields["parameters"] = payload_pb2.Payload(encoding="json", data=parameters)
        self._add(
            run_created=report_pb2.RunCreated(
                run_id=run_id,
                kind=kind,
                function_name=name,
                run_name=run_name,
                parent_run_id=parent,
                root_run_id=self._roots[run_id],
                flow_run_id="" if is_flow else self._flows[run_id],
                state=self._state("PENDING"),
                **fields,
            )
        )
        return run_id

    def _state(self, kind: str, **fields) -> state_pb2.State:
        return state_pb2.State(
            type=state_pb2.StateType.Value(f"STATE_TYPE_{kind}"), time=self._time(), **fields
        )

    def _time(self) -> Timestamp:
        stamp = Timestamp()
        stamp.FromNanoseconds(self._now_ns)
        return stamp

    def _add(self, **event) -> None:
        self._events.append(report_pb2.Event(**event))


new_id = IdMaker(time.time_ns, random.getrandbits, threading.Lock())
"""A UUIDv7 as text, greater than those before."""
