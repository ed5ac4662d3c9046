"""The reporter's thread, which takes events, sends batches, reads acks and keeps the session alive.

All unacknowledged events are in the backlog; the link comes and goes. One pass of the loop waits
for something to do, reads the link, builds batches, writes, and checks the timeouts.

The thread needs the GIL briefly every third of the lease. Pure Python code releases it regularly; C
code that holds it for longer than the lease makes the process look dead. Its runs are then CRASHED
until the next report, which overrides that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.core.commands import CANCEL, Command
from flowspan.exceptions import FlowspanError, ServiceUnavailableError
from flowspan.own_threads import own_thread
from flowspan.reporter.backlog import MAX_SENT_BYTES, Backlog
from flowspan.reporter.commands import decode
from flowspan.reporter.encoding.events import GOODBYE_FRAME, HEARTBEAT_FRAME
from flowspan.reporter.frame_limit import FrameLimit
from flowspan.reporter.intake import NO_CONNECTION_YET
from flowspan.reporter.short_runs import CAPABILITY
from flowspan.reporter.spool.orphans import adopt_spools
from flowspan.reporter.spool.run_starts import Starts
from flowspan.reporter.tally import Tally
from flowspan.reporter.transport.connector import Connected, Connector
from flowspan.reporter.transport.session import read_response
from flowspan.reporter.transport.stream import LinkClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.connection.address import Address
    from flowspan.reporter.intake import Intake
    from flowspan.reporter.transport.protocol import ReportTransport
    from flowspan.reporter.transport.session import WelcomeInfo
    from flowspan.v1 import verdict_pb2

logger = logging.getLogger("flowspan.reporter")

LINGER_S = 0.004
"""Time that an event may wait for others to share its batch."""

BUSY_LINGER_S = 0.01
"""The same while one batch follows another on a connection. Each batch has a fixed cost and takes
the GIL from user code, so fewer and larger batches are better."""

FIRST_KEPT_TIMEOUT_S = 2.0
"""Maximum wait until the first event of a process is in the spool."""

STALL_S = 2.0
"""Time without an answer after which events are spooled although there is a connection."""

ACK_TIMEOUT_S = 20.0
"""Time without an answer after which the connection is dropped."""

_URGENT_EVENTS = 2000
_MAX_UNSENT_BYTES = 1 << 20
_GOODBYE_TIMEOUT_S = 0.5
_ADOPTER_TIMEOUT_S = 1.0
_WARN_AFTER_S = 5.0
_FULL_S = 0.05
_OF_USE_AFTER_S = 1.0
_GIVEN_AWAY_S = 60.0
_MAX_GIVEN_AWAY = 2
"""Takeovers of the session per minute that are tolerated without an error message."""
_MAX_VERDICTS_SAID = 10
_VERDICT_REJECTED = 3
_EVENT_IS_KNOWN = "event_is_known"
_VERDICT_ABORT = 5


class Loop:
    """The reporter's thread and the objects it owns.

    Attributes:
        idle: True if the thread sleeps and the next event must wake it.
        welcome: The service's latest Welcome; None before the first one.
        welcomed: Set when the service has answered for the first time.
        backlog: The unacknowledged events.
        starts: The starts of runs on disk, until the backlog has stored them.
        trouble: The reason why there is no connection, for people; empty while there is one.
        has_warned: True if the missing connection was already logged.
        problem_said: The spool problem that was logged last; empty if the spool works.
    """

    def __init__(
        self,
        config: Config,
        session_id: str,
        intake: Intake,
        deliver: Callable[[Command], object],
        *,
        secret: bytes,
        tally: Tally | None = None,
    ) -> None:
        """Create the loop without starting its thread; call `start`.

        Args:
            config: The settings.
            session_id: The session to report in.
            intake: The source of events.
            deliver: Called with each command of the service to a run.
            secret: Proves to the service that the session belongs to this process.
            tally: Counts what the loop does; None for no counts.
        """
        self.idle = False
        self.welcome: WelcomeInfo | None = None
        self.welcomed = threading.Event()
        self._tally = tally or Tally()
        self.backlog = Backlog(config, session_id, intake, secret=secret, tally=self._tally)
        self._tally.add(self.backlog)
        self.starts = Starts(config)
        self.trouble = NO_CONNECTION_YET
        self.has_warned = False
        self._is_hopeless = False
        self._config = config
        self._intake = intake
        self._deliver = deliver
        self._link: ReportTransport | None = None
        self._wake_reader, self._wake_writer = os.pipe()
        for handle in (self._wake_reader, self._wake_writer):
            os.set_blocking(handle, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._connector = Connector(
            *(config, session_id, self.wake),
            secret=secret,
            acked_sequence=lambda: self.backlog.outbox.acked,
        )
        self._limit = FrameLimit(self._say_too_large)
        self._due_at: float | None = None
        self._first_kept = threading.Event()
        self._is_first_wanted = False
        self._last_frame_at = 0.0
        self._last_answer_at = 0.0
        self._down_since = clock.monotonic()
        self.problem_said = ""
        self._verdicts_said: dict[str, int] = {}
        self._own_errors: set[str] = set()
        self._has_said_older = False
        self._is_readable = False
        self._is_closing = False
        self._is_of_use = False
        self._taken_at = 0.0
        self._given_away_at: list[float] = []
        self._adopter = own_thread("flowspan-adopter", self._adopt)
        self._adopts_itself = False
        """True if it was too late to start a thread: Python 3.12 starts none at its exit."""
        self._thread = own_thread("flowspan-reporter", self._run)

    # Called by other threads.

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def keep_first(self) -> None:
        """Wait until the queued events are in the spool, so that a kill leaves a trace."""
        self._first_kept.clear()
        self._is_first_wanted = True
        self.wake()
        self._first_kept.wait(FIRST_KEPT_TIMEOUT_S)

    def wake(self) -> None:
        """Wake the thread for another pass."""
        self.idle = False
        with contextlib.suppress(OSError):  # full: it is awake; closed: it has ended
            os.write(self._wake_writer, b"\0")

    def connect_soon(self) -> None:
        """Make the next connection attempt due now: the service is reachable."""
        self._connector.hurry()
        self.wake()

    @property
    def is_hopeless(self) -> bool:
        """True if the last connection attempt failed for a reason that does not pass with time.

        A setting or the installation must be fixed. If that was the access token, and its file has
        another one by now, there is hope again.
        """
        return self._is_hopeless and not self._connector.has_another_token

    @property
    def is_alive(self) -> bool:
        """True if the thread is running."""
        return self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """True if the calling thread is the loop's."""
        return self._thread is threading.current_thread()

    def close(self, timeout_s: float) -> None:
        """End the session, with a Goodbye if there is a connection, and join the thread."""
        self._is_closing = True
        self.wake()
        self._thread.join(timeout_s)
        if self._adopts_itself:
            self._thread.join(_ADOPTER_TIMEOUT_S)
        if self._adopter.ident is not None:
            self._adopter.join(_ADOPTER_TIMEOUT_S)

    def forget(self) -> None:
        """Close the child's copies of the parent's descriptors after a fork."""
        self._selector.close()
        for handle in (self._wake_reader, self._wake_writer):
            os.close(handle)

    # Run by the thread itself.

    def _run(self) -> None:
        while not self._is_closing:
            try:
                self._pass()
            except Exception as error:  # noqa: BLE001 - the thread must survive any error
                self._say_own_error(error)
                self._recover()
                clock.sleep(0.1)
        try:
            self._end()
        except Exception:
            logger.exception("the reporter had an internal error while it was ending")
        if self._adopts_itself:
            self._adopt()

    def _say_own_error(self, error: Exception) -> None:
        """Log an internal error with its traceback, each kind once: it may recur in every pass."""
        kind = repr(error)
        level = logging.DEBUG if kind in self._own_errors else logging.ERROR
        self._own_errors.add(kind)
        logger.log(level, "the reporter had an internal error; it continues", exc_info=error)

    def _recover(self) -> None:
        """Drop the connection after an internal error. The thread must not end here."""
        try:
            self._drop_link("an internal error of the reporter")
        except Exception:
            logger.exception("the reporter could not even spool its events; it continues")

    def _pass(self) -> None:
        self._wait()
        self._connect()
        try:
            if self._link is not None and self._is_readable:
                self._read(self._link)
            self._build()
            if self._link is not None:
                self._send(self._link)
                self._keep_alive(self._link)
        except LinkClosedError as error:
            self._ended(error)
        if self._is_first_wanted and not self.backlog.has_unbuilt:
            self._is_first_wanted = False
            self._first_kept.set()
        self._say_if_not_kept()
        self.backlog.resolve_flushes()
        self.starts.forget(if_true=self.backlog.is_safe)

    def _wait(self) -> None:
        timeout = self._timeout()
        if timeout > 0:
            self.idle = not self.backlog.has_unbuilt
            if self.idle and self._intake:  # an event came before the flag was set
                self.idle = False
                timeout = 0.0
        self._is_readable = False
        for key, events in self._selector.select(timeout):
            if key.fd != self._wake_reader:
                self._is_readable = bool(events & selectors.EVENT_READ)
                continue
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_reader, 4096)
        self.idle = False

    def _timeout(self) -> float:
        """Return the time that the thread may sleep."""
        now = clock.monotonic()
        until = now + 60.0
        if self.backlog.has_unbuilt:
            if self._due_at is None:
                is_busy = self._link is not None and now - self._last_frame_at < 2 * BUSY_LINGER_S
                self._due_at = now + (BUSY_LINGER_S if is_busy else LINGER_S)
            if not self._is_ready():
                until = now + _FULL_S
            elif self._is_hurried():
                return 0.0
            else:
                until = self._due_at
        if self._link is None:
            next_at = self._connector.next_at
            until = until if next_at is None else min(until, next_at)
        elif self.welcome is not None:
            until = min(until, self._last_frame_at + self.welcome.lease_s / 3)
            if self.backlog.outbox.unacked_events:
                until = min(until, self._last_answer_at + ACK_TIMEOUT_S)
                if now <= self._last_answer_at + STALL_S:
                    until = min(until, self._last_answer_at + STALL_S + _FULL_S)
        return max(0.0, until - now)

    # Connecting.

    def _connect(self) -> None:
        if self._link is not None:
            return
        # An idle process that has lost the local service does not restart it.
        may_start = not self.backlog.is_empty or not self.welcomed.is_set()
        result = self._connector.advance(may_start=may_start)
        if isinstance(result, Connected):
            self._take_link(result)
        elif result is not None:
            self._not_connected(result)

    def _take_link(self, connected: Connected) -> None:
        self._link = connected.link
        self._is_readable = True  # more messages may follow the Welcome
        self._selector.register(self._link, selectors.EVENT_READ)
        self.welcome = connected.welcome
        self._taken_at = self._last_frame_at = self._last_answer_at = clock.monotonic()
        welcome = connected.welcome
        acked = self.backlog.outbox.acked
        self.backlog.resume(welcome.resume_after, joins=CAPABILITY in welcome.capabilities)
        self._limit.connected(welcome.max_frame_bytes)
        self.backlog.fit_logs(self._limit)
        self.trouble = ""
        self._is_hopeless = False
        self._is_of_use = False
        if self.has_warned:
            again = " again" if self.welcomed.is_set() else ""
            logger.warning("the flowspan service at %s answers%s", self._link.address, again)
            self.has_warned = False
        if not self.welcomed.is_set():
            try:
                self._adopter.start()
            except RuntimeError:
                self._adopts_itself = True
        self.welcomed.set()
        for verdict in connected.welcome.verdicts:
            if verdict.sequence > acked:  # otherwise an ack brought it
                self._take_verdict(verdict)

    def _adopt(self) -> None:
        """Send the spools of earlier processes; blocks."""
        try:
            assert self.welcome is not None  # noqa: S101 - started by it
            adopt_spools(self._config, self.welcome.address)
        except Exception:
            logger.exception("the spools of earlier processes could not be searched")

    def _not_connected(self, error: FlowspanError) -> None:
        self.trouble = str(error)
        self._is_hopeless = not error.retryable
        if isinstance(error, ServiceUnavailableError) and (
            self.backlog.is_empty or clock.monotonic() - self._down_since < _WARN_AFTER_S
        ):
            return
        if not self.has_warned:
            self.has_warned = True
            if self.backlog.is_empty:  # a spool problem is reported when it occurs
                logger.warning("%s", error)
                return
            self.backlog.build_and_keep()
            self.problem_said = self.backlog.spool.problem
            where = self.backlog.whereabouts()
            logger.warning("%s Until it answers, reported events are kept %s", error, where)

    def _say_if_not_kept(self) -> None:
        """Warn once for each reason why events that should be on disk are not."""
        problem = self.backlog.spool.problem
        if problem == self.problem_said or not problem:
            self.problem_said = problem
        elif self._is_spooling() and (
            self._link is not None or clock.monotonic() - self._down_since > STALL_S
        ):
            self.problem_said = problem
            where = self.backlog.whereabouts()
            logger.warning("Events that the service has not stored are kept %s", where)

    def _ended(self, error: LinkClosedError) -> None:
        """Handle the end of the stream: reconnect, without a refused event."""
        address = self._link.address if self._link is not None else None
        is_divided = error.is_about_size and self._limit.learn()
        self._drop_link(str(error))
        self._connector.wait(error.retry_after_s)
        if error.status == "ABORTED":
            self._session_given_away(address, error)
        if is_divided:
            logger.warning(
                "the service at %s refused a report as too large (%s): it is sent in parts",
                *(address, error.message),
            )
        if is_divided or error.status != "INVALID_ARGUMENT":
            return
        is_replaced = error.sequence is not None and self.backlog.replace(error.sequence)
        logger.error(
            "the service at %s refused a report (%s): %s",
            *(address, error.message, "the event is dropped" if is_replaced else "trying again"),
        )
        if not is_replaced:
            self._connector.be_patient()

    def _say_too_large(self, sequence: int) -> None:
        logger.error("event %d is too large for the service and is dropped", sequence)

    def _session_given_away(self, address: Address | None, error: LinkClosedError) -> None:
        """Handle the loss of the session to another connection.

        Usually the service, having been stopped or busy, has only now accepted an earlier
        connection that this process had given up; the next connection gets the session back. If
        it happens repeatedly, a copy of this process (for example of a machine's snapshot) reports
        in the same session. All that can be done here is not to fight for it in a tight loop.
        """
        now = clock.monotonic()
        self._given_away_at = [at for at in self._given_away_at if now - at < _GIVEN_AWAY_S]
        self._given_away_at.append(now)
        if len(self._given_away_at) > _MAX_GIVEN_AWAY:
            logger.error(
                "the service at %s gave the session to another connection: %s",
                address,
                error.message,
            )
            self._connector.be_patient()

    def _drop_link(self, why: str) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        logger.info("the connection to %s broke: %s", link.address, why)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(link)
        link.close()
        self.trouble = f"the connection to {link.address} broke: {why}"
        now = clock.monotonic()
        is_of_use = self._is_of_use or now - self._taken_at > _OF_USE_AFTER_S
        if is_of_use:
            self._down_since = now
        self.backlog.outbox.rewind()
        self._connector.lost(was_of_use=is_of_use)
        if not is_of_use:
            self._not_connected(ServiceUnavailableError(f"{self.trouble}."))
        # First of all: the process may be killed at any moment.
        self.backlog.build_and_keep()

    # Reading.

    def _read(self, link: ReportTransport) -> None:
        # Read only once: each read of the socket releases the GIL. The next pass reads the rest.
        for message in link.receive():
            self._last_answer_at = clock.monotonic()
            response = read_response(message)
            frame = response.WhichOneof("frame")
            if frame == "ack":
                self._is_of_use = True
                self.backlog.ack(response.ack.up_to_sequence)
                self._limit.acked(response.ack.up_to_sequence)
                for verdict in response.ack.verdicts:
                    self._take_verdict(verdict)
            elif frame == "command":
                command = decode(response.command)
                if command is not None:
                    self._deliver(command)
        if link.ended is not None:
            raise link.ended

    def _take_verdict(self, verdict: verdict_pb2.Verdict) -> None:
        if verdict.kind == _VERDICT_ABORT:
            self._say_verdict("stopping run %s: %s (%s)", verdict)
            self._deliver(Command(CANCEL, verdict.run_id, verdict.reason))
        elif verdict.kind == _VERDICT_REJECTED and verdict.run_id:
            self._say_verdict("the service rejected an event of run %s: %s (%s)", verdict)
        elif verdict.kind == _VERDICT_REJECTED and verdict.rule != _EVENT_IS_KNOWN:
            self._say_verdict("the service rejected an artifact%s: %s (%s)", verdict)
        elif verdict.rule == _EVENT_IS_KNOWN and self._intake.has_had_artifacts:
            # Otherwise it answers a placeholder.
            self._say_that_artifacts_are_lost()

    def _say_that_artifacts_are_lost(self) -> None:
        if self._has_said_older or self._link is None or self.welcome is None:
            return
        self._has_said_older = True
        logger.warning(
            "the service at %s is older than this client (version %s) and stores no artifacts: "
            "those of this process are lost. Upgrade the service: pip install --upgrade flowspan.",
            *(self._link.address, self.welcome.server_version or "unknown"),
        )

    def _say_verdict(self, text: str, verdict: verdict_pb2.Verdict) -> None:
        """Log a verdict, as a warning only for the first few verdicts of each rule."""
        said = self._verdicts_said[verdict.rule] = self._verdicts_said.get(verdict.rule, 0) + 1
        level = logging.WARNING if said <= _MAX_VERDICTS_SAID else logging.DEBUG
        logger.log(level, text, verdict.run_id, verdict.reason, verdict.rule)
        if said == _MAX_VERDICTS_SAID:
            logger.warning("further answers by the rule %s are not logged", verdict.rule)

    # Building and sending.

    def _is_spooling(self) -> bool:
        """Return True if events go to disk: the service is unreachable, stalled or too slow."""
        now = clock.monotonic()
        if self._link is None:
            return True
        is_stalled = self.backlog.outbox.unacked_events > 0 and now - self._last_answer_at > STALL_S
        return is_stalled or self.backlog.is_crowded

    def _is_ready(self) -> bool:
        """Return True if queued events may be put into batches now."""
        return (self._link is not None and self.backlog.may_build) or self._is_spooling()

    def _is_hurried(self) -> bool:
        return (
            self._is_first_wanted
            or self.backlog.is_flush_wanted
            or len(self._intake) >= _URGENT_EVENTS
        )

    def _build(self) -> None:
        backlog = self.backlog
        if backlog.has_unbuilt and not self._is_hurried():
            now = clock.monotonic()
            if self._due_at is None or now < self._due_at:
                return
        # The first events are spooled in any case: data sent right before a kill may be lost with
        # the connection.
        if self._is_spooling() or self._is_first_wanted:
            backlog.build_and_keep()
        elif self._link is not None:
            while backlog.has_unbuilt and backlog.may_build:
                backlog.build()
                self._send(self._link)
        if not backlog.has_unbuilt:
            self._due_at = None

    def _send(self, link: ReportTransport) -> None:
        welcome = self.welcome
        assert welcome is not None  # noqa: S101 - a link has a Welcome
        backlog, outbox = self.backlog, self.backlog.outbox
        while (batch := outbox.next) is not None:
            if link.unsent_bytes >= _MAX_UNSENT_BYTES or outbox.sent_bytes >= MAX_SENT_BYTES:
                break
            unacked = outbox.unacked_events
            if unacked + batch.last - batch.first >= welcome.max_unacked_events:
                if unacked:
                    break
                if batch.last > batch.first:
                    backlog.divide_next(welcome.max_unacked_events)
                    continue
            if not unacked:
                self._last_answer_at = clock.monotonic()
            data = backlog.spool.load(outbox, batch)
            outbox.sent(batch)
            for frame in self._limit.frames(data, batch.last):
                link.send(frame)
            self._last_frame_at = clock.monotonic()
        link.pump()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.wants_to_write else 0)
        self._selector.modify(link, events)

    def _keep_alive(self, link: ReportTransport) -> None:
        now = clock.monotonic()
        assert self.welcome is not None  # noqa: S101 - a link has a Welcome
        if self.backlog.outbox.unacked_events and now - self._last_answer_at > ACK_TIMEOUT_S:
            raise LinkClosedError("DEADLINE_EXCEEDED", f"no ack within {ACK_TIMEOUT_S:g} s")
        if now - self._last_frame_at >= self.welcome.lease_s / 3:
            link.send(HEARTBEAT_FRAME)
            self._last_frame_at = now

    # The end of the thread.

    def _end(self) -> None:
        self._connector.abandon()
        link = self._link
        if link is not None:
            with contextlib.suppress(LinkClosedError):
                if self.backlog.is_empty:
                    link.send(GOODBYE_FRAME)
                    link.half_close()
                    deadline = clock.monotonic() + _GOODBYE_TIMEOUT_S
                    while clock.monotonic() < deadline:
                        link.wait(_GOODBYE_TIMEOUT_S)
            link.close()
        if not self.backlog.is_empty:
            self.backlog.keep_for_good()
        self.backlog.spool.close()
        self._tally.remove(self.backlog)
        self.starts.close()
        self._selector.close()
        for handle in (self._wake_reader, self._wake_writer):
            os.close(handle)
