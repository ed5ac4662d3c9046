"""The service itself: SystemService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import system_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import Checks, no_check
from flowspan_service.api.fields.traces import otlp_target_message
from flowspan_service.api.fields.values import duration, timestamp
from flowspan_service.domain.errors import StoreUnavailableError

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call

CHECKS: Checks = {pb.GetInfoRequest: no_check}


class SystemService:
    """The servicer of SystemService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def GetInfo(  # noqa: N802 - the name in the proto
        self, _: pb.GetInfoRequest, __: Call
    ) -> pb.GetInfoResponse:
        """Return facts and figures about the service."""
        backend = self._backend
        about = backend.about
        times = backend.store.write_times()
        response = pb.GetInfoResponse(
            version=about.version,
            schema_version=await backend.read(backend.store.schema_version),
            database=about.database,
            start_time=timestamp(about.started_us),
            server_time=timestamp(backend.clock.now_us()),
            process_id=about.process_id,
            connected_session_count=len(backend.connections),
            committed_transition_count=backend.activity.committed_transition_count,
            queued_event_count=backend.store.queued_weight,
            lease=duration(backend.terms.lease_us),
            reconnect_grace=duration(backend.terms.grace_us),
            otlp_endpoint=about.otlp_endpoint,
            capabilities=about.capabilities,
            max_message_bytes=limits.MAX_MESSAGE,
            database_location=about.database_location,
            database_size_bytes=await self._size_bytes(),
            log_file=about.log_file,
            is_embedded=about.is_embedded,
            longest_write=duration(round(times.longest_s * 1e6)),
            longest_recent_write=duration(round(times.recent_longest_s * 1e6)),
            database_problem=backend.store.gone or backend.activity.database_problem,
            http_address=about.http_address,
            trace_url=about.trace_url,
            otlp_target=otlp_target_message(about.otlp_target),
        )
        if about.idle_timeout_us is not None:
            response.idle_timeout.CopyFrom(duration(about.idle_timeout_us))
        return response

    async def _size_bytes(self) -> int:
        """Return the size of the database; 0 if it is unavailable, as the rest is still useful."""
        try:
            return await self._backend.read(self._backend.store.size_bytes)
        except StoreUnavailableError:
            return 0
