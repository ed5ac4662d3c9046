"""The reporter's thread: takes events in, sends batches, reads acks, keeps the session alive.

All that is not acked is in the outbox; the link comes and goes. One pass of the loop waits for
something to do, reads the link, builds batches, writes, and looks at the clock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
import time
from typing import TYPE_CHECKING

from flowspan.exceptions import FlowspanError, ServiceUnavailableError
from flowspan.reporter.connector import Connected, Connector
from flowspan.reporter.intake import Builder
from flowspan.reporter.link import LinkClosedError
from flowspan.reporter.outbox import Outbox
from flowspan.reporter.session import read_response
from flowspan.reporter.wire import GOODBYE_FRAME, HEARTBEAT_FRAME, batch_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.core.events import Event
    from flowspan.reporter.intake import FlushRequest, Intake
    from flowspan.reporter.link import Link
    from flowspan.reporter.session import WelcomeInfo
    from flowspan.v1 import report_pb2, verdict_pb2

logger = logging.getLogger("flowspan.reporter")

LINGER_S = 0.004
"""How long events wait for others to share a batch with."""

_URGENT_EVENTS = 2000
_MAX_UNSENT_BYTES = 1 << 20
_MAX_SENT_BYTES = 8 << 20
_ACK_TIMEOUT_S = 20.0
_GOODBYE_TIMEOUT_S = 0.5
_WARN_AFTER_S = 5.0
_TERMINAL_FROM = 6
_VERDICT_REJECTED = 3
_VERDICT_ABORT = 5


class Loop:
    """The thread and all that it owns.

    Attributes:
        idle: Whether the thread sleeps and wants to be woken by the next event.
        welcome: What the service said last; None before it said anything.
        welcomed: Set when the service has answered for the first time.
        connected: Whether there is a link.
    """

    def __init__(
        self,
        config: Config,
        session_id: str,
        intake: Intake,
        stop_run: Callable[[str, str, bool], None],
    ) -> None:
        """Prepares it; `start` starts it.

        Args:
            config: The settings.
            session_id: The session that it reports in.
            intake: Where events come from.
            stop_run: Called with a run's id, a reason, and whether it was an ABORT, when the service
                wants a run to stop.
        """
        self.idle = False
        self.welcome: WelcomeInfo | None = None
        self.welcomed = threading.Event()
        self.session_id = session_id
        self._config = config
        self._intake = intake
        self._stop_run = stop_run
        self._builder = Builder(intake, self._bad_event)
        self._outbox = Outbox()
        self._flushes: list[FlushRequest] = []
        self._link: Link | None = None
        self._wake_reader, self._wake_writer = os.pipe()
        for handle in (self._wake_reader, self._wake_writer):
            os.set_blocking(handle, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._connector = Connector(config, session_id, self.wake)
        self._due_at: float | None = None
        self._flush_wanted = 0
        self._last_frame_at = 0.0
        self._last_answer_at = 0.0
        self._down_since = time.monotonic()
        self._warned: set[str] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="flowspan-reporter", daemon=True)

    # What other threads call.

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Makes the thread look around."""
        self.idle = False
        with contextlib.suppress(OSError):  # full: it is awake; closed: it is no more
            os.write(self._wake_writer, b"\0")

    def flush(self, request: FlushRequest) -> None:
        """Starts a flush whose marks are in the queues."""
        self._flush_wanted += 1
        self.wake()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the service."""
        return self._link is not None

    def close(self, timeout_s: float) -> None:
        """Ends the session with a Goodbye, if there is a connection, and the thread."""
        self._closing = True
        self.wake()
        self._thread.join(timeout_s)

    def forget(self) -> None:
        """In a forked child, of the parent's loop: closes the copies of its descriptors."""
        for handle in self.descriptors():
            os.close(handle)
        self._selector.close()

    def descriptors(self) -> tuple[int, int]:
        """The ends of the wake-up pipe, for a forked child to close."""
        return self._wake_reader, self._wake_writer

    # The thread.

    def _run(self) -> None:
        while not self._closing:
            try:
                self._pass()
            except Exception:
                logger.exception("the reporter had an error of its own; it goes on")
                self._drop_link("an error of the reporter's")
                time.sleep(0.1)
        self._end()

    def _pass(self) -> None:
        self._wait()
        self._connect()
        if self._link is not None:
            try:
                self._read(self._link)
            except LinkClosedError as error:
                self._drop_link(str(error))
        self._build()
        if self._link is not None:
            try:
                self._send(self._link)
                self._keep_alive(self._link)
            except LinkClosedError as error:
                self._drop_link(str(error))
        self._resolve_flushes()

    def _wait(self) -> None:
        timeout = self._timeout()
        if timeout > 0:
            self.idle = not self._builder
            if self.idle and self._intake:  # something came between the look and the note
                self.idle = False
                timeout = 0.0
        for key, _ in self._selector.select(timeout):
            if key.fd == self._wake_reader:
                with contextlib.suppress(BlockingIOError):
                    while len(os.read(self._wake_reader, 4096)) == 4096:
                        pass
        self.idle = False

    def _timeout(self) -> float:
        """How long the thread may sleep."""
        now = time.monotonic()
        times = [now + 60.0]
        if self._builder:
            if self._may_build():
                if self._flush_wanted or len(self._intake) >= _URGENT_EVENTS:
                    return 0.0
                if self._due_at is None:
                    self._due_at = now + LINGER_S
                times.append(self._due_at)
            else:
                times.append(now + 0.05)
        if self._link is None:
            at = self._connector.next_at
            if at is not None:
                times.append(at)
        elif self.welcome is not None:
            times.append(self._last_frame_at + self.welcome.lease_s / 3)
            if self._outbox.unacked_events:
                times.append(self._last_answer_at + _ACK_TIMEOUT_S)
        return max(0.0, min(times) - now)

    # Connecting.

    def _connect(self) -> None:
        if self._link is not None:
            return
        # A local service is not started just because an idle process lost it.
        may_start = bool(self._builder) or not self._outbox.is_empty or not self.welcomed.is_set()
        result = self._connector.advance(may_start=may_start)
        if isinstance(result, Connected):
            self._take_link(result)
        elif result is not None:
            self._not_connected(result)

    def _take_link(self, connected: Connected) -> None:
        now = time.monotonic()
        self._link = connected.link
        self._selector.register(self._link, selectors.EVENT_READ)
        self.welcome = connected.welcome
        self._last_frame_at = self._last_answer_at = now
        self._outbox.rewind()
        self._outbox.ack(connected.welcome.resume_after)
        self.welcomed.set()
        if "down" in self._warned:
            logger.warning("connected to the flowspan service at %s again", self._link.address)
        self._warned.clear()

    def _not_connected(self, error: FlowspanError) -> None:
        text = str(error)
        patient = isinstance(error, ServiceUnavailableError)
        if patient and time.monotonic() - self._down_since < _WARN_AFTER_S:
            return
        if patient and self._outbox.is_empty and not self._builder:
            return
        self._warn("down", "%s Events are kept until it answers.", text)

    def _drop_link(self, why: str) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        logger.info("the connection to %s broke: %s", link.address, why)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(link)
        link.close()
        self._down_since = time.monotonic()
        self._outbox.rewind()
        self._connector.lost()

    # Reading.

    def _read(self, link: Link) -> None:
        while True:
            messages = link.receive()
            for message in messages:
                self._last_answer_at = time.monotonic()
                response = read_response(message)
                frame = response.WhichOneof("frame")
                if frame == "ack":
                    self._outbox.ack(response.ack.up_to_sequence)
                    for verdict in response.ack.verdicts:
                        self._take_verdict(verdict)
                elif frame == "command":
                    self._take_command(response.command)
            if link.ended is not None:
                raise link.ended
            if not messages:
                return

    def _take_verdict(self, verdict: verdict_pb2.Verdict) -> None:
        if verdict.kind == _VERDICT_ABORT:
            self._warn(
                f"abort {verdict.run_id}",
                "run %s is to be stopped: %s (%s)",
                *(verdict.run_id, verdict.reason, verdict.rule),
            )
            self._stop_run(verdict.run_id, verdict.reason, True)  # noqa: FBT003 - a callback's
        elif verdict.kind == _VERDICT_REJECTED:
            self._warn(
                f"rejected {verdict.run_id} {verdict.rule}",
                "the service did not take a state of run %s: %s (%s)",
                *(verdict.run_id, verdict.reason, verdict.rule),
            )

    def _take_command(self, command: report_pb2.Command) -> None:
        if command.WhichOneof("command") == "cancel_run":
            cancel = command.cancel_run
            self._stop_run(cancel.run_id, cancel.reason, False)  # noqa: FBT003 - a callback's
        # Drain asks for nothing yet: the service ends the stream, and the session is resumed.

    # Building and sending.

    def _may_build(self) -> bool:
        """Whether what waits is to be taken in: not while the service has enough to do."""
        return self._link is None or (
            self._outbox.next is None and self._outbox.sent_bytes < _MAX_SENT_BYTES
        )

    def _build(self) -> None:
        now = time.monotonic()
        if not self._builder:
            self._due_at = None
            return
        hurried = self._flush_wanted or len(self._intake) >= _URGENT_EVENTS
        if not hurried and (self._due_at is None or now < self._due_at):
            return
        while self._builder and self._may_build():
            batch, passed = self._builder.build(self._outbox.built)
            if batch is not None:
                self._outbox.add(batch)
                if self._link is not None:
                    self._send(self._link)
            self._flush_wanted -= len(passed)
            self._flushes += passed
        if not self._builder:
            self._due_at = None

    def _send(self, link: Link) -> None:
        welcome = self.welcome
        assert welcome is not None  # noqa: S101 - there is no link without
        outbox = self._outbox
        while (batch := outbox.next) is not None:
            if link.unsent_bytes >= _MAX_UNSENT_BYTES or outbox.sent_bytes >= _MAX_SENT_BYTES:
                break
            count = batch.last - batch.first + 1
            if outbox.unacked_events and outbox.unacked_events + count > welcome.max_unacked_events:
                break
            assert batch.data is not None  # noqa: S101 - loaded
            if not outbox.unacked_events:
                self._last_answer_at = time.monotonic()
            outbox.sent(batch)
            link.send(batch_frame(batch.data))
            self._last_frame_at = time.monotonic()
        link.pump()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.wants_to_write else 0)
        self._selector.modify(link, events)

    def _keep_alive(self, link: Link) -> None:
        now = time.monotonic()
        assert self.welcome is not None  # noqa: S101 - there is no link without
        if self._outbox.unacked_events and now - self._last_answer_at > _ACK_TIMEOUT_S:
            raise LinkClosedError("DEADLINE_EXCEEDED", f"no ack within {_ACK_TIMEOUT_S:g} s")
        if now - self._last_frame_at >= self.welcome.lease_s / 3:
            link.send(HEARTBEAT_FRAME)
            self._last_frame_at = now

    def _resolve_flushes(self) -> None:
        waiting = []
        for request in self._flushes:
            if request.target is not None and request.target <= self._outbox.acked:
                request.done.set()
            else:
                waiting.append(request)
        self._flushes = waiting

    # Ending.

    def _end(self) -> None:
        self._connector.abandon()
        link = self._link
        if link is not None:
            with contextlib.suppress(LinkClosedError):
                if self._outbox.is_empty and not self._builder:
                    link.send(GOODBYE_FRAME)
                    link.half_close()
                    deadline = time.monotonic() + _GOODBYE_TIMEOUT_S
                    while time.monotonic() < deadline:
                        link.wait(_GOODBYE_TIMEOUT_S)
            link.close()
        self._selector.close()
        for handle in self.descriptors():
            os.close(handle)

    def _bad_event(self, event: Event, error: Exception) -> None:
        logger.error("an event could not be encoded and is left out: %.200r (%r)", event, error)

    def _warn(self, key: str, text: str, *args: object) -> None:
        """Warns, once for each key between two connections."""
        if key not in self._warned:
            self._warned.add(key)
            logger.warning(text, *args)
