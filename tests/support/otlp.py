"""OTLP receivers for tests, over gRPC and HTTP, which keep all spans and log records."""

from __future__ import annotations

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import (
    LogsServiceServicer,
    add_LogsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

SomeSpan = TypeVar("SomeSpan", bound=Any)

WAIT_S = 60.0
POLL_S = 0.02
TRACES_PATH = "/v1/traces"
LOGS_PATH = "/v1/logs"
ERROR = 2
"""The status code of a failed span."""


@dataclass(frozen=True)
class ReceivedSpan:
    """A received span, in plain Python types."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    status: int
    status_message: str
    attributes: dict[str, Any]
    events: list[tuple[str, int, dict[str, Any]]]
    service_name: str
    scope: str
    resource: dict[str, Any] = field(default_factory=dict)
    """The attributes of the resource, the service's name among them."""
    trace_state: str = ""
    links: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """The ids of the linked spans, and the attributes of the links."""

    @property
    def run_id(self) -> str:
        """The id of the run that this span represents; empty for other spans."""
        return str(self.attributes.get("flowspan.run.id", ""))

    @property
    def is_synthetic(self) -> bool:
        """True if the service created it on behalf of a process that could not."""
        return bool(self.attributes.get("flowspan.span.synthetic", False))


@dataclass(frozen=True)
class ReceivedLog:
    """A received log record, in plain Python types."""

    body: str
    time_ns: int
    observed_ns: int
    severity: tuple[int, str]
    trace_id: str
    span_id: str
    flags: int
    attributes: dict[str, Any]
    scope: str
    event_name: str
    resource: dict[str, Any]

    @property
    def run_id(self) -> str:
        """The id of its run; empty for others."""
        return str(self.attributes.get("flowspan.run.id", ""))


@dataclass
class ReceivedSpans:
    """The spans and log records that a receiver has got.

    Attributes:
        spans: The received spans, in order of arrival, but those of waits and of running flows,
            which depend on the load of the machine.
        all_spans: All received spans, in order of arrival.
        logs: All received log records, in order of arrival.
        metadata: The metadata or headers of each request, by lower-case name.
    """

    spans: list[ReceivedSpan] = field(default_factory=list)
    all_spans: list[ReceivedSpan] = field(default_factory=list)
    logs: list[ReceivedLog] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, request: ExportTraceServiceRequest, metadata: dict[str, str]) -> None:
        """Keep the spans of a request."""
        received = list(spans_of(request))
        with self._lock:
            self.metadata.append(metadata)
            self.all_spans += received
            self.spans += without_chance(received)

    def keep_logs(self, request: ExportLogsServiceRequest, metadata: dict[str, str]) -> None:
        """Keep the log records of a request."""
        received = list(logs_of(request))
        with self._lock:
            self.metadata.append(metadata)
            self.logs += received

    def wait_for_log(self, text: str, timeout_s: float = WAIT_S) -> ReceivedLog:
        """Wait for a log record whose body contains a text, and return the first one."""
        deadline = time.monotonic() + timeout_s
        while True:
            for log in list(self.logs):
                if text in log.body:
                    return log
            bodies = [log.body for log in list(self.logs)]
            assert time.monotonic() < deadline, f"no {text!r} among the log records {bodies}"
            time.sleep(POLL_S)

    def named(self, name: str) -> list[ReceivedSpan]:
        """Return the spans of a name by start time."""
        return sorted((s for s in list(self.all_spans) if s.name == name), key=lambda s: s.start_ns)

    def one(self, name: str) -> ReceivedSpan:
        """Return the only span of a name."""
        found = self.named(name)
        assert len(found) == 1, f"{len(found)} spans named {name!r} among {self.names}"
        return found[0]

    @property
    def names(self) -> list[str]:
        """The names of all spans."""
        return [span.name for span in list(self.spans)]

    def wait_for(
        self,
        condition: Callable[[Sequence[ReceivedSpan]], bool],
        what: str,
        timeout_s: float = WAIT_S,
    ) -> None:
        """Wait until the spans meet a condition; on timeout, fail and name `what` is missing."""
        deadline = time.monotonic() + timeout_s
        while not condition(list(self.spans)):
            assert time.monotonic() < deadline, f"no {what} among the spans {self.names}"
            time.sleep(POLL_S)


@dataclass
class OtlpReceiver(ReceivedSpans, TraceServiceServicer):
    """A TraceService on a free loopback port; use it as a context manager.

    Attributes:
        answer: Called with each request before it is stored; may abort it through its context.
        port: The port it listens on.
        tls: Its certificate and key; clients must present the same certificate. None without TLS.
    """

    answer: Callable[[ExportTraceServiceRequest, grpc.ServicerContext], None] | None = None
    port: int = 0
    tls: tuple[bytes, bytes] | None = None
    _server: grpc.Server | None = None

    def __enter__(self) -> OtlpReceiver:
        """Start the server; after a stop, on the same port."""
        server = grpc.server(ThreadPoolExecutor(max_workers=4), options=[("grpc.so_reuseport", 0)])
        add_TraceServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call] # generated
        logs = _Logs(self)
        add_LogsServiceServicer_to_server(logs, server)  # type: ignore[no-untyped-call] # generated
        place = f"127.0.0.1:{self.port}"
        if self.tls is None:
            self.port = server.add_insecure_port(place)
        else:
            certificate, key = self.tls
            credentials = grpc.ssl_server_credentials(
                [(key, certificate)], root_certificates=certificate, require_client_auth=True
            )
            self.port = server.add_secure_port(place, credentials)
        server.start()
        self._server = server
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()

    def stop(self) -> None:
        """Stop listening; the received spans stay."""
        if self._server is not None:
            self._server.stop(grace=None).wait()
            self._server = None

    @property
    def endpoint(self) -> str:
        """The address, as OTEL_EXPORTER_OTLP_ENDPOINT expects it."""
        return f"http://127.0.0.1:{self.port}"

    def Export(  # noqa: N802 - gRPC's name
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        """Store the spans of a request."""
        if self.answer is not None:
            self.answer(request, context)
        pairs = context.invocation_metadata()
        self.keep(request, {key: str(value) for key, value in pairs})
        return ExportTraceServiceResponse()


class _Logs(LogsServiceServicer):
    """The LogsService of a receiver."""

    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(  # noqa: N802 - gRPC's name
        self, request: ExportLogsServiceRequest, context: grpc.ServicerContext
    ) -> ExportLogsServiceResponse:
        """Store the log records of a request."""
        pairs = context.invocation_metadata()
        self._receiver.keep_logs(request, {key: str(value) for key, value in pairs})
        return ExportLogsServiceResponse()


@dataclass
class HttpOtlpReceiver(ReceivedSpans):
    """A receiver over HTTP on a free loopback port; use it as a context manager.

    Attributes:
        bodies: The path and the uncompressed body of each request, in order of arrival; those of
            logs and metrics, too.
        status: The status of each answer; of others than 200, nothing is kept.
        port: The port it listens on.
    """

    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    status: int = HTTPStatus.OK
    port: int = 0
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start the server; after a stop, on the same port."""
        server = _HttpServer(("127.0.0.1", self.port), _handler_for(self))
        self.port = server.server_address[1]
        self._thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True)
        self._thread.start()
        self._server = server
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()

    def stop(self) -> None:
        """Stop listening; what was received stays."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    @property
    def endpoint(self) -> str:
        """The address, as OTEL_EXPORTER_OTLP_ENDPOINT expects it."""
        return f"http://127.0.0.1:{self.port}"

    def receive(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        """Keep a request."""
        with self._lock:
            self.bodies.append((path, body))
        if path == TRACES_PATH:
            self.keep(ExportTraceServiceRequest.FromString(body), headers)
        elif path == LOGS_PATH:
            self.keep_logs(ExportLogsServiceRequest.FromString(body), headers)


class _HttpServer(ThreadingHTTPServer):
    """A server whose connections end with it: clients keep them open."""

    daemon_threads = True


def _handler_for(receiver: HttpOtlpReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            status = receiver.status
            if status == HTTPStatus.OK:
                headers = {key.lower(): value for key, value in self.headers.items()}
                receiver.receive(self.path, body, headers)
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    return Handler


def depends_on_load(name: str) -> bool:
    """Return True for a span that shows a wait, or that a flow has run for two seconds."""
    return name == "waiting" or name.endswith(" started")


def without_chance(spans: Iterable[SomeSpan]) -> list[SomeSpan]:
    """Return the spans without those that depend on the load of the machine."""
    return [span for span in spans if not depends_on_load(span.name)]


def logs_of(request: ExportLogsServiceRequest) -> Iterator[ReceivedLog]:
    """Yield the log records of a request."""
    for resource_logs in request.resource_logs:
        resource = _attributes(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield _received_log(record, resource, scope_logs.scope.name)


def _received_log(record: LogRecord, resource: dict[str, Any], scope: str) -> ReceivedLog:
    return ReceivedLog(
        body=str(_value(record.body)),
        time_ns=record.time_unix_nano,
        observed_ns=record.observed_time_unix_nano,
        severity=(record.severity_number, record.severity_text),
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        flags=record.flags,
        attributes=_attributes(record.attributes),
        scope=scope,
        event_name=record.event_name,
        resource=resource,
    )


def spans_of(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    """Yield the spans of a request."""
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _received(span, resource, scope_spans.scope.name)


def _received(span: Span, resource: dict[str, Any], scope: str) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        status=span.status.code,
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=[(e.name, e.time_unix_nano, _attributes(e.attributes)) for e in span.events],
        service_name=str(resource.get("service.name", "")),
        scope=scope,
        resource=resource,
        trace_state=span.trace_state,
        links=[(link.span_id.hex(), _attributes(link.attributes)) for link in span.links],
    )


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None
