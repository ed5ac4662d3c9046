"""Spans of the service's own work, for those who operate it: calls, and transactions.

They are no part of users' traces. Each call is the root of a trace of its own, with a link to the
span from which it was called.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter

    from flowspan_service.app.ports import Written

SCOPE_NAME = "flowspan-service"
CLOSE_TIMEOUT_S = 2.0

_FAULTS = frozenset(
    {
        *("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED"),
        *("INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    }
)
"""The codes of calls that failed through no fault of the caller, by OpenTelemetry's conventions."""


class OwnSpans:
    """Makes the spans after the fact, so that nothing is in the way of the work.

    Args:
        exporter: The exporter of the spans.
        resource: The resource of the service.
        version: The version of the service.
    """

    def __init__(self, exporter: SpanExporter, *, resource: Resource, version: str) -> None:
        # It is not installed for the process, so that nothing else is traced.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SCOPE_NAME, version)
        self._propagator = TraceContextTextMapPropagator()

    def call(self, *, path: str, code: str, traceparent: str, began_ns: int, ended_ns: int) -> None:
        """Make the span of a call that ended.

        Args:
            path: The path of the method, with a slash at the beginning.
            code: The canonical code of the answer.
            traceparent: The W3C traceparent that the caller sent; empty if none.
            began_ns: The begin of the call, in nanoseconds since 1970 UTC.
            ended_ns: Its end.
        """
        method = path.removeprefix("/")
        span = self._tracer.start_span(
            method,
            context=Context(),
            kind=SpanKind.SERVER,
            start_time=began_ns,
            links=self._links(traceparent),
            attributes={
                "rpc.system.name": "grpc",
                "rpc.method": method,
                "rpc.response.status_code": code,
            },
        )
        if code in _FAULTS:
            span.set_attribute("error.type", code)
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended_ns)

    def commit(self, written: Written) -> None:
        """Make the span of a transaction."""
        span = self._tracer.start_span(
            "commit",
            context=Context(),
            start_time=written.began_ns,
            attributes={
                "flowspan.commit.operations": written.operation_count,
                "flowspan.commit.transitions": written.transition_count,
                "flowspan.commit.wait_s": written.waited_s,
            },
        )
        span.end(written.began_ns + round(written.took_s * 1e9))

    def close(self) -> None:
        """Export the spans that wait, for at most two seconds."""
        closing = threading.Thread(
            target=self._provider.shutdown, name="own-spans-close", daemon=True
        )
        closing.start()
        closing.join(CLOSE_TIMEOUT_S)

    def _links(self, traceparent: str) -> list[Link]:
        if not traceparent:
            return []
        context = self._propagator.extract({"traceparent": traceparent}, Context())
        caller = get_current_span(context).get_span_context()
        return [Link(caller)] if caller.is_valid else []
