"""The standard health service of gRPC (grpc.health.v1).

The servicer of grpcio-health-checking writes the responses of Watch to the context. Interceptors
iterate such a method instead (see `handlers`), so that it fails under OpenTelemetry's
instrumentation. Here, Watch is an async generator.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

_Response = health_pb2.HealthCheckResponse


class HealthServicer(health_pb2_grpc.HealthServicer):
    """The states of the services of a server. Use it within one event loop.

    Args:
        service_names: The full names of the services. All have the same state. The empty name, for
            the server as a whole, is added.
    """

    def __init__(self, service_names: Iterable[str]) -> None:
        self._service_names = frozenset(("", *service_names))
        self._status: Any = _Response.SERVING
        self._changed = asyncio.Event()
        self._is_stopping = False

    def set(self, *, is_serving: bool) -> None:
        """Set the state of all services. Ignored once the server is stopping."""
        if not self._is_stopping:
            self._status = _Response.SERVING if is_serving else _Response.NOT_SERVING
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    def stop(self) -> None:
        """Set the state to "not serving" for the rest of the server's life."""
        self.set(is_serving=False)
        self._is_stopping = True

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name in the proto
        """Return the state of a service. Abort with NOT_FOUND if there is no such service."""
        if request.service not in self._service_names:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return _Response(status=self._status)

    async def Watch(  # noqa: N802 - the name in the proto
        self, request: Any, context: Any
    ) -> AsyncIterator[Any]:
        """Yield the state of a service, and each other state that follows."""
        del context
        sent = None
        while True:
            changed = self._changed
            is_known = request.service in self._service_names
            status = self._status if is_known else _Response.SERVICE_UNKNOWN
            if status != sent:
                yield _Response(status=status)
                sent = status
            await changed.wait()
