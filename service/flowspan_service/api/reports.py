"""Reports of client processes: ReportService, as a stream or batch by batch."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from flowspan.v1 import report_pb2
from flowspan.v1 import report_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.acks import command_message, whole_ack
from flowspan_service.api.checks import (
    Checks,
    check_duration,
    check_id,
    check_text,
    invalid,
    too_large,
    with_message,
)
from flowspan_service.api.parsing import parse
from flowspan_service.api.report_events import read_batch
from flowspan_service.api.report_stream import ReportStream
from flowspan_service.api.values import duration, microseconds, timestamp
from flowspan_service.app.reports import OpenAndReport, report_pieces
from flowspan_service.app.sessions import EndSession, OpenSession
from flowspan_service.domain.errors import (
    BadSequenceError,
    OverloadedError,
    ServiceError,
    StoppingError,
    TooLargeError,
    WrongSecretError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flowspan_service.api.backend import Backend
    from flowspan_service.api.call import Call
    from flowspan_service.app.reports import ApplyReport
    from flowspan_service.app.sessions import Opened
    from flowspan_service.domain.verdicts import Verdict

# ruff: noqa: N802 - methods are named as in the protos

_MANY_VERDICTS = 500
"""Acks of more verdicts are built in a thread, so that they do not delay other calls."""


class ReportService:
    """The servicer of ReportService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def Report(
        self, frames: AsyncIterator[bytes], _: Call
    ) -> AsyncIterator[pb.ReportResponse]:
        """Serve the stream of a client process; its frames arrive unparsed."""
        hello = await _read_hello(frames)
        backend = self._backend
        if backend.stopping.is_set():
            raise StoppingError("The service is stopping.", advice="Reconnect and resume.")
        stream = ReportStream(backend, hello.session_id)
        try:
            opened = await backend.write(_open(backend, hello, stream.connection_id))
            stream.begin(resume_after=opened.resume_after, lease_us=opened.lease_us)
            backend.connections.connect(stream)
            yield pb.ReportResponse(welcome=self._welcome(opened))
            await stream.send_open_commands()
            async with aclosing(stream.run(frames)) as responses:
                async for response in responses:
                    yield response
        except WrongSecretError:
            stream.refused()
            raise
        finally:
            stream.end()

    async def ReportBatch(self, request: pb.ReportBatchRequest, _: Call) -> pb.ReportBatchResponse:
        """Store one batch of a client without a stream."""
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
            # Only now: a client that is refused has nevertheless renewed its lease.
            raise OverloadedError(
                "Events arrive faster than they can be stored.", advice="Retry in a moment."
            )
        if request.goodbye:
            await backend.write(EndSession(session_id))
        commands = await backend.read(
            backend.store.commands.list_open, session_id, limit=limits.PAGE_COMMANDS
        )
        return pb.ReportBatchResponse(
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
            # The first piece alone: if the session cannot be opened, no other must follow.
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
            capabilities=backend.about.capabilities,
            server_version=backend.about.version,
        )


def _check_hello(hello: report_pb2.Hello, field: str) -> None:
    check_id(hello.session_id, f"{field}.session_id")
    for name in ("client_name", "client_version", "client_language"):
        check_text(getattr(hello, name), f"{field}.{name}", limits.SHORT_NAME)
    check_text(hello.hostname, f"{field}.hostname", limits.NAME)
    if len(hello.capabilities) > limits.CAPABILITIES:
        raise TooLargeError(
            f"{field}.capabilities: more than {limits.CAPABILITIES}", field=f"{field}.capabilities"
        )
    if hello.HasField("lease"):
        check_duration(hello.lease, f"{field}.lease")
    if hello.secret and not limits.SECRET_MIN <= len(hello.secret) <= limits.SECRET:
        raise invalid(
            f"{field}.secret",
            f"has {len(hello.secret)} bytes; it must have {limits.SECRET_MIN} to {limits.SECRET}",
        )


CHECKS: Checks = {pb.ReportBatchRequest: with_message("hello", _check_hello)}


async def _read_hello(frames: AsyncIterator[bytes]) -> report_pb2.Hello:
    data = await anext(aiter(frames), None)
    if data is None:
        raise BadSequenceError("The stream ended before its first frame.", advice="Send Hello.")
    if len(data) > limits.HELLO:
        raise too_large("hello", len(data), limits.HELLO)
    request = parse(pb.ReportRequest, data)
    if request.WhichOneof("frame") != "hello":
        raise BadSequenceError("The first frame is not Hello.", advice="Begin with Hello.")
    _check_hello(request.hello, "hello")
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
