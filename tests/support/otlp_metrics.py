"""Receivers of metrics over OTLP for tests: gRPC, and what a receiver over HTTP has got."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
    from tests.support.otlp import HttpOtlpReceiver

METRICS_PATH = "/v1/metrics"
WAIT_S = 60.0
POLL_S = 0.02


class ReceivedPoint(NamedTuple):
    """A data point of a metric."""

    value: float
    """The number, or the number of values of a histogram."""
    total: float
    """The sum of a histogram."""
    exemplars: list[tuple[str, str]]
    """The ids of the traces and spans of exemplars."""


@dataclass
class Received:
    """The metrics of one export."""

    resource: dict[str, str]
    scope: str
    metrics: dict[str, Metric]

    def point(self, name: str, **attributes: str) -> ReceivedPoint | None:
        """Return the data point of a metric with these attributes; None without one."""
        metric = self.metrics.get(name)
        if metric is None:
            return None
        for each in getattr(metric, metric.WhichOneof("data")).data_points:
            if _attributes(each.attributes) == attributes:
                return _point(each)
        return None

    def value(self, name: str, **attributes: str) -> float | None:
        """Return the value of a data point, or the number of values of a histogram."""
        found = self.point(name, **attributes)
        return None if found is None else found.value


@dataclass
class MetricsReceiver(MetricsServiceServicer):
    """A MetricsService on a free loopback port; use it as a context manager.

    Attributes:
        exports: All received exports, in order of arrival.
        metadata: The metadata of each request.
        answer: Called with the context of each request before it is kept; may block or abort it.
        port: The port it listens on.
    """

    exports: list[Received] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[grpc.ServicerContext], None] | None = None
    port: int = 0
    _server: grpc.Server | None = None

    def __enter__(self) -> Self:
        server = grpc.server(ThreadPoolExecutor(max_workers=4), options=[("grpc.so_reuseport", 0)])
        add_MetricsServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call] # generated
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        server.start()
        self._server = server
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.stop(grace=None).wait()

    @property
    def endpoint(self) -> str:
        """The address, as OTEL_EXPORTER_OTLP_ENDPOINT expects it."""
        return f"http://127.0.0.1:{self.port}"

    def Export(  # noqa: N802 - gRPC's name
        self, request: ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> ExportMetricsServiceResponse:
        """Keep the metrics of a request."""
        if self.answer is not None:
            self.answer(context)
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
        self.exports += exports_of(request)
        return ExportMetricsServiceResponse()


def exports_over_http(receiver: HttpOtlpReceiver) -> list[Received]:
    """Return the metrics that a receiver over HTTP has got."""
    found: list[Received] = []
    for path, body in list(receiver.bodies):
        if path == METRICS_PATH:
            found += exports_of(ExportMetricsServiceRequest.FromString(body))
    return found


def exports_of(request: ExportMetricsServiceRequest) -> Iterable[Received]:
    """Yield the metrics of each resource and scope in a request."""
    for of_resource in request.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            yield Received(
                _attributes(of_resource.resource.attributes),
                of_scope.scope.name,
                {metric.name: metric for metric in of_scope.metrics},
            )


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
    """Wait until a condition returns something true, and return that; name `what` on timeout."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"no {what} in time"
        time.sleep(POLL_S)
    return found


def _point(each: Any) -> ReceivedPoint:
    if hasattr(each, "bucket_counts"):
        exemplars = [(one.trace_id.hex(), one.span_id.hex()) for one in each.exemplars]
        assert sum(each.bucket_counts) == each.count
        return ReceivedPoint(each.count, each.sum, exemplars)
    return ReceivedPoint(getattr(each, each.WhichOneof("value")), 0.0, [])


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in pairs}
