"""Reports as any client could send them, without the engine: frame by frame, or in batches."""

from __future__ import annotations

import queue
import random
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import grpc
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
    from collections.abc import Iterator


ANSWER_TIMEOUT_S = 60.0


new_id = IdMaker(time.time_ns, random.getrandbits, threading.Lock())
"""A function that returns a UUIDv7 as text, greater than all before."""


def now() -> Timestamp:
    """Return the current time in microseconds, the service's resolution."""
    time_us = time.time_ns() // 1000
    return Timestamp(seconds=time_us // 1_000_000, nanos=time_us % 1_000_000 * 1000)


def state(kind: str, **fields: Any) -> state_pb2.State:
    """Return a state entered now: state("RUNNING")."""
    return state_pb2.State(type=f"STATE_TYPE_{kind}", **{"time": now(), **fields})


def created(run_id: str, *, kind: str = "FLOW", **fields: Any) -> report_pb2.Event:
    """Return the event of a created run, PENDING."""
    values = {"function_name": "f", "state": state("PENDING"), **fields}
    return report_pb2.Event(
        run_created=report_pb2.RunCreated(run_id=run_id, kind=f"RUN_KIND_{kind}", **values)
    )


def entered(run_id: str, kind: str, *, attempt: int = 1, **fields: Any) -> report_pb2.Event:
    """Return the event of a state change."""
    return report_pb2.Event(
        state_entered=report_pb2.StateEntered(
            run_id=run_id, attempt=attempt, state=state(kind, **fields)
        )
    )


def whole_run(run_id: str, **fields: Any) -> list[report_pb2.Event]:
    """Return the three events of a complete run."""
    return [created(run_id, **fields), entered(run_id, "RUNNING"), entered(run_id, "COMPLETED")]


def short_run(run_id: str, end: str = "COMPLETED", **fields: Any) -> report_pb2.Event:
    """Return the one event of a complete run."""
    completed = report_pb2.RunCompleted(
        created=created(run_id, **fields).run_created, start_time=now(), ended=state(end)
    )
    return report_pb2.Event(run_completed=completed)


def sequences_of(*events: report_pb2.Event) -> int:
    """Return the number of sequences that events take."""
    return sum(3 if event.HasField("run_completed") else 1 for event in events)


class ReportStream:
    """One connection of a session. Sends Hello at once; `welcome` has the answer.

    Args:
        channel: A channel to the service.
        session_id: A session to resume; a new one if None.
        hello: Further fields of Hello.
    """

    def __init__(
        self, channel: grpc.Channel, *, session_id: str | None = None, **hello: Any
    ) -> None:
        self.session_id = session_id or str(uuid.uuid4())
        self._requests: queue.SimpleQueue[report_service_pb2.ReportRequest | None]
        self._requests = queue.SimpleQueue()
        stub = report_service_pb2_grpc.ReportServiceStub(channel)
        self.call = stub.Report(self._outgoing(), wait_for_ready=True)
        self.send(hello=report_pb2.Hello(session_id=self.session_id, **hello))
        self.welcome = self.receive("welcome")
        self.next_sequence = self.welcome.resume_after + 1
        self.acked = self.welcome.resume_after
        self.verdicts: list[Any] = []

    def send(self, **frame: Any) -> None:
        """Send a frame: send(heartbeat=Heartbeat())."""
        self._requests.put(report_service_pb2.ReportRequest(**frame))

    def report(self, *events: report_pb2.Event) -> int:
        """Send a batch of events; return the sequence of the last."""
        batch = report_pb2.Batch(first_sequence=self.next_sequence, events=events)
        self.send(batch=batch)
        self.next_sequence += sequences_of(*events)
        return self.next_sequence - 1

    def receive(self, kind: str) -> Any:
        """Return the next frame of the service, which must be of this kind.

        Raises:
            grpc.RpcError: The stream ended with an error.
        """
        answer = next(self.call)
        found = answer.WhichOneof("frame")
        assert found == kind, answer
        return getattr(answer, found)

    def wait_for_ack(self, sequence: int) -> None:
        """Receive acks until one covers the sequence; keep their verdicts.

        Raises:
            grpc.RpcError: The stream ended with an error.
        """
        while self.acked < sequence:
            ack = self.receive("ack")
            assert ack.up_to_sequence >= self.acked, (
                "an ack has a lower sequence than the one before"
            )
            self.acked = ack.up_to_sequence
            self.verdicts += ack.verdicts

    def goodbye(self) -> None:
        """End the session and wait for the end of the stream."""
        self.send(goodbye=report_pb2.Goodbye())
        self._requests.put(None)
        rest = list(self.call)
        assert all(answer.WhichOneof("frame") == "ack" for answer in rest), rest

    def break_off(self) -> None:
        """Cut the connection without a goodbye."""
        self.call.cancel()
        self._requests.put(None)

    def _outgoing(self) -> Iterator[report_service_pb2.ReportRequest]:
        while (request := self._requests.get()) is not None:
            yield request


class Reporter:
    """A session over ReportBatch. `send` sends the pending events; `finish` ends the session.

    Args:
        channel: A channel to the service.
        now_s: The time of the first event; each further event is a millisecond later.
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
        """Create a flow run; return its id."""
        return self._created("FLOW", name, run_name, parent, fields)

    def task_run(self, name: str, run_name: str = "", *, parent: str = "", **fields) -> str:
        """Create a task run; return its id."""
        return self._created("TASK", name, run_name, parent, fields)

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
        """Enter a state, `wait_s` after the previous event."""
        self._now_ns += int(wait_s * 1e9)
        fields = {"name": name, "message": message, "failure": failure, "time": self._time()}
        self._events.append(entered(run_id, kind, attempt=attempt, **fields))

    def log(self, run_id: str, message: str, *, level: int = log_pb2.LOG_LEVEL_INFO, **fields):
        """Log a message for the run."""
        self._now_ns += 1_000_000
        record = log_pb2.LogRecord(
            run_id=run_id,
            message=message,
            level=level,  # type: ignore[arg-type] # levels between the names are allowed
            time=self._time(),
            attempt=1,
            **{"logger": "flowspan.runs", **fields},
        )
        self._events.append(report_pb2.Event(log=record))

    def completed(self, *run_ids: str) -> None:
        """Run and complete the runs."""
        for run_id in run_ids:
            self.state(run_id, "RUNNING")
            self.state(run_id, "COMPLETED")

    def send(self) -> None:
        """Send the pending events; all must be accepted."""
        answer = self._report(goodbye=False)
        assert not answer.ack.verdicts, answer

    def finish(self) -> None:
        """Send the pending events and end the session: runs that are still open crash."""
        answer = self._report(goodbye=True)
        assert not answer.ack.verdicts, answer

    def _report(self, *, goodbye: bool) -> report_service_pb2.ReportBatchResponse:
        batch = report_pb2.Batch(first_sequence=self._sequence, events=self._events)
        request = report_service_pb2.ReportBatchRequest(
            hello=self._hello, batch=batch, goodbye=goodbye
        )
        answer = self._answer(request)
        self._sequence += len(self._events)
        self._events = []
        assert answer.ack.up_to_sequence == self._sequence - 1, answer
        return answer

    def _answer(
        self, request: report_service_pb2.ReportBatchRequest
    ) -> report_service_pb2.ReportBatchResponse:
        """Call until there is an answer: a restart of the service breaks the connection once."""
        try:
            return self._stub.ReportBatch(request, timeout=30)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            return self._stub.ReportBatch(request, timeout=30, wait_for_ready=True)

    def _created(self, kind, name: str, run_name: str, parent: str, fields: dict) -> str:
        run_id = new_id()
        self._roots[run_id] = self._roots.get(parent, run_id)
        is_flow = kind == "FLOW"
        self._flows[run_id] = run_id if is_flow else self._flows.get(parent, "")
        parameters = fields.pop("parameters", None)
        if parameters is not None:
            fields["parameters"] = payload_pb2.Payload(encoding="json", data=parameters)
        self._events.append(
            created(
                run_id,
                kind=kind,
                function_name=name,
                run_name=run_name,
                parent_run_id=parent,
                root_run_id=self._roots[run_id],
                flow_run_id="" if is_flow else self._flows[run_id],
                state=state("PENDING", time=self._time()),
                **fields,
            )
        )
        return run_id

    def _time(self) -> Timestamp:
        stamp = Timestamp()
        stamp.FromNanoseconds(self._now_ns)
        return stamp
