"""The handshake of a session on a link (Hello and Welcome), and the parsing of responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan.connection.client_identity import describe_process, introduce
from flowspan.connection.otlp_target import told_target
from flowspan.reporter.transport.stream import H2Transport, LinkClosedError
from flowspan.v1 import report_pb2, report_service_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.duration_pb2 import Duration

    from flowspan.connection.address import Address
    from flowspan.connection.otlp_target import OtlpTarget
    from flowspan.reporter.transport.protocol import ReportTransport
    from flowspan.v1 import verdict_pb2

CONNECT_TIMEOUT_S = 5.0
WELCOME_TIMEOUT_S = 10.0
_MIN_BATCH_BYTES = 64 << 10
_MIN_FRAME_BYTES = 1 << 10
"""Below it, no event would fit: such a limit must be an error of the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WelcomeInfo:
    """The service's description of itself at the start of a session; see flowspan.v1.Welcome."""

    address: Address
    resume_after: int
    max_batch_bytes: int
    max_unacked_events: int
    lease_s: float
    reconnect_grace_s: float
    server_time_ns: int
    trace_url: str
    otlp_target: OtlpTarget | None
    """The receivers that the service tells; None for none."""
    limited_tags: frozenset[str]
    capabilities: frozenset[str]
    server_version: str
    max_frame_bytes: int = 0
    """The limit of a frame: what the service states, or that of a batch of an older service."""
    verdicts: tuple[verdict_pb2.Verdict, ...] = ()
    """Verdicts whose ack may be lost."""


def open_session(
    address: Address,
    session_id: str,
    client: Mapping[str, str],
    *,
    secret: bytes = b"",
    recovering: bool = False,
    acked_sequence: int = 0,
) -> tuple[ReportTransport, WelcomeInfo]:
    """Connect, send Hello and wait for the Welcome.

    Args:
        address: The address of the service.
        session_id: The session, new or resumed.
        client: The client that created the session (see `flowspan.connection.client_identity`).
        secret: The secret of the session; empty if it has none.
        recovering: True if the session belongs to another process, which has ended.
        acked_sequence: The last event whose ack was received. The Welcome repeats later verdicts.

    Raises:
        OSError: The connection failed.
        LinkClosedError: The service, or another server at the address, ended the stream.
    """
    link = H2Transport.connect(address, timeout_s=CONNECT_TIMEOUT_S)
    try:
        hello = report_pb2.Hello(
            session_id=session_id,
            secret=secret,
            recovering=recovering,
            acked_sequence=acked_sequence,
        )
        introduce(hello, client)
        if not recovering:
            describe_process(hello)
        link.send(report_service_pb2.ReportRequest(hello=hello).SerializeToString())
        messages = link.wait(WELCOME_TIMEOUT_S)
        if not messages:
            raise LinkClosedError(
                "DEADLINE_EXCEEDED", f"the service did not answer within {WELCOME_TIMEOUT_S:g} s"
            )
        welcome = _read_welcome(address, messages[0])
        link.put_back(messages[1:])  # commands may follow immediately
        return link, welcome
    except BaseException:
        link.close()
        raise


def read_response(message: bytes) -> report_service_pb2.ReportResponse:
    """Parse a frame from the service.

    Raises:
        LinkClosedError: The message is not a frame.
    """
    try:
        return report_service_pb2.ReportResponse.FromString(message)
    except Exception as error:  # DecodeError; its module depends on protobuf's implementation
        raise LinkClosedError("NOT_GRPC", f"an answer could not be read ({error})") from error


def _read_welcome(address: Address, message: bytes) -> WelcomeInfo:
    response = read_response(message)
    if response.WhichOneof("frame") != "welcome":
        raise LinkClosedError("NOT_GRPC", "the first answer was not a Welcome")
    welcome = response.welcome
    return WelcomeInfo(
        address=address,
        resume_after=welcome.resume_after,
        max_batch_bytes=max(welcome.max_batch_bytes or (1 << 20), _MIN_BATCH_BYTES),
        max_unacked_events=welcome.max_unacked_events or 10_000,
        lease_s=_seconds(welcome.lease) or 30.0,
        reconnect_grace_s=_seconds(welcome.reconnect_grace),
        server_time_ns=welcome.server_time.ToNanoseconds(),
        trace_url=welcome.trace_url,
        otlp_target=_told_target(welcome),
        limited_tags=frozenset(welcome.limited_tags),
        capabilities=frozenset(welcome.capabilities),
        server_version=welcome.server_version,
        max_frame_bytes=max(
            welcome.max_frame_bytes or welcome.max_batch_bytes or (1 << 20), _MIN_FRAME_BYTES
        ),
        verdicts=tuple(welcome.verdicts),
    )


def _told_target(welcome: report_pb2.Welcome) -> OtlpTarget | None:
    told = welcome.otlp_target
    names = ("protocol", "traces_url", "logs_url")
    return told_target({name: getattr(told, name) for name in names}, welcome.otlp_endpoint)


def _seconds(duration: Duration) -> float:
    return float(duration.seconds) + duration.nanos / 1e9
