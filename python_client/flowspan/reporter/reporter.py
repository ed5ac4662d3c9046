"""The reporter: the interface of the transport for the rest of the client.

There is one per process. It starts with the first event, ends with the process, and survives a
fork: the child's reporter is the same object with its own session and no state of the parent.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import uuid
from typing import TYPE_CHECKING, NamedTuple

from flowspan import clock
from flowspan.config import get_config
from flowspan.core.commands import CANCEL, Command
from flowspan.core.events import LOG, STATE
from flowspan.core.limits import SECRET_BYTES
from flowspan.exceptions import FlowspanError
from flowspan.reporter.intake import (
    FLUSH,
    MAX_WAITING_STATES,
    NO_CONNECTION_YET,
    FlushRequest,
    Intake,
)
from flowspan.reporter.tally import process_tally
from flowspan.reporter.waiting import wait_for_acks

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.connection.address import Address
    from flowspan.core.commands import Inbox
    from flowspan.core.events import Event
    from flowspan.reporter.loop import Loop
    from flowspan.reporter.transport.session import WelcomeInfo

logger = logging.getLogger("flowspan.reporter")

EXIT_TIMEOUT_S = 2.0
"""Maximum time that the end of the process waits for a service that does not answer."""

_SLOW_DOWN_S = 0.1
_SLOW_DOWN_STEP_S = 0.002
_SAY_AFTER_S = 1.0
"""Time that a flush waits silently without a connection."""
_SAY_OF_SLOWNESS_AFTER_S = 3.0
"""The same if the service is connected but does not answer, or if the local one is starting."""
_SPOOL_TIMEOUT_S = 30.0
_SHORT_TIMEOUT_S = 0.05


class FlushOutcome(NamedTuple):
    """The outcome of a flush.

    Attributes:
        acked: True if the service has stored all events.
        spooled: True if the events are safe anyway: those that the service has not stored are on
            disk.
    """

    acked: bool
    spooled: bool


class Reporter:
    """The entry point for events, which delivers them to the service.

    Args:
        config: The settings; None reads those of the process at the first event.

    Attributes:
        session_id: The session to report in.
        session_secret: Proves to the service that the session belongs to this process.
        search: Takes the commands to runs without an inbox, in the reporter's thread; it must
            return at once. By default, they are ignored.
    """

    def __init__(self, config: Config | None = None) -> None:
        self._config = config
        self._is_retired = False
        self.search: Callable[[Command], object] = _ignore
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._inboxes: dict[str, Inbox] = {}
        self._intake = Intake()
        self._states = self._intake.states
        self._loop: Loop | None = None
        self._running_loop: Loop | None = None
        """The same loop, once the first state of a run is spooled."""
        self._stranded: Loop | None = None
        """A loop without a thread: Python starts none once the main thread has ended."""
        self._has_given_up = False
        self._missing_said = ""
        self.session_id = str(uuid.uuid4())
        self.session_secret = os.urandom(SECRET_BYTES)

    def load(self) -> None:
        """Import what the first event needs, to keep this out of the first run's span.

        HTTP/2 and the stubs take 60 ms, so they are not imported with the module.
        """
        import flowspan.reporter.loop  # noqa: F401, PLC0415 - measured, see above

    def emit(self, event: Event) -> None:
        """Accept an event (see flowspan.core.events). Never raises.

        Apply backpressure only if events arrive faster than they can be processed: if 100,000
        states, 50,000 log records, or 64 MiB of long records and artifacts are queued, each call
        waits up to a tenth of a second for room, so that memory does not run out. Logs are thus
        slowed down to the pace of a responsive service. States go to disk, and so do all events
        while the service does not answer.
        """
        code = event[0]
        if code >= LOG:
            intake = self._intake
            if code == LOG:
                intake.put_log(event)
            else:
                intake.put_artifact(event)
            if intake.is_overfull:
                self._slow_down()
        else:
            states = self._states
            states.append(event)
            if len(states) > MAX_WAITING_STATES:
                self._slow_down()
        loop = self._running_loop
        if loop is None:
            self._begin(event)
        elif loop.idle:
            loop.wake()

    def emit_start(self, created: Event, running: Event) -> None:
        """Accept the event with which a run begins, and write it to disk before returning.

        Args:
            created: The CREATED event of the same run, already emitted.
            running: The event.
        """
        is_first = self._running_loop is None
        self.emit(running)
        loop = self._loop
        # `emit` has already waited until the first one was in the spool.
        if loop is not None and not is_first:
            loop.starts.keep(created, running)

    def flush(self, timeout_s: float | None = None) -> FlushOutcome:
        """Wait until the service has stored all events emitted before, or until they are spooled.

        Args:
            timeout_s: Time without an answer from the service after which unstored events are
                spooled; None for the setting flush_timeout_s. After such a timeout, further calls
                do not wait until the service answers again.
        """
        loop = self._loop
        # The thread cannot wait for itself. It would if a garbage-collected run (a generator, for
        # example) ends in this thread.
        if self._stranded is not None:
            return FlushOutcome(acked=False, spooled=self._keep_alone(self._stranded))
        if loop is None or not loop.is_alive or loop.is_current:
            return FlushOutcome(acked=not self._intake, spooled=not self._intake)
        if timeout_s is None:
            timeout_s = self._get_config().flush_timeout_s
        is_known_to_be_away = (self._has_given_up or loop.is_hopeless) and bool(loop.trouble)
        request = self._ask_for_flush(loop)
        silence_s = min(timeout_s, _SHORT_TIMEOUT_S) if is_known_to_be_away else timeout_s
        patience = _Patience(self, loop, self._get_config(), silence_s)
        try:
            is_acked = wait_for_acks(
                loop, request, silence_s=silence_s, timeout_s=timeout_s, may_go_on=patience.ask
            )
        except BaseException:  # after Ctrl-C, do not wait again at exit
            request.to_spool = True
            self.give_up()
            raise
        if is_acked:
            self._has_given_up = False
            self._missing_said = ""
            return FlushOutcome(acked=True, spooled=True)
        request.to_spool = True
        loop.wake()
        request.done.wait(_SPOOL_TIMEOUT_S)
        if request.is_acked or request.is_overtaken_by(loop.backlog.outbox.acked):
            return FlushOutcome(acked=True, spooled=True)
        self._say_what_is_missing(loop, is_spooled=request.is_spooled, timeout_s=silence_s)
        return FlushOutcome(acked=False, spooled=request.is_spooled)

    def give_up(self) -> None:
        """End the flushes that wait for an unreachable service; their events are spooled.

        May be called from any thread. Further flushes do not wait until the service answers again.
        """
        self._has_given_up = True
        loop = self._loop
        if loop is not None:
            loop.wake()

    @property
    def has_given_up(self) -> bool:
        """True if flushes no longer wait for the service, until it answers again."""
        return self._has_given_up

    def wait_stored(self, address: Address, timeout_s: float | None) -> bool:
        """Wait until the service has stored all events emitted before, or until waiting is futile.

        Unlike `flush`, spools nothing and logs nothing: the caller is about to query the service,
        and notices if it is unreachable.

        Args:
            address: The caller's address of the service. Without a connection, the reporter waits
                only while a server answers there.
            timeout_s: Time without an answer from the service, in seconds; the setting
                flush_timeout_s if that is less, or if None.

        Returns:
            True if the service has stored all of them.
        """
        loop = self._loop
        if loop is None or not loop.is_alive or loop.is_current:
            return not self._intake
        longest_s = self._get_config().flush_timeout_s
        timeout_s = longest_s if timeout_s is None else min(timeout_s, longest_s)
        request = self._ask_for_flush(loop)

        from flowspan.connection.address import is_reachable  # noqa: PLC0415 - see load

        hurries = iter([loop.connect_soon])  # once: a failed attempt may back off

        def may_be_back() -> bool:
            if not loop.trouble:
                return True
            if not is_reachable(address):
                return False
            for hurry in hurries:
                hurry()
            return True

        return wait_for_acks(
            loop, request, silence_s=timeout_s, timeout_s=timeout_s, may_go_on=may_be_back
        )

    def _ask_for_flush(self, loop: Loop) -> FlushRequest:
        request = FlushRequest()
        with self._lock:
            self._intake.states.append((FLUSH, request))
            self._intake.logs.append((FLUSH, request))
            loop.backlog.flushes_asked += 1
        loop.wake()
        return request

    def wait_welcome(self, timeout_s: float) -> WelcomeInfo | None:
        """Return the service's Welcome; connect first if necessary.

        Returns:
            None if the service has not answered in time.
        """
        if self._loop is None:
            self._start()
        loop = self._loop
        if loop is None or not loop.welcomed.wait(timeout_s):
            return None
        return loop.welcome

    @property
    def is_starting_service(self) -> bool:
        """True until the first attempt to reach or start the local service has ended."""
        loop = self._loop
        if loop is None or not loop.is_alive or loop.trouble != NO_CONNECTION_YET:
            return False
        return self._get_config().address is None

    def watch_commands(self, run_id: str, inbox: Inbox) -> None:
        """Deliver the service's commands to a run to its inbox, until `forget`.

        Also, if the service accepts no more events of the run, because a newer attempt exists or
        the run was deleted, its inbox receives a CANCEL. Commands to a run without an inbox go to
        `search`. The inbox is called in the reporter's
        thread and must return at once. Each run has one inbox; the last one registered wins.
        """
        self._inboxes[run_id] = inbox

    def forget(self, run_id: str) -> None:
        """Remove the inbox registered by `watch_commands`; no-op without one."""
        self._inboxes.pop(run_id, None)

    def close(self, timeout_s: float | None = None) -> FlushOutcome:
        """Flush, send Goodbye and end the thread. A later event begins a new session.

        Args:
            timeout_s: As for `flush`; None for two seconds, or flush_timeout_s if that is less.
        """
        if self._stranded is not None:
            return self._close_alone(self._stranded)
        loop = self._loop
        if loop is None:
            return FlushOutcome(acked=True, spooled=True)
        if timeout_s is None:
            timeout_s = min(EXIT_TIMEOUT_S, self._get_config().flush_timeout_s)
        outcome = FlushOutcome(acked=False, spooled=False)
        try:
            outcome = self.flush(timeout_s)
        except KeyboardInterrupt:
            # Ctrl-C here asks for an immediate end: the missing events go to the spool.
            outcome = self.flush(0.0)
        finally:
            loop.close(max(timeout_s, EXIT_TIMEOUT_S))
            _say_what_is_lost(loop)
            self._reset()
        return outcome

    def is_for(self, config: Config) -> bool:
        """Return True if the reporter accepts events for these settings."""
        return not self._is_retired and self._config in (None, config)

    @property
    def has_runs(self) -> bool:
        """True if runs that take commands have not ended."""
        return bool(self._inboxes)

    def retire(self, reason: str) -> None:
        """Stop the unfinished runs, and close; later events are dropped.

        Args:
            reason: The reason given for cancelling the runs.
        """
        inboxes = self._inboxes
        for run_id in list(inboxes):
            self._deliver(Command(CANCEL, run_id, reason))
        try:
            self.close()
        finally:
            self._is_retired = True
            self._inboxes = inboxes  # for has_runs

    def _get_config(self) -> Config:
        if self._config is None:
            self._config = get_config()
        return self._config

    def _begin(self, event: Event) -> None:
        """Handle the events before the first STATE: leave a trace of the first run on disk.

        The first state is emitted right before the run's function is called, so the trace exists
        however soon the process is killed.
        """
        if self._loop is None:
            self._start()
        loop = self._loop
        if loop is None:
            if self._stranded is not None and event[0] == STATE:
                self._keep_alone(self._stranded)
            return
        if event[0] != STATE:
            loop.wake()
            return
        if not loop.is_current:
            loop.keep_first()
        self._running_loop = loop

    def _start(self) -> None:
        if self._is_retired:
            self._intake = Intake()
            self._states = self._intake.states
            return
        with self._lock:
            if self._loop is not None:
                # The loop may have gone to sleep before the caller could see it.
                self._loop.wake()
                return
            if self._stranded is not None:
                return
            from flowspan.reporter.loop import Loop  # noqa: PLC0415 - see load

            loop = Loop(
                self._get_config(),
                self.session_id,
                self._intake,
                self._deliver,
                secret=self.session_secret,
                tally=process_tally,
            )
            try:
                loop.start()
            except RuntimeError:  # the interpreter is shutting down
                self._stranded = loop
            else:
                self._loop = loop
        _close_with_multiprocessing(self)

    def _keep_alone(self, loop: Loop) -> bool:
        """Spool the queued events in the calling thread; return True if that succeeded."""
        with self._lock:
            return loop.backlog.keep_for_good()

    def _close_alone(self, loop: Loop) -> FlushOutcome:
        """Send the queued events in the calling thread; unsent ones stay in the spool."""
        from flowspan.reporter.spool.orphans import push_spools  # noqa: PLC0415 - at the end, if at all

        is_kept = self._keep_alone(loop)
        with self._lock:
            loop.backlog.spool.close()
            loop.starts.close()
        path, results = loop.backlog.spool.path, []
        if is_kept:
            with contextlib.suppress(FlowspanError):
                results = push_spools(self._get_config())
        is_acked = any(each.is_done for each in results if each.path == path)
        if not is_acked:
            logger.warning(
                "The service has not stored the events reported after the main thread ended. %s",
                f"They are kept in {path} and sent by the next process that uses "
                "flowspan (or by `flowspan spool push`)."
                if is_kept
                else f"They are lost. {loop.backlog.spool.problem}",
            )
        self._reset()
        return FlushOutcome(acked=is_acked, spooled=is_kept)

    def _slow_down(self) -> None:
        deadline = clock.monotonic() + _SLOW_DOWN_S
        while self._intake.is_overfull and clock.monotonic() < deadline:
            clock.sleep(_SLOW_DOWN_STEP_S)

    def _deliver(self, command: Command) -> None:
        try:
            self._inboxes.get(command.run_id, self.search)(command)
        except Exception:
            logger.exception("run %s failed to handle %r", command.run_id, command.kind)

    def _say_what_is_missing(self, loop: Loop, *, is_spooled: bool, timeout_s: float) -> None:
        """Log the missing events and the remedy, once for each outage."""
        self._has_given_up = True
        backlog = loop.backlog
        what = f"{is_spooled} {backlog.spool.problem}"
        if what == self._missing_said:
            return
        self._missing_said = what
        missing = backlog.outbox.built - backlog.outbox.acked
        why = ""
        if not (loop.has_warned and loop.trouble):
            why = loop.trouble or f"it did not answer within {timeout_s:g} s"
            why = f" ({why.rstrip('.')})"
        if is_spooled:
            where = (
                f"They are kept in {backlog.spool.path} and sent as soon as it answers, by this "
                "process or the next that uses flowspan (or by `flowspan spool push`)."
            )
        else:
            is_news = backlog.spool.problem != loop.problem_said
            where = f"They are kept {backlog.whereabouts(with_reason=is_news)}"
        lost = ""
        if backlog.lost_logs or backlog.lost_states:
            lost = f" Dropped: {backlog.lost_logs} log records, {backlog.lost_states} states."
        logger.warning("The service has not stored %d events%s. %s%s", missing, why, where, lost)

    def _after_fork(self) -> None:
        loop = self._loop
        self._reset()
        if loop is not None:
            loop.forget()


def _ignore(_: Command) -> None:
    """Ignore a command."""


def _say_what_is_lost(loop: Loop) -> None:
    count = 0 if loop.is_alive else loop.backlog.count_lost()
    if count:
        logger.error(
            "%d events are lost: this process ends, and neither the service nor the spool has "
            "stored them.",
            count,
        )


class _Patience:
    """A message to the user about a long flush: the reason, and how to end the wait."""

    def __init__(self, reporter: Reporter, loop: Loop, config: Config, silence_s: float) -> None:
        self._reporter = reporter
        self._loop = loop
        self._config = config
        self._silent_since = clock.monotonic()
        self._silence_s = silence_s
        self._acked = loop.backlog.outbox.acked
        self._is_said = False

    def ask(self) -> bool:
        """Return True if the flush may keep waiting."""
        trouble = self._loop.trouble
        is_starting = self._config.address is None and trouble == NO_CONNECTION_YET
        if trouble and (self._reporter.has_given_up or self._loop.is_hopeless):
            return False
        acked, now = self._loop.backlog.outbox.acked, clock.monotonic()
        if acked != self._acked:
            self._acked, self._silent_since = acked, now
        waited_s = now - self._silent_since
        say_after_s = _SAY_AFTER_S if trouble and not is_starting else _SAY_OF_SLOWNESS_AFTER_S
        if not self._is_said and waited_s >= say_after_s:
            self._is_said = True
            self._loop.has_warned = self._loop.has_warned or bool(trouble)
            if is_starting:
                trouble = "It is being started."
            self._say(trouble or "It is connected, but does not answer.", waited_s)
        return True

    def _say(self, trouble: str, waited_s: float) -> None:
        address = self._config.address
        who = f"service at {address}" if address else f"local service of {self._config.home}"
        logger.warning(
            "Waiting for the %s, for at most %.0f s more; press Ctrl-C to stop waiting. %s%s Until "
            "it answers, reported events are kept %s",
            *(who, max(1.0, self._silence_s - waited_s)),
            *(trouble[0].upper() + trouble[1:], "" if trouble.endswith((".", "?")) else "."),
            self._loop.backlog.whereabouts(),
        )


def _close_with_multiprocessing(reporter: Reporter) -> None:
    """Register a finalizer: multiprocessing children skip atexit but run their own finalizers."""
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, reporter.close, exitpriority=0)
        util.Finalize(None, process_tally.close, exitpriority=-1)


_reporters = [Reporter()]
"""The process's current reporter is last; before it, those of earlier settings with runs."""


def get_reporter() -> Reporter:
    """Return the reporter of this process."""
    return _reporters[-1]


def reporter_for(config: Config) -> Reporter:
    """Return this process's reporter for these settings, creating a new one if necessary.

    The previous one is not closed; see `drop_reporter`.
    """
    if not _reporters[-1].is_for(config):
        _reporters.append(Reporter(config))
    return _reporters[-1]


def drop_reporter(reporter: Reporter) -> None:
    """Remove a closed reporter."""
    reporter.search = _ignore  # it refers to the process context, which refers to the reporter
    if reporter in _reporters:
        _reporters.remove(reporter)
    if not _reporters:
        _reporters.append(Reporter())


def _at_exit() -> None:
    for reporter in reversed(_reporters):
        reporter.close()
    process_tally.close()


def _in_child() -> None:
    process_tally.reset()
    del _reporters[:-1]
    for reporter in _reporters:
        reporter._after_fork()  # noqa: SLF001 - a method of this module's class


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_in_child)
