"""The stream of one client process: batches in, acks and commands out.

Batches go to the writer as they arrive, several at a time. Acks follow the commits and are
cumulative: one ack answers for all batches of a commit. A task reads frames while the call itself
yields responses.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from flowspan.v1 import report_pb2
from flowspan.v1 import report_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.calls.parsing import FRAMES_SCANNED_ABOVE, parse
from flowspan_service.api.fields.checks import invalid, too_large
from flowspan_service.api.reporting.acks import acks, command_message
from flowspan_service.api.reporting.events import read_batch
from flowspan_service.app.event_records import sequence_count
from flowspan_service.app.reports import report_pieces
from flowspan_service.app.sessions import ConnectionBroken, EndSession, RenewLease, taken_over
from flowspan_service.domain.errors import BadSequenceError, ServiceError, StoppingError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from concurrent.futures import Future

    from flowspan_service.api.backend import Backend
    from flowspan_service.app.event_records import ReportedEvent
    from flowspan_service.app.report_outcomes import Applied
    from flowspan_service.app.reports import ApplyReport
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.verdicts import Verdict


_LOOK_FOR_ROOM_S = 0.01


class _ReadBatch(NamedTuple):
    """A checked batch."""

    first_sequence: int
    events: list[ReportedEvent]
    run_ids: list[str]


class ReportStream:
    """A connected session (see app.ports.Connection).

    Args:
        backend: The store and what belongs to it.
        session_id: The session of the connection.
    """

    def __init__(self, backend: Backend, session_id: str) -> None:
        self.session_id = session_id
        self.connection_id = uuid.uuid4().hex
        self._backend = backend
        self._loop = asyncio.get_running_loop()
        self._lease_us = backend.terms.lease_us
        self._heard_at_us = backend.clock.monotonic_us()
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
        """Commits without an ack: the numbers of events and bytes, and the outcome."""
        self._acked = 0
        self._commands: deque[report_pb2.Command] = deque()
        self._told: set[str] = set()
        """The ids of the commands that were sent or are queued."""
        self._bringing: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._is_draining = False
        self._has_no_session = False
        """True if the end of this connection says nothing about the session."""

    def begin(self, *, resume_after: int, lease_us: int) -> None:
        """Begin after the last stored event of the session, with the granted lease."""
        self._next_sequence = resume_after + 1
        self._acked = resume_after
        self._lease_us = lease_us
        self._renewed_at_us = self._backend.clock.monotonic_us()

    def sign(self) -> int:
        """Return a number that changes with each sign of life (see app.ports.Connection).

        While a batch waits for a thread or its commit, the silence is the service's, not the
        client's.
        """
        if self._in_flight or self._reading_in_thread:
            self._signs += 1  # safe in any thread: the number only has to change
        return self._signs

    def refused(self) -> None:
        """Detach the connection from the session, which belongs to another client."""
        self._has_no_session = True

    def be_taken_over(self) -> None:
        """End the stream, as another connection has taken over the session."""
        self._fail(taken_over(self.session_id))

    def tell(self, command: Command) -> None:
        """Send a command; no-op if this connection has already sent it."""
        if command.id in self._told:
            return
        self._told.add(command.id)
        self._commands.append(command_message(command))
        self._wake.set()

    async def send_open_commands(self) -> None:
        """Send the stored open commands of the session."""
        store, after = self._backend.store, None
        while True:
            page = await self._backend.read(
                store.commands.list_open, self.session_id, after=after, limit=limits.PAGE_COMMANDS
            )
            for command in page.items:
                self.tell(command)
            if not page.has_more:
                return
            after = page.items[-1]

    def drain(self) -> None:
        """Accept no more events, and end the stream when all accepted events are acked."""
        self._is_draining = True
        self._commands.append(report_pb2.Command(id="drain", drain=report_pb2.Drain()))
        self._wake.set()

    async def run(self, frames: AsyncIterator[bytes]) -> AsyncGenerator[pb.ReportResponse, None]:
        """Read frames and yield responses until the end of the stream.

        Raises:
            ServiceError: The stream ends with this error.
        """
        reader = asyncio.create_task(self._read(frames))
        reader.add_done_callback(lambda _: self._wake.set())
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for response in self._responses():
                    yield response
                if self._failure is not None:
                    raise self._failure
                if self._is_draining:
                    reader.cancel()
                if reader.done() and not self._in_flight and not self._committed:
                    break
            if self._is_draining:
                raise StoppingError("The service is stopping.", advice="Reconnect and resume.")
            await reader
        except Exception as error:
            self._fail(error)
            raise
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def end(self) -> None:
        """Note the end of the call: without a Goodbye, the reconnect grace begins."""
        self._backend.connections.disconnect(self)
        if self._has_no_session or self._backend.stopping.is_set():
            return
        self._backend.store.submit(
            ConnectionBroken(
                self.session_id,
                connection_id=self.connection_id,
                grace_us=self._backend.terms.grace_us,
                is_broken_off=self._is_broken_off(),
            )
        )

    def _is_broken_off(self) -> bool:
        """Return True if the other side ended the connection.

        The other causes are an error of this service, and pings without an answer; gRPC does not
        tell these from the end of a process. But nothing was heard for a time then. A proxy may end
        a connection, too; its clients reconnect within the grace.
        """
        silent_us = self._backend.clock.monotonic_us() - self._heard_at_us
        return self._failure is None and silent_us < limits.BROKEN_OFF_WITHIN_MS * 1000

    async def _read(self, frames: AsyncIterator[bytes]) -> None:
        async for data in frames:
            self._signs += 1
            self._heard_at_us = self._backend.clock.monotonic_us()
            if len(data) > limits.MAX_FRAME:
                raise too_large("frame", len(data), limits.MAX_FRAME)
            self._reading_in_thread = True
            try:
                frame, batch = await self._backend.parsing.run(
                    len(data), partial(_read_frame, data, self._backend.clock.now_us())
                )
            finally:
                self._reading_in_thread = False
            if batch is not None:
                await self._submit_batch(batch, len(data))
            elif frame == "heartbeat":
                self._store_lease()
            elif frame == "goodbye":
                self._has_no_session = True
                end = EndSession(self.session_id, connection_id=self.connection_id)
                self._submit(end)
                return
            elif frame == "hello":
                raise BadSequenceError("A second Hello arrived.", advice="Send Hello once.")
            elif not data:
                raise invalid("frame", "is required")
            # Any other frame is one of a newer client, and optional.

    async def _submit_batch(self, batch: _ReadBatch, size: int) -> None:
        """Submit a batch to the writer as soon as there is room for it."""
        first, events, run_ids = batch
        self._backend.activity.batch_count += 1
        if first > self._next_sequence:
            raise BadSequenceError(
                f"Event {self._next_sequence} is missing: the batch begins with {first}.",
                advice="Send the events after the last acknowledged one, without gaps.",
                expected=str(self._next_sequence),
            )
        count = sequence_count(events)
        self._next_sequence = max(self._next_sequence, first + count)
        await self._wait_for_room(count, size)
        self._unacked += count
        self._unacked_bytes += size
        self._renewed_at_us = self._backend.clock.monotonic_us()
        pieces = report_pieces(
            self.session_id,
            first_sequence=first,
            events=events,
            run_ids=run_ids,
            connection_id=self.connection_id,
            size_bytes=size,
        )
        for piece in pieces[:-1]:
            self._submit(piece, piece.sequence_count)
        self._submit(pieces[-1], pieces[-1].sequence_count, size)

    async def _wait_for_room(self, events: int, size: int) -> None:
        """Wait until this many more events and bytes may be queued. No frame is read until then."""
        while self._unacked and (
            self._unacked + events > limits.MAX_UNACKED_EVENTS
            or self._unacked_bytes + size > limits.MAX_UNACKED
        ):
            self._room.clear()
            await self._room.wait()
        while self._backend.activity.queued_bytes > limits.MAX_QUEUED:
            await asyncio.sleep(_LOOK_FOR_ROOM_S)
            self._signs += 1  # the service keeps its client waiting

    def _submit(
        self, operation: ApplyReport | EndSession | RenewLease, events: int = 0, size: int = 0
    ) -> None:
        self._in_flight += 1
        self._backend.activity.queued_bytes += size
        future: Future[Applied | int | None] = self._backend.store.submit(operation)
        future.add_done_callback(lambda done: self._in_loop(done, events, size))

    def _in_loop(self, future: Future[Applied | int | None], events: int, size: int) -> None:
        """Pass the outcome to the event loop; called in the writer's thread."""
        try:
            self._loop.call_soon_threadsafe(self._done, future, events, size)
        except RuntimeError:
            return  # the loop is closed, and with it the stream

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
        if isinstance(applied, int):  # the open runs that Goodbye ended
            activity.committed_transition_count += applied
        elif applied is not None:
            activity.committed_transition_count += applied.transition_count
            if applied.has_commands:
                self._bringing = self._loop.create_task(self._bring_moved_commands())
            self._committed.append((events, size, applied))
        self._wake.set()

    async def _bring_moved_commands(self) -> None:
        try:
            await self.send_open_commands()
        except ServiceError as error:
            self._fail(error)  # the client reconnects and gets them then

    def _responses(self) -> Iterator[pb.ReportResponse]:
        """Yield an ack for all new commits, and the queued commands."""
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
                yield pb.ReportResponse(ack=ack)
            self._unacked -= events
            self._unacked_bytes -= size
            self._room.set()
        while self._commands:
            yield pb.ReportResponse(command=self._commands.popleft())

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._wake.set()

    def _store_lease(self) -> None:
        """Renew the stored lease, but not more often than other service processes need."""
        now_us = self._backend.clock.monotonic_us()
        if now_us - self._renewed_at_us >= self._lease_us // 4:
            self._renewed_at_us = now_us
            self._submit(RenewLease(self.session_id, connection_id=self.connection_id))


def _read_frame(data: bytes, received_us: int) -> tuple[str | None, _ReadBatch | None]:
    """Return the kind of a frame that arrived at a time, and the content of a batch."""
    request = parse(pb.ReportRequest, data, scanned_above=FRAMES_SCANNED_ABOVE)
    frame = request.WhichOneof("frame")
    if frame != "batch":
        return frame, None
    events, run_ids = read_batch(request.batch, received_us=received_us)
    return frame, _ReadBatch(request.batch.first_sequence, events, run_ids)
