"""The stream of one client process: batches in, acks and commands out.

Batches are handed to the writer as they come, several at a time; acks follow the commits and are
cumulative, so that one ack answers for all batches of a commit. A reading task and the call itself,
which writes, share the connection.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from flowspan.v1 import report_pb2, report_service_pb2
from flowspan_service.api import checks, limits
from flowspan_service.api.parsing import FRAMES_SCANNED_ABOVE, parse
from flowspan_service.api.report_events import read_batch
from flowspan_service.api.translate import brief, short_verdict_message, verdict_message
from flowspan_service.app.reports import report_pieces
from flowspan_service.app.sessions import ConnectionBroken, EndSession, RenewLease, taken_over
from flowspan_service.domain.errors import BadSequenceError, ServiceError, StoppingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from concurrent.futures import Future

    from flowspan_service.api.backend import Backend
    from flowspan_service.api.edge import CallContext
    from flowspan_service.app.reports import Applied, ApplyReport, ReportedEvent
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.verdicts import Verdict


_Request = report_service_pb2.ReportRequest
_Response = report_service_pb2.ReportResponse

_LOOK_FOR_ROOM_S = 0.01


class _ReadBatch(NamedTuple):
    """A batch, checked."""

    first_sequence: int
    events: list[ReportedEvent]
    run_ids: list[str]


class ReportStream:
    """A connected session (see app.live.Connection).

    Args:
        backend: The store and what belongs to it.
        session_id: Whose connection it is.
    """

    def __init__(self, backend: Backend, session_id: str) -> None:
        self.session_id = session_id
        self.connection_id = uuid.uuid4().hex
        self._backend = backend
        self._loop = asyncio.get_running_loop()
        self._lease_us = backend.terms.lease_us
        self._renewed_at_us = 0
        self._signs = 1
        self._reading_in_thread = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._next_sequence = 1
        self._unacked = 0
        self._unacked_bytes = 0
        self._in_flight = 0
        self._committed: deque[tuple[int, int, Applied]] = deque()
        """What is committed and not yet acked: how many events, how many bytes, and the outcome."""
        self._acked = 0
        self._commands: deque[report_pb2.Command] = deque()
        self._told: set[str] = set()
        """The commands that were sent, or wait to be."""
        self._bringing: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._is_draining = False
        self._has_no_session = False
        """Whether nothing follows for the session from the end of this connection."""

    def begin(self, *, resume_after: int, lease_us: int) -> None:
        """The session is open, up to an event, and lives for so long."""
        self._next_sequence = resume_after + 1
        self._acked = resume_after
        self._lease_us = lease_us
        self._renewed_at_us = self._backend.clock.steady_us()

    def sign(self) -> int:
        """A number that changes with each sign of life (see app.live.Connection).

        While something of the session waits for a thread or for its commit, the client's silence is
        the service's own.
        """
        if self._in_flight or self._reading_in_thread:
            self._signs += 1  # in whichever thread: all that matters is that it changes
        return self._signs

    def refused(self) -> None:
        """The session is of somebody else: the end of this connection says nothing of it."""
        self._has_no_session = True

    def be_taken_over(self) -> None:
        """Another connection has the session now."""
        self._fail(taken_over(self.session_id))

    def tell(self, command: Command) -> None:
        """Sends a command; nothing, if this connection was told already."""
        if command.id in self._told:
            return
        self._told.add(command.id)
        self._commands.append(command_message(command))
        self._wake.set()

    async def bring_commands(self) -> None:
        """Sends the session's open commands, as they are stored."""
        store, after = self._backend.store, None
        while True:
            page = await self._backend.read(
                store.open_commands, self.session_id, after=after, limit=limits.PAGE_COMMANDS
            )
            for command in page.items:
                self.tell(command)
            if not page.has_more:
                return
            after = page.items[-1]

    def drain(self) -> None:
        """The service stops: no more events are taken; ends when all that was taken is acked."""
        self._is_draining = True
        self._commands.append(report_pb2.Command(id="drain", drain=report_pb2.Drain()))
        self._wake.set()

    async def run(self, frames: AsyncIterator[bytes], context: CallContext) -> None:
        """Serves the stream until its end.

        Raises:
            ServiceError: The stream ends with this.
        """
        reader = asyncio.create_task(self._read(frames))
        reader.add_done_callback(lambda _: self._wake.set())
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._send(context)
                if self._failure is not None:
                    raise self._failure
                if self._is_draining:
                    reader.cancel()
                if reader.done() and not self._in_flight and not self._committed:
                    break
            if self._is_draining:
                raise StoppingError("The service is stopping.", advice="Reconnect and resume.")
            await reader
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def end(self) -> None:
        """The call has ended, in whatever way: without Goodbye, the grace begins."""
        self._backend.live.disconnect(self)
        if self._has_no_session or self._backend.stopping.is_set():
            return
        self._backend.store.submit(
            ConnectionBroken(
                self.session_id,
                connection_id=self.connection_id,
                grace_us=self._backend.terms.grace_us,
            )
        )

    async def _read(self, frames: AsyncIterator[bytes]) -> None:
        async for data in frames:
            self._signs += 1
            if len(data) > limits.MAX_BATCH:
                raise checks.too_large("frame", len(data), limits.MAX_BATCH)
            self._reading_in_thread = True
            try:
                frame, batch = await self._backend.parsing.run(
                    len(data), partial(_read_frame, data)
                )
            finally:
                self._reading_in_thread = False
            if batch is not None:
                await self._take(batch, len(data))
            elif frame == "heartbeat":
                self._store_lease()
            elif frame == "goodbye":
                self._has_no_session = True
                end = EndSession(self.session_id, connection_id=self.connection_id)
                self._submit(end)
                return
            elif frame == "hello":
                raise BadSequenceError("A second Hello came.", advice="Send Hello once.")
            elif not data:
                raise checks.invalid("frame", "is required")
            # Else it is a frame of a newer client, which it can do without.

    async def _take(self, batch: _ReadBatch, size: int) -> None:
        """Hands a batch to the writer, when there is room for it."""
        first, events, run_ids = batch
        if first > self._next_sequence:
            raise BadSequenceError(
                f"Event {self._next_sequence} is missing: the batch begins with {first}.",
                advice="Send the events after the last acknowledged one, without gaps.",
                expected=str(self._next_sequence),
            )
        self._next_sequence = max(self._next_sequence, first + len(events))
        await self._wait_for_room(len(events), size)
        self._unacked += len(events)
        self._unacked_bytes += size
        self._renewed_at_us = self._backend.clock.steady_us()
        pieces = report_pieces(
            self.session_id,
            first_sequence=first,
            events=events,
            run_ids=run_ids,
            connection_id=self.connection_id,
            size_bytes=size,
        )
        for piece in pieces[:-1]:
            self._submit(piece, len(piece.events))
        self._submit(pieces[-1], len(pieces[-1].events), size)

    async def _wait_for_room(self, events: int, size: int) -> None:
        """Returns when so much more may wait for its commit; meanwhile nothing is read."""
        while self._unacked and (
            self._unacked + events > limits.MAX_UNACKED_EVENTS
            or self._unacked_bytes + size > limits.MAX_UNACKED
        ):
            self._room.clear()
            await self._room.wait()
        while self._backend.activity.queued_bytes > limits.MAX_QUEUED:
            await asyncio.sleep(_LOOK_FOR_ROOM_S)
            self._signs += 1  # it is the service that keeps its client waiting

    def _submit(
        self, operation: ApplyReport | EndSession | RenewLease, events: int = 0, size: int = 0
    ) -> None:
        self._in_flight += 1
        self._backend.activity.queued_bytes += size
        future: Future[Applied | int | None] = self._backend.store.submit(operation)
        future.add_done_callback(lambda done: self._in_loop(done, events, size))

    def _in_loop(self, future: Future[Applied | int | None], events: int, size: int) -> None:
        """Called in the writer's thread."""
        try:
            self._loop.call_soon_threadsafe(self._done, future, events, size)
        except RuntimeError:
            return  # the loop is closed: nobody waits for the answer any more

    def _done(self, future: Future[Applied | int | None], events: int, size: int) -> None:
        self._in_flight -= 1
        self._signs += 1
        self._backend.activity.queued_bytes -= size
        error = future.exception()
        if error is not None:
            self._fail(error)
            return
        applied = future.result()
        activity = self._backend.activity
        if isinstance(applied, int):  # the runs that Goodbye has left
            activity.committed_transition_count += applied
        elif applied is not None:
            activity.committed_transition_count += applied.transition_count
            if applied.has_commands:
                self._bringing = self._loop.create_task(self._bring_moved_commands())
            self._committed.append((events, size, applied))
        self._wake.set()

    async def _bring_moved_commands(self) -> None:
        try:
            await self.bring_commands()
        except ServiceError as error:
            self._fail(error)  # the client connects again, and is told then

    async def _send(self, context: CallContext) -> None:
        if self._committed:
            if self._backend.on_point is not None:
                self._backend.on_point("before_ack")
            verdicts: list[Verdict] = []
            events = size = 0
            while self._committed:
                some_events, some_bytes, applied = self._committed.popleft()
                events, size = events + some_events, size + some_bytes
                verdicts += applied.verdicts
                self._acked = max(self._acked, applied.up_to_sequence)
            for ack in acks(self._acked, verdicts):
                await context.write(_Response(ack=ack))
            self._unacked -= events
            self._unacked_bytes -= size
            self._room.set()
        while self._commands:
            await context.write(_Response(command=self._commands.popleft()))

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._wake.set()

    def _store_lease(self) -> None:
        """Stores that the session lives, but not more often than other service processes need."""
        now_us = self._backend.clock.steady_us()
        if now_us - self._renewed_at_us >= self._lease_us // 4:
            self._renewed_at_us = now_us
            self._submit(RenewLease(self.session_id, connection_id=self.connection_id))


def _read_frame(data: bytes) -> tuple[str | None, _ReadBatch | None]:
    """The kind of a frame, and with that of a batch what is in it."""
    request = parse(_Request, data, scanned_above=FRAMES_SCANNED_ABOVE)
    frame = request.WhichOneof("frame")
    if frame != "batch":
        return frame, None
    events, run_ids = read_batch(request.batch)
    return frame, _ReadBatch(request.batch.first_sequence, events, run_ids)


def acks(up_to_sequence: int, verdicts: list[Verdict]) -> Iterator[report_pb2.Ack]:
    """Acks that together say what is stored, none of them much larger than the limit."""
    ack, size = report_pb2.Ack(), 0
    for verdict in verdicts:
        message = verdict_message(verdict)
        size += message.ByteSize()
        if size > limits.MAX_ACK_VERDICTS and ack.verdicts:
            # What is stored up to here is said by the verdict itself: all before it is decided.
            ack.up_to_sequence = verdict.sequence - 1
            yield ack
            ack, size = report_pb2.Ack(), message.ByteSize()
        ack.verdicts.append(message)
    ack.up_to_sequence = up_to_sequence
    yield ack


def whole_ack(up_to_sequence: int, verdicts: list[Verdict]) -> report_pb2.Ack:
    """One ack with all verdicts: whole ones up to the limit, and then short ones."""
    ack, size = report_pb2.Ack(up_to_sequence=up_to_sequence), 0
    for verdict in verdicts:
        if size < limits.MAX_ACK_VERDICTS:
            message = verdict_message(verdict)
            size += message.ByteSize()
        else:
            message = short_verdict_message(verdict)
        ack.verdicts.append(message)
    return ack


def command_message(command: Command) -> report_pb2.Command:
    """The frame of a command."""
    return report_pb2.Command(
        id=command.id,
        cancel_run=report_pb2.CancelRun(run_id=command.run_id, reason=brief(command.reason)),
    )
