"""ReportService: what client processes report."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from flowspan.v1 import report_pb2, report_service_pb2, report_service_pb2_grpc
from flowspan_service.api import checks, limits
from flowspan_service.api.capabilities import CAPABILITIES
from flowspan_service.api.parsing import parse
from flowspan_service.api.report_events import read_batch
from flowspan_service.api.report_stream import ReportStream, command_message, whole_ack
from flowspan_service.api.translate import duration, microseconds, timestamp
from flowspan_service.app.reports import OpenAndReport, report_pieces
from flowspan_service.app.sessions import EndSession, OpenSession
from flowspan_service.domain.errors import (
    BadSequenceError,
    OverloadedError,
    ServiceError,
    StoppingError,
    WrongSecretError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flowspan_service.api.backend import Backend
    from flowspan_service.api.edge import CallContext
    from flowspan_service.app.reports import ApplyReport
    from flowspan_service.app.sessions import Opened
    from flowspan_service.domain.verdicts import Verdict

_Response = report_service_pb2.ReportResponse

_MANY_VERDICTS = 500
"""More than these are written in a thread, so that other calls need not wait for them."""


class ReportService(report_service_pb2_grpc.ReportServiceServicer):
    """See report_service.proto."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def Report(  # noqa: N802 - the name in the proto
        self, frames: AsyncIterator[bytes], context: CallContext
    ) -> None:
        """The stream of a client process; its frames come unparsed."""
        hello = await _read_hello(frames)
        backend = self._backend
        if backend.stopping.is_set():
            raise StoppingError("The service is stopping.", advice="Reconnect and resume.")
        stream = ReportStream(backend, hello.session_id)
        try:
            opened = await backend.write(_open(backend, hello, stream.connection_id))
            stream.begin(resume_after=opened.resume_after, lease_us=opened.lease_us)
            backend.live.connect(stream)
            await context.write(_Response(welcome=self._welcome(opened)))
            await stream.bring_commands()
            await stream.run(frames, context)
        except WrongSecretError:
            stream.refused()
            raise
        finally:
            stream.end()

    async def ReportBatch(  # noqa: N802 - the name in the proto
        self, request: report_service_pb2.ReportBatchRequest, context: CallContext
    ) -> report_service_pb2.ReportBatchResponse:
        """One batch of a client that keeps no stream."""
        del context
        backend = self._backend
        session_id = request.hello.session_id
        pieces: list[ApplyReport] = []
        size = request.ByteSize()
        if request.HasField("batch") and (request.batch.events or request.batch.first_sequence):
            events, run_ids = await backend.parsing.run(size, partial(read_batch, request.batch))
            pieces = report_pieces(
                session_id,
                first_sequence=request.batch.first_sequence,
                events=events,
                run_ids=run_ids,
                size_bytes=request.batch.ByteSize(),
            )
        opening = _open(backend, request.hello, None)
        is_overloaded = backend.activity.queued_bytes > limits.MAX_QUEUED
        if pieces and not is_overloaded:
            opened, ack = await self._store(opening, pieces, size)
        else:
            opened = await backend.write(opening)
            ack = report_pb2.Ack(up_to_sequence=opened.resume_after)
        if is_overloaded:
            # Only now: a client that is sent away lives all the same.
            raise OverloadedError(
                "More is reported than can be stored.", advice="Send it again in a moment."
            )
        if request.goodbye:
            await backend.write(EndSession(session_id))
        commands = await backend.read(
            backend.store.open_commands, session_id, limit=limits.PAGE_COMMANDS
        )
        return report_service_pb2.ReportBatchResponse(
            ack=ack,
            commands=[command_message(each) for each in commands.items],
            lease=duration(opened.lease_us),
        )

    async def _store(
        self, opening: OpenSession, pieces: list[ApplyReport], size: int
    ) -> tuple[Opened, report_pb2.Ack]:
        activity = self._backend.activity
        activity.queued_bytes += size
        try:
            # The first piece by itself: if the session may not be opened, no other is to follow.
            first = OpenAndReport(opening.session_id, opening, pieces[0])
            reported = await self._backend.write(first)
            if isinstance(reported.outcome, ServiceError):
                raise reported.outcome
            stored = [reported.outcome]
            stored += await asyncio.gather(*map(self._backend.write, pieces[1:]))
        finally:
            activity.queued_bytes -= size
        verdicts: list[Verdict] = []
        for applied in stored:
            activity.committed_transition_count += applied.transition_count
            verdicts += applied.verdicts
        up_to = stored[-1].up_to_sequence
        if len(verdicts) <= _MANY_VERDICTS:
            return reported.opened, whole_ack(up_to, verdicts)
        return reported.opened, await self._backend.read(whole_ack, up_to, verdicts)

    def _welcome(self, opened: Opened) -> report_pb2.Welcome:
        backend = self._backend
        return report_pb2.Welcome(
            resume_after=opened.resume_after,
            max_batch_bytes=limits.MAX_BATCH,
            max_unacked_events=limits.MAX_UNACKED_EVENTS,
            lease=duration(opened.lease_us),
            reconnect_grace=duration(backend.terms.grace_us),
            server_time=timestamp(backend.clock.now_us()),
            otlp_endpoint=backend.about.otlp_endpoint,
            capabilities=CAPABILITIES,
            server_version=backend.about.version,
        )


async def _read_hello(frames: AsyncIterator[bytes]) -> report_pb2.Hello:
    data = await anext(aiter(frames), None)
    if data is None:
        raise BadSequenceError("The stream ended before its first frame.", advice="Send Hello.")
    if len(data) > limits.HELLO:
        raise checks.too_large("hello", len(data), limits.HELLO)
    request = parse(report_service_pb2.ReportRequest, data)
    if request.WhichOneof("frame") != "hello":
        raise BadSequenceError("The first frame is not Hello.", advice="Begin with Hello.")
    checks.check_hello(request.hello, "hello")
    return request.hello


def _open(backend: Backend, hello: report_pb2.Hello, connection_id: str | None) -> OpenSession:
    client = {
        "name": hello.client_name,
        "version": hello.client_version,
        "language": hello.client_language,
        "hostname": hello.hostname,
        "process_id": str(hello.process_id) if hello.process_id else "",
    }
    return OpenSession(
        hello.session_id,
        client={key: value for key, value in client.items() if value},
        lease_us=backend.terms.granted(microseconds(hello.lease)),
        secret=hello.secret,
        connection_id=connection_id,
    )
