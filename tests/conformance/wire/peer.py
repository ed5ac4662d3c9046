"""A scripted service: it speaks the report protocol, stores nothing but memory, and misbehaves.

It records every frame with its time and size. `judge.py` looks at the records afterwards.
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from tests.support.version_skew import UNKNOWN_BYTES, from_the_future

from flowspan.v1 import (
    report_pb2,
    report_service_pb2,
    state_pb2,
    system_service_pb2,
    verdict_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conformance.wire.recorded import RecordedFrames

REPORT = "/flowspan.v1.ReportService/Report"
GET_INFO = "/flowspan.v1.SystemService/GetInfo"
WAIT_S = 90.0
"""Maximum wait for expected frames; no test judges by this time."""
CAPABILITIES = (
    *("artifacts.v1", "cancel.v1", "clocks.v1", "fencing.v1", "run_completed.v1"),
    *("run_context.v1", "run_details.v1", "service_spans.v1", "session_secrets.v1", "verdicts.v1"),
)
MAX_FRAME_BYTES = (4 << 20) + (64 << 10)
KINDS = "VERDICT_KIND_"


@dataclass(frozen=True, kw_only=True)
class Welcomes:
    """The fields of Welcome that a case chooses."""

    lease_s: float = 30.0
    grace_s: float = 10.0
    max_frame_bytes: int = MAX_FRAME_BYTES
    max_batch_bytes: int = 4 << 20
    max_unacked_events: int = 20_000
    capabilities: tuple[str, ...] = CAPABILITIES
    clock_ahead_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The behaviour of the peer on one connection.

    Attributes:
        refuse: End the call with this error in answer to Hello.
        mute: Do not answer Hello at all.
        resume_after: The (wrong) position of Welcome; the true one if None.
        first_frame: "ack" sends an ack in the place of Welcome.
        acks: "prompt", "late" (by late_s), "never" (events are stored all the same), or "lost": the
            events are dropped, as if the service had died before its commit.
        late_s: The delay of a late ack, in seconds.
        end_after_events: End the connection with the batch that reaches this number of events. Its
            ack is lost.
        end: The error at that point; UNAVAILABLE without a reason if None.
        cut_after_bytes: The proxy cuts the connection after this many bytes.
        verdicts: The verdicts of acks, by the name of a run's function: ABORT, REJECTED, or the
            number of a kind that the client does not know.
        future: Send everything as a service of the future would: unknown fields, frames, commands.
    """

    refuse: dict[str, Any] | None = None
    mute: bool = False
    resume_after: int | None = None
    first_frame: str = "welcome"
    acks: str = "prompt"
    late_s: float = 0.0
    end_after_events: int | None = None
    end: dict[str, Any] | None = None
    cut_after_bytes: int | None = None
    verdicts: dict[str, str] = field(default_factory=dict)
    future: bool = False


@dataclass(frozen=True)
class Frame:
    """A frame of the client, with the time of its arrival and its size.

    Attributes:
        at: Monotonic time, in seconds.
        kind: hello, batch, heartbeat or goodbye.
        acked: The sequence up to which acks had been sent on this connection, or Welcome's.
    """

    at: float
    kind: str
    message: Any
    size: int
    acked: int


class Peer:
    """A gRPC server inside the test process; use it as a context manager.

    Args:
        welcomes: The fields of Welcome.
        behaviours: The behaviour on each connection.
        recorded: The frames of the service of a release, to send them as it did.

    Attributes:
        connections: The connections so far, each with its frames.
        events: The stored events by sequence; those of a short run are its three parts.
        problems: The errors of the peer itself.
    """

    def __init__(
        self,
        welcomes: Welcomes,
        behaviours: tuple[Behaviour, ...],
        recorded: RecordedFrames | None = None,
    ) -> None:
        self.welcomes = welcomes
        self.recorded = recorded
        self.behaviours = behaviours or (Behaviour(),)
        self.connections: list[Connection] = []
        self.events: dict[int, report_pb2.Event] = {}
        self.stored_up_to = 0
        self.verdicts: list[verdict_pb2.Verdict] = []
        self.problems: list[str] = []
        self.changed = threading.Condition()
        # Each stream occupies a thread, also while a client leaves it half open.
        self._server = grpc.server(
            ThreadPoolExecutor(64),
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 8 << 20)],
        )
        self._server.add_generic_rpc_handlers((_Handlers(self),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Peer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.connections:
            connection.say(_END)
        self._server.stop(None).wait()

    def behaviour(self, index: int) -> Behaviour:
        """Return the behaviour on a connection; the last one repeats."""
        return self.behaviours[min(index, len(self.behaviours) - 1)]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the frames so far meet a condition.

        Raises:
            AssertionError: They do not in time; the message says what is missing.
        """
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_S), (
                f"the peer waits for {what}, and has {len(self.connections)} connections "
                f"and {self.stored_up_to} stored events"
            )

    def run_id(self, name: str) -> str:
        """Return the id of the run of a flow or task, which must have been reported."""
        self.wait_until(lambda: name in self._run_ids(), f"the creation of {name}")
        return self._run_ids()[name]

    def current(self) -> Connection:
        """Return the newest connection, which must have been welcomed."""
        self.wait_until(
            lambda: bool(self.connections) and self.connections[-1].is_welcomed, "a connection"
        )
        return self.connections[-1]

    def _run_ids(self) -> dict[str, str]:
        return {
            event.run_created.function_name: event.run_created.run_id
            for event in list(self.events.values())
            if event.HasField("run_created")
        }

    def info(self) -> system_service_pb2.GetInfoResponse:
        """Return the answer to GetInfo."""
        if self.recorded is not None:
            return self.recorded.info
        info = system_service_pb2.GetInfoResponse(
            version="9.9.9", database="sqlite", capabilities=self.welcomes.capabilities
        )
        info.server_time.GetCurrentTime()
        return info


_END = object()


class Connection:
    """One report stream, with the frames that the client sent.

    Attributes:
        began_at: Monotonic time of the call, in seconds.
        ended_at: Monotonic time of its end; None while it is open.
        resume_after: The position that Welcome named.
        ended_by_peer: The reason of the error with which the peer ended it; empty if it did not.
    """

    def __init__(self, peer: Peer, index: int) -> None:
        self.index = index
        self.began_at = time.monotonic()
        self.ended_at: float | None = None
        self.frames: list[Frame] = []
        self.resume_after = 0
        self.is_welcomed = False
        self.ended_by_peer = ""
        self.acked = 0
        self._peer = peer
        self._behaviour = peer.behaviour(index)
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._event_count = 0

    def say(self, answer: Any) -> None:
        """Send an answer: a ReportResponse, its bytes, a Status that ends the call, or the end."""
        self._answers.put(answer)

    def end(self, error: dict[str, Any]) -> None:
        """End the call with an error."""
        self.ended_by_peer = error.get("reason", error["status"])
        self.say(status_of(**error))

    def command(self, command_id: str, **command: Any) -> None:
        """Send a command."""
        self._send(command=report_pb2.Command(id=command_id, **command))

    def answers(self, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Yield the answers until the end of the call."""
        while True:
            answer = self._answers.get()
            if answer is _END:
                return
            if isinstance(answer, status_pb2.Status):
                context.abort_with_status(rpc_status.to_status(answer))
            yield answer if isinstance(answer, bytes) else answer.SerializeToString()

    def listen(self, requests: Iterator[bytes]) -> None:
        """Take the frames of the client until it ends the call or the connection breaks."""
        try:
            while (data := _next(requests)) is not None:
                self._take(data)
        except Exception as error:  # noqa: BLE001 - the test must see any error of the peer
            self._peer.problems.append(repr(error))
        finally:
            with self._peer.changed:
                self.ended_at = time.monotonic()
                self._peer.changed.notify_all()
            self.say(_END)

    def _take(self, data: bytes) -> None:
        request = report_service_pb2.ReportRequest.FromString(data)
        kind = request.WhichOneof("frame") or ""
        frame = Frame(time.monotonic(), kind, getattr(request, kind, None), len(data), self.acked)
        with self._peer.changed:
            self.frames.append(frame)
            if kind == "hello":
                self._greet(frame.message)
            elif kind == "batch" and not self.ended_by_peer:
                self._store(frame.message)
            self._peer.changed.notify_all()

    def _greet(self, hello: report_pb2.Hello) -> None:
        behaviour, peer = self._behaviour, self._peer
        if behaviour.refuse is not None:
            self.end(behaviour.refuse)
            return
        if behaviour.mute:
            return
        self.resume_after = self.acked = peer.stored_up_to
        if behaviour.resume_after is not None:
            self.resume_after = behaviour.resume_after
        if behaviour.first_frame == "ack":
            self._send(ack=report_pb2.Ack(up_to_sequence=0))
            return
        wanted = peer.welcomes
        welcome = report_pb2.Welcome(
            resume_after=self.resume_after,
            max_batch_bytes=wanted.max_batch_bytes,
            max_frame_bytes=wanted.max_frame_bytes,
            max_unacked_events=wanted.max_unacked_events,
            capabilities=wanted.capabilities,
            server_version="9.9.9",
            verdicts=[each for each in peer.verdicts if each.sequence > hello.acked_sequence],
        )
        welcome.lease.FromMilliseconds(round(wanted.lease_s * 1000))
        welcome.reconnect_grace.FromMilliseconds(round(wanted.grace_s * 1000))
        welcome.server_time.FromNanoseconds(time.time_ns() + round(wanted.clock_ahead_s * 1e9))
        self._send(welcome=welcome)
        self.is_welcomed = True
        if behaviour.future:
            self.say(UNKNOWN_BYTES)
            self.command("unknown-command")
            self._send(command=report_pb2.Command())

    def _store(self, batch: report_pb2.Batch) -> None:
        behaviour, peer = self._behaviour, self._peer
        verdicts = []
        for sequence, event in numbered(batch):
            self._event_count += 1
            if behaviour.acks != "lost" and sequence == peer.stored_up_to + 1:
                peer.events[sequence] = event
                peer.stored_up_to = sequence
                verdicts += self._verdicts(sequence, event)
        peer.verdicts += verdicts
        limit = behaviour.end_after_events
        if limit is not None and self._event_count >= limit:
            self.end(behaviour.end or {"status": "UNAVAILABLE"})
        else:
            self._acknowledge(verdicts)

    def _acknowledge(self, verdicts: list[verdict_pb2.Verdict]) -> None:
        behaviour = self._behaviour
        ack = report_pb2.Ack(up_to_sequence=self._peer.stored_up_to, verdicts=verdicts)
        if behaviour.acks in {"never", "lost"}:
            return
        if behaviour.acks == "late":
            timer = threading.Timer(behaviour.late_s, self._ack, [ack])
            timer.daemon = True
            timer.start()
        else:
            self._ack(ack)

    def _ack(self, ack: report_pb2.Ack) -> None:
        with self._peer.changed:
            self.acked = max(self.acked, ack.up_to_sequence)  # late acks may overtake each other
        self._send(ack=ack)

    def _verdicts(self, sequence: int, event: report_pb2.Event) -> list[verdict_pb2.Verdict]:
        name = event.run_created.function_name
        kind = self._behaviour.verdicts.get(name) if name else None
        if kind is None:
            return []
        number = int(kind) if kind.isdigit() else verdict_pb2.VerdictKind.Value(KINDS + kind)
        return [
            verdict_pb2.Verdict(
                sequence=sequence,
                run_id=event.run_created.run_id,
                kind=number,  # type: ignore[arg-type] # it may be one of the future
                rule="run_was_deleted" if kind == "ABORT" else "starts_scheduled_or_pending",
                reason=f"The peer has its reasons for {kind}.",
            )
        ]

    def _send(self, **frame: Any) -> None:
        response = report_service_pb2.ReportResponse(**frame)
        if self._peer.recorded is not None:
            response = self._peer.recorded.like(response)
        self.say(from_the_future(response) if self._behaviour.future else response)


def _next(requests: Iterator[bytes]) -> bytes | None:
    """Return the next request; None if the call has ended or broke."""
    try:
        return next(requests, None)
    except Exception:  # noqa: BLE001 - grpcio raises a bare Exception when the call breaks
        return None


def numbered(batch: report_pb2.Batch) -> Iterator[tuple[int, report_pb2.Event]]:
    """Yield the events of a batch with their sequences; a short run as its three parts."""
    sequence = batch.first_sequence
    for event in batch.events:
        for part in parts(event):
            yield sequence, part
            sequence += 1


def parts(event: report_pb2.Event) -> list[report_pb2.Event]:
    """Return the event, or the three events that it stands for."""
    if not event.HasField("run_completed"):
        return [event]
    short = event.run_completed
    run_id = short.created.run_id
    running_state = state_pb2.State(type="STATE_TYPE_RUNNING", name="Running")
    running_state.time.CopyFrom(short.start_time)
    running = report_pb2.StateEntered(run_id=run_id, attempt=1, state=running_state)
    ended = report_pb2.StateEntered(run_id=run_id, attempt=1, state=short.ended)
    return [
        report_pb2.Event(run_created=short.created),
        report_pb2.Event(state_entered=running),
        report_pb2.Event(state_entered=ended),
    ]


def status_of(
    *, status: str, message: str = "", reason: str = "", retry_s: float = 0.0
) -> status_pb2.Status:
    """Return a status as the service sends it: with an ErrorInfo, and a RetryInfo if it waits."""
    details = []
    if reason:
        details.append(any_pb2.Any())
        details[-1].Pack(error_details_pb2.ErrorInfo(domain="flowspan.v1", reason=reason))
    if retry_s:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(retry_s * 1000))
        details.append(any_pb2.Any())
        details[-1].Pack(retry)
    return status_pb2.Status(
        code=code_pb2.Code.Value(status),
        message=message or f"The peer ended it: {reason or status}.",
        details=details,
    )


class _Handlers(grpc.GenericRpcHandler):
    """The two methods of the peer, on plain bytes, so that frames can be ones it does not know."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method == REPORT:
            return grpc.stream_stream_rpc_method_handler(self._report)
        if details.method == GET_INFO:
            return grpc.unary_unary_rpc_method_handler(
                lambda _, __: self._peer.info().SerializeToString()
            )
        return None

    def _report(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        peer = self._peer
        with peer.changed:
            connection = Connection(peer, len(peer.connections))
            peer.connections.append(connection)
            peer.changed.notify_all()
        threading.Thread(target=connection.listen, args=(requests,), daemon=True).start()
        yield from connection.answers(context)
