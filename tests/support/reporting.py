"""A client of the report stream in a few lines, for tests that must see every frame."""

from __future__ import annotations

import queue
import time
import uuid
from typing import TYPE_CHECKING, Any

from google.protobuf.timestamp_pb2 import Timestamp

from flowspan.v1 import report_pb2, report_service_pb2, report_service_pb2_grpc, state_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

ANSWER_TIMEOUT_S = 60.0


def new_id() -> str:
    """A UUIDv7."""
    millis = time.time_ns() // 1_000_000
    number = millis << 80 | 0x7 << 76 | uuid.uuid4().int & ((1 << 76) - 1)
    return str(uuid.UUID(int=number & ~(0b11 << 62) | 0b10 << 62))


def now() -> Timestamp:
    """The time, in microseconds as the service keeps it."""
    time_us = time.time_ns() // 1000
    return Timestamp(seconds=time_us // 1_000_000, nanos=time_us % 1_000_000 * 1000)


def state(kind: str, **fields: Any) -> state_pb2.State:
    """A state entered now: state("RUNNING")."""
    return state_pb2.State(type=f"STATE_TYPE_{kind}", **{"time": now(), **fields})


def created(run_id: str, *, kind: str = "FLOW", **fields: Any) -> report_pb2.Event:
    """A run came to be, PENDING."""
    values = {"function_name": "f", "state": state("PENDING"), **fields}
    return report_pb2.Event(
        run_created=report_pb2.RunCreated(run_id=run_id, kind=f"RUN_KIND_{kind}", **values)
    )


def entered(run_id: str, kind: str, *, attempt: int = 1, **fields: Any) -> report_pb2.Event:
    """A run entered a state."""
    return report_pb2.Event(
        state_entered=report_pb2.StateEntered(
            run_id=run_id, attempt=attempt, state=state(kind, **fields)
        )
    )


def whole_run(run_id: str, **fields: Any) -> list[report_pb2.Event]:
    """A run from its creation to its end: three events."""
    return [created(run_id, **fields), entered(run_id, "RUNNING"), entered(run_id, "COMPLETED")]


class ReportStream:
    """One connection of a session. Says Hello at once; `welcome` has the answer.

    Args:
        channel: To which service.
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
        """Sends a frame: send(heartbeat=Heartbeat())."""
        self._requests.put(report_service_pb2.ReportRequest(**frame))

    def report(self, *events: report_pb2.Event) -> int:
        """Sends a batch of events; returns the sequence of the last."""
        batch = report_pb2.Batch(first_sequence=self.next_sequence, events=events)
        self.send(batch=batch)
        self.next_sequence += len(events)
        return self.next_sequence - 1

    def receive(self, kind: str) -> Any:
        """The next frame of the service, which must be of that kind.

        Raises:
            grpc.RpcError: The stream ended with an error.
        """
        answer = next(self.call)
        found = answer.WhichOneof("frame")
        assert found == kind, answer
        return getattr(answer, found)

    def wait_for_ack(self, sequence: int) -> None:
        """Takes acks until one covers the sequence; keeps their verdicts.

        Raises:
            grpc.RpcError: The stream ended with an error.
        """
        while self.acked < sequence:
            ack = self.receive("ack")
            assert ack.up_to_sequence >= self.acked, "acks go back"
            self.acked = ack.up_to_sequence
            self.verdicts += ack.verdicts

    def goodbye(self) -> None:
        """Ends the session and waits for the end of the stream."""
        self.send(goodbye=report_pb2.Goodbye())
        self._requests.put(None)
        rest = list(self.call)
        assert all(answer.WhichOneof("frame") == "ack" for answer in rest), rest

    def break_off(self) -> None:
        """Ends the connection without a word."""
        self.call.cancel()
        self._requests.put(None)

    def _outgoing(self) -> Iterator[report_service_pb2.ReportRequest]:
        while (request := self._requests.get()) is not None:
            yield request
