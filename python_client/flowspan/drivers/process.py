"""The process that runs are executed in: the clock, ids, randomness, the reporter.

A process has one `ProcessContext`, made at the first run. It belongs to the settings with which
that run began. If they have changed (another FLOWSPAN_HOME in the next test), the next outermost
run gets a new one. Open runs and whatever they call keep theirs. Unit tests install their own.
"""

from __future__ import annotations

import atexit
import os
import random
import threading
from typing import TYPE_CHECKING, Any

from flowspan import clock, config, telemetry
from flowspan.connection import read_your_writes as own_reports
from flowspan.core.engine import EngineIO
from flowspan.core.events import STATE
from flowspan.core.held_events import current_hold
from flowspan.core.ids import IdMaker
from flowspan.core.result_options import ResultPolicy
from flowspan.core.run import current_run, inherit_runs
from flowspan.drivers.calls.time_skipping import skip
from flowspan.logging.capture import install, note, uninstall

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.connection.read_your_writes import Wait
    from flowspan.core.events import Emit, Event
    from flowspan.core.run import Run
    from flowspan.core.states import State
    from flowspan.reporter import Reporter


class ProcessContext(EngineIO):
    """The engine's outside world, and what else the drivers need of it.

    Attributes:
        new_id: Makes run ids.
        flush: Returns once all that was emitted is acked or safely spooled.
        give_up: Ends the flushes that wait for a service that is away.
        wait_stored: Waits until all that was emitted is acked, by a service and for a time, and
            lets it be if that does not happen.
        on_cancel: Calls a function with the reason when the service asks to cancel a run.
        forget: Ends that.
        log_prints: Whether prints are logged where neither flow nor task says.
        result_policy: How results are kept where neither flow nor task says; None if not at all.
        task_runner: What runs the tasks that were submitted outside of flows; made when needed.
        wait_at_exit: Registered with `atexit` for that.
        config: The settings that it is for; None if it is for any.
        reporter: What takes its events to the service; None if something else does.
    """

    __slots__ = (
        "config",
        "flush",
        "forget",
        "give_up",
        "log_prints",
        "new_id",
        "on_cancel",
        "reporter",
        "result_policy",
        "task_runner",
        "wait_at_exit",
        "wait_stored",
    )

    def __init__(
        self,
        emit: Emit,
        *,
        flush: Callable[[], object],
        on_cancel: Callable[[str, Callable[[str], None]], None],
        forget: Callable[[str], None],
        log_prints: bool = False,
        result_policy: ResultPolicy | None = None,
        wait_stored: Wait | None = None,
        give_up: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(emit, clock.now_ns, random.uniform, note)
        self.new_id = IdMaker(clock.now_ns, random.SystemRandom().getrandbits, threading.Lock())
        self.now_ns = self.new_id.now_ns = clock.wall_clock()
        self.flush = flush
        self.on_cancel = on_cancel
        self.forget = forget
        self.log_prints = log_prints
        self.result_policy = result_policy
        self.give_up = give_up
        self.wait_stored = wait_stored or (lambda _address, _timeout_s: flush())
        self.task_runner: Any = None
        self.wait_at_exit: Callable[[], None] = lambda: None
        self.config: Config | None = None
        self.reporter: Reporter | None = None

    def is_busy(self) -> bool:
        """True if runs that began here have not ended."""
        has_runs = self.reporter is not None and self.reporter.has_runs
        return has_runs or (self.task_runner is not None and self.task_runner.is_busy)

    def close(self) -> None:
        """End what belongs to it; nothing runs here any more."""
        runner, self.task_runner = self.task_runner, None
        if runner is not None:
            atexit.unregister(self.wait_at_exit)
            runner.close()
        if self.reporter is not None:
            from flowspan.reporter import drop_reporter  # noqa: PLC0415 - imported already

            self.reporter.close()
            drop_reporter(self.reporter)


_process: ProcessContext | None = None
_lock = threading.Lock()
_holds: list[None] = []
"""One item for each run that is getting its name; `get_process` looks for a hold only then. Adding
and removing an item is atomic."""
_is_forked = False
_former: list[tuple[str, ProcessContext]] = []
"""Hosts of earlier settings that have runs still, the oldest first, each with the first id that is
not one of its runs': ids are in the order of time."""


def get_process() -> ProcessContext:
    """The host for what begins at the top now; a stand-in while a run gets its name."""
    held = _held() if _holds else None
    if held is not None:
        return held
    process = _process
    if process is None or not (process.config is None or process.config is config.get_config()):
        return _make_process()
    clock.wall_clock()  # follow a clock that was set forward
    return process


def process_of(run: Run | None) -> ProcessContext:
    """The host for what a run calls; None stands for what begins at the top."""
    if run is None:
        return get_process()
    held = _held() if _holds else None
    if held is not None:
        return held
    for end, process in _former:
        if run.record.root_run_id < end:
            return process
    return _process or _make_process()


def _held() -> ProcessContext | None:
    """Return the stand-in for the host if this is the context of a run that is getting its name."""
    held = current_hold.get()
    return held if isinstance(held, ProcessContext) else None


def begin_hold() -> None:
    """Let `get_process` look for the hold of the calling context, until `end_hold`."""
    _holds.append(None)


def end_hold() -> None:
    """Take one `begin_hold` back."""
    _holds.pop()


def flush_reports() -> None:
    """Waits until the service has what this process reported, so that reading finds it.

    Returns at once in a process that has reported nothing.
    """
    if _process is not None or _is_forked:
        get_process().flush()


def _find_wait() -> Wait | None:
    if _process is not None:
        return process_of(current_run.get()).wait_stored
    # Before a run of its own, a forked child may report logs of the one in which it was forked.
    return get_process().wait_stored if _is_forked else None


own_reports.register(_find_wait)


def set_process(process: ProcessContext | None) -> ProcessContext | None:
    """Puts another host in its place, for tests; returns the one before."""
    global _process
    before, _process = _process, process
    return before


def leave_process(reason: str = "") -> None:
    """End the host of this process; what begins at the top next gets a new one.

    Args:
        reason: Why the runs that have not ended are cancelled, and what they report is dropped.
            Without one they go on, and report to the service with which they began.
    """
    global _process
    with _lock:
        process, _process = _process, None
        _leave(process, reason)


def _make_process() -> ProcessContext:
    global _process  # noqa: PLW0603 - one per process
    from flowspan.reporter import reporter_for  # noqa: PLC0415 - not needed to define flows

    with _lock:
        settings = config.get_config()
        before = _process
        if before is not None and (before.config is None or before.config == settings):
            before.config = before.config and settings
            return before
        _leave(before)
        reporter = reporter_for(settings)
        telemetry.configure(settings, service_endpoint=_endpoint_of(reporter))
        telemetry.prepare()
        install(
            _emit_log,
            settings.logging_level,
            console=settings.logging_to_console,
            extra_loggers=settings.logging_extra_loggers,
            colours=settings.logging_colors,
        )
        process = ProcessContext(
            reporter.emit,
            flush=lambda: reporter.flush(settings.flush_timeout_s),
            on_cancel=reporter.on_cancel,
            forget=reporter.forget,
            log_prints=settings.logging_log_prints,
            result_policy=ResultPolicy(persist=True) if settings.persist_results else None,
            wait_stored=reporter.wait_stored,
            give_up=reporter.give_up,
        )
        process.config, process.reporter = settings, reporter
        process.emit_start = reporter.emit_start
        process.skip = skip if settings.skip_retry_delays else None
        if _former:
            # Which sees to it that ids are in the order of time, also within a millisecond.
            process.new_id = _former[-1][1].new_id
        _process = process
        return process


def _leave(process: ProcessContext | None, reason: str = "") -> None:
    """Close a host, and earlier ones; those that have runs still are kept for these."""
    left = list(_former)
    if process is not None:
        uninstall()
        left.append((process.new_id(), process))
    _former.clear()
    for end, each in left:
        if reason and each is process and each.reporter is not None:
            each.reporter.retire(reason)
        if each.is_busy():
            _former.append((end, each))
        else:
            each.close()


def _emit_log(event: Event) -> None:
    process_of(current_run.get()).emit(event)


def _endpoint_of(reporter: Reporter) -> Callable[[float], str | None]:
    """Where the service wants spans to be sent, once it has said so."""

    def endpoint(timeout_s: float) -> str | None:
        welcome = reporter.wait_welcome(timeout_s)
        return welcome.otlp_endpoint if welcome is not None else None

    return endpoint


def _after_fork() -> None:
    global _process, _is_forked, _lock  # noqa: PLW0603 - one per process
    _is_forked = True
    _lock = threading.Lock()
    inherited = inherit_runs()
    if _process is not None and inherited:
        _leave_to_parent(_process, inherited)
    _process = None
    _former.clear()


def _leave_to_parent(process: ProcessContext, ids: set[str]) -> None:
    """How the runs in which a process was forked end is told by the parent, not by the child.

    A child that calls sys.exit, raises or returns goes the way up through them as well.
    """
    emit, note = process.emit, process.note

    def emit_others(event: Event) -> None:
        if event[0] != STATE or event[1] not in ids:
            emit(event)

    def note_others(
        run: Run, level: int, message: str, error: BaseException | State | None
    ) -> None:
        if run.record.id not in ids:
            note(run, level, message, error)

    process.emit, process.note = emit_others, note_others


os.register_at_fork(after_in_child=_after_fork)
