"""Reports of client processes: ReportService, as a stream or batch by batch."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from flowspan.v1 import report_pb2
from flowspan.v1 import report_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.calls.parsing import parse
from flowspan_service.api.fields.checks import (
    Checks,
    check_duration,
    check_id,
    check_text,
    check_time,
    invalid,
    too_large,
    with_message,
)
from flowspan_service.api.fields.traces import (
    check_otlp_target,
    check_resource,
    new_otlp_target,
    otlp_target_message,
)
from flowspan_service.api.fields.values import (
    duration,
    microseconds,
    optional_microseconds,
    timestamp,
)
from flowspan_service.api.reporting.acks import command_message, verdict_messages, whole_ack
from flowspan_service.api.reporting.command_watch import watch_commands
from flowspan_service.api.reporting.events import read_batch
from flowspan_service.api.reporting.stream import ReportStream
from flowspan_service.app.reports import OpenAndReport, report_pieces
from flowspan_service.app.sessions import EndSession, Introduction, OpenSession
from flowspan_service.domain.clocks import offset_at_receipt
from flowspan_service.domain.errors import (
    BadSequenceError,
    OverloadedError,
    ServiceError,
    StoppingError,
    TooLargeError,
    WrongSecretError,
)
from flowspan_service.process.live_processes import mark_of
from flowspan_service.process.peer_users import is_local

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call
    from flowspan_service.app.report_outcomes import Applied
    from flowspan_service.app.reports import ApplyReport, Reported
    from flowspan_service.app.sessions import Opened
    from flowspan_service.domain.verdicts import Verdict

# ruff: noqa: N802 - methods are named as in the protos

_MANY_VERDICTS = 500
"""Answers with more verdicts are built in a thread, so that they do not delay other calls."""


class ReportService:
    """The servicer of ReportService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def Report(
        self, frames: AsyncIterator[bytes], call: Call
    ) -> AsyncIterator[pb.ReportResponse]:
        """Serve the stream of a client process; its frames arrive unparsed."""
        hello = await _read_hello(frames)
        backend = self._backend
        if backend.stopping.is_set():
            raise StoppingError("The service is stopping.", advice="Reconnect and resume.")
        stream = ReportStream(backend, hello.session_id)
        try:
            opening = _open(
                backend,
                hello,
                stream.connection_id,
                verdicts_after=hello.acked_sequence,
                mark=_process_mark(hello, call),
            )
            opened = await backend.write(opening)
            stream.begin(resume_after=opened.resume_after, lease_us=opened.lease_us)
            backend.connections.connect(stream)
            yield pb.ReportResponse(welcome=await self._welcome(opened))
            await stream.send_open_commands()
            async with aclosing(stream.run(frames)) as responses:
                async for response in responses:
                    yield response
        except WrongSecretError:
            stream.refused()
            raise
        finally:
            stream.end()

    async def ReportBatch(
        self, request: pb.ReportBatchRequest, call: Call
    ) -> pb.ReportBatchResponse:
        """Store one batch of a client without a stream, in one commit unless it is large."""
        backend, hello, batch = self._backend, request.hello, request.batch
        pieces: list[ApplyReport] = []
        size = request.ByteSize()
        if request.HasField("batch") and (batch.events or batch.first_sequence):
            backend.activity.batch_count += 1
            reading = partial(read_batch, batch, received_us=backend.clock.now_us())
            events, run_ids = await backend.parsing.run(size, reading)
            pieces = report_pieces(
                hello.session_id,
                first_sequence=batch.first_sequence,
                events=events,
                run_ids=run_ids,
                size_bytes=batch.ByteSize(),
            )
        # Looking at the process takes as long as a tenth of a small call; the first one does.
        is_first = batch.first_sequence <= 1
        opening = _open(
            backend,
            hello,
            None,
            verdicts_after=_verdicts_after(request),
            mark=_process_mark(hello, call) if is_first else None,
        )
        if backend.activity.queued_bytes > limits.MAX_QUEUED:
            await backend.write(opening)  # the client that is refused has given a sign of life
            raise OverloadedError(
                "Events arrive faster than they can be stored.", advice="Retry in a moment."
            )
        ending = EndSession(hello.session_id) if request.goodbye else None
        opened, ack = await self._store(opening, pieces, ending, size)
        has_welcome = opened.is_new or hello.acked_sequence or opened.verdicts
        return pb.ReportBatchResponse(
            ack=ack,
            commands=await self._open_commands(hello.session_id),
            lease=duration(opened.lease_us),
            welcome=await self._welcome(opened) if has_welcome else None,
        )

    async def WatchCommands(
        self, request: pb.WatchCommandsRequest, _: Call
    ) -> AsyncIterator[pb.WatchCommandsResponse]:
        """Serve the commands of a session to a client without a stream."""
        frames = watch_commands(self._backend, request.session_id, request.secret)
        async with aclosing(frames):
            async for frame in frames:
                yield frame

    async def _store(
        self,
        opening: OpenSession,
        pieces: list[ApplyReport],
        ending: EndSession | None,
        size: int,
    ) -> tuple[Opened, report_pb2.Ack]:
        backend, activity = self._backend, self._backend.activity
        session_id = opening.session_id
        activity.queued_bytes += size
        try:
            # The first piece alone: if the session cannot be opened, no other must follow.
            is_one = len(pieces) < 2
            report = pieces[0] if pieces else None
            reported = await backend.write(
                OpenAndReport(session_id, opening, report, ending if is_one else None)
            )
            opened, stored = reported.opened, [_outcome(reported)]
            if not is_one:
                last = OpenAndReport(session_id, opened, pieces[-1], ending)
                stored += await asyncio.gather(
                    *map(backend.write, pieces[1:-1]), self._write_last(last)
                )
        finally:
            activity.queued_bytes -= size
        verdicts: list[Verdict] = []
        for applied in stored:
            activity.committed_transition_count += applied.transition_count
            verdicts += applied.verdicts
        up_to = stored[-1].up_to_sequence
        if len(verdicts) <= _MANY_VERDICTS:
            return opened, whole_ack(up_to, verdicts)
        return opened, await backend.read(whole_ack, up_to, verdicts)

    async def _write_last(self, last: OpenAndReport) -> Applied:
        return _outcome(await self._backend.write(last))

    async def _open_commands(self, session_id: str) -> list[report_pb2.Command]:
        """Return open commands of a session. Usually there are none, which is cheap to see."""
        backend, commands = self._backend, self._backend.store.commands
        if not await backend.read_row(commands.has_open, session_id):
            return []
        found = await backend.read(commands.list_open, session_id, limit=limits.MAX_COMMANDS)
        return [command_message(each) for each in found.items]

    async def _welcome(self, opened: Opened) -> report_pb2.Welcome:
        if len(opened.verdicts) <= _MANY_VERDICTS:
            return self._welcome_message(opened)
        return await self._backend.read(self._welcome_message, opened)

    def _welcome_message(self, opened: Opened) -> report_pb2.Welcome:
        backend = self._backend
        return report_pb2.Welcome(
            resume_after=opened.resume_after,
            max_batch_bytes=limits.MAX_BATCH,
            max_unacked_events=limits.MAX_UNACKED_EVENTS,
            lease=duration(opened.lease_us),
            reconnect_grace=duration(backend.terms.grace_us),
            server_time=timestamp(backend.clock.now_us()),
            otlp_endpoint=backend.about.otlp_endpoint,
            trace_url=backend.about.trace_url,
            capabilities=backend.about.capabilities,
            server_version=backend.about.version,
            max_frame_bytes=limits.MAX_FRAME,
            verdicts=verdict_messages(opened.verdicts),
            otlp_target=otlp_target_message(backend.about.otlp_target),
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
    _check_secret(hello.secret, f"{field}.secret")
    if hello.acked_sequence < 0:
        raise invalid(f"{field}.acked_sequence", "is negative")
    if hello.HasField("client_time"):
        check_time(hello.client_time, f"{field}.client_time")
    check_resource(hello.resource, f"{field}.resource")
    check_otlp_target(hello.otlp_target, f"{field}.otlp_target")


def _check_secret(secret: bytes, field: str) -> None:
    if secret and not limits.SECRET_MIN <= len(secret) <= limits.SECRET:
        raise invalid(
            field,
            f"has {len(secret)} bytes; it must have {limits.SECRET_MIN} to {limits.SECRET}",
        )


def _check_watch_commands(request: pb.WatchCommandsRequest) -> None:
    check_id(request.session_id, "session_id")
    _check_secret(request.secret, "secret")


CHECKS: Checks = {
    pb.ReportBatchRequest: with_message("hello", _check_hello),
    pb.WatchCommandsRequest: _check_watch_commands,
}


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


def _outcome(reported: Reported) -> Applied:
    if isinstance(reported.outcome, ServiceError):
        raise reported.outcome
    return reported.outcome


def _verdicts_after(request: pb.ReportBatchRequest) -> int | None:
    """Return the event after which the caller may have missed verdicts; None if it missed none.

    A caller that resends events has missed the answer to them.
    """
    if request.hello.acked_sequence:
        return request.hello.acked_sequence
    return request.batch.first_sequence - 1 if request.batch.events else None


def _open(
    backend: Backend,
    hello: report_pb2.Hello,
    connection_id: str | None,
    *,
    verdicts_after: int | None,
    mark: str | None,
) -> OpenSession:
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
        verdicts_after=verdicts_after,
        introduction=_introduction(hello, backend, mark),
    )


def _process_mark(hello: report_pb2.Hello, call: Call) -> str:
    """Return the mark of a client's process on this machine; empty for any other."""
    if hello.recovering or not is_local(call.peer):
        return ""
    return mark_of(hello.process_id, hello.hostname)


def _introduction(hello: report_pb2.Hello, backend: Backend, mark: str | None) -> Introduction:
    client_us, now_us = optional_microseconds(hello, "client_time"), backend.clock.now_us()
    target = new_otlp_target(hello.otlp_target)
    has_receiver = backend.log_receivers.of_target(target) is not None
    return Introduction(
        clock_offset_us=None if client_us is None else offset_at_receipt(client_us, now_us),
        resource=dict(hello.resource),
        spans_by_service=hello.spans_by_service,
        logs_by_service=hello.logs_by_service and has_receiver,
        target=target,
        process_mark=mark,
        is_recovering=hello.recovering,
    )
