"""The process context of runs: the clock, run ids, randomness and the reporter.

A process has one `ProcessContext`, created for its first run and bound to the settings at that
time. If the settings have changed (another FLOWSPAN_HOME in the next test), the next outermost run
gets a new one. Active runs and their calls keep the one with which they began. Unit tests install
their own.
"""

from __future__ import annotations

import atexit
import os
import random
import threading
from typing import TYPE_CHECKING, Any

from flowspan import clock, config, telemetry
from flowspan.connection import read_your_writes as own_reports
from flowspan.connection.local_service import published
from flowspan.core.engine import EngineIO
from flowspan.core.events import STATE
from flowspan.core.held_events import current_hold
from flowspan.core.ids import IdMaker
from flowspan.core.result_options import ResultPolicy
from flowspan.core.run import current_run, inherit_runs
from flowspan.core.trace_urls import trace_url_told
from flowspan.drivers.calls.time_skipping import skip
from flowspan.drivers.cancellation.search import Search
from flowspan.logging.capture import install, note, uninstall

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.connection.otlp_target import OtlpTarget
    from flowspan.connection.read_your_writes import Wait
    from flowspan.core.commands import Command, Inbox
    from flowspan.core.events import Emit, Event
    from flowspan.core.run import Run
    from flowspan.core.states import State
    from flowspan.reporter import Reporter


class ProcessContext(EngineIO):
    """The engine's I/O and everything else that the drivers need from the process.

    Attributes:
        new_id: Creates run ids.
        flush: Returns when every emitted event is acknowledged or safely spooled.
        give_up: Ends the flushes that wait for an unreachable service.
        wait_stored: Waits, up to a timeout, until a given service has acknowledged every emitted
            event.
        watch_commands: Registers the inbox of a run for the service's commands.
        forget: Removes that registration.
        log_prints: The default of `log_prints` for flows and tasks that do not set it.
        result_policy: The default result policy; None stores no results.
        preview_bytes: The size of the previews of task arguments, at most; 0 for none.
        relays: The relays of the open worker processes, by their ids (`id`).
        task_runner: The task runner for tasks submitted outside of flows; created on first use.
        wait_at_exit: The function registered with `atexit` for that task runner.
        config: The settings that it is bound to; None if it is valid for any.
        reporter: The reporter of its events; None if something else receives them.
    """

    __slots__ = (
        "config",
        "flush",
        "forget",
        "give_up",
        "log_prints",
        "new_id",
        "preview_bytes",
        "relays",
        "reporter",
        "result_policy",
        "task_runner",
        "wait_at_exit",
        "wait_stored",
        "watch_commands",
    )

    def __init__(
        self,
        emit: Emit,
        *,
        flush: Callable[[], object],
        watch_commands: Callable[[str, Inbox], object],
        forget: Callable[[str], None],
        log_prints: bool = False,
        result_policy: ResultPolicy | None = None,
        preview_bytes: int = 0,
        wait_stored: Wait | None = None,
        give_up: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(emit, clock.now_ns, random.uniform, note)
        self.new_id = IdMaker(clock.now_ns, random.SystemRandom().getrandbits, threading.Lock())
        self.now_ns = self.new_id.now_ns = clock.wall_clock()
        self.flush = flush
        self.watch_commands = watch_commands
        self.forget = forget
        self.log_prints = log_prints
        self.result_policy = result_policy
        self.preview_bytes = preview_bytes
        self.give_up = give_up
        self.wait_stored = wait_stored or (lambda _address, _timeout_s: flush())
        self.relays: dict[int, Any] = {}
        self.task_runner: Any = None
        self.wait_at_exit: Callable[[], None] = lambda: None
        self.config: Config | None = None
        self.reporter: Reporter | None = None

    def is_busy(self) -> bool:
        """Return True if runs that began here have not ended."""
        has_runs = self.reporter is not None and self.reporter.has_runs
        return has_runs or (self.task_runner is not None and self.task_runner.is_busy)

    def to_worker(self, command: Command) -> bool:
        """Deliver a command to the worker process of its run; return False if none has it."""
        return any(relay.deliver(command) for relay in list(self.relays.values()))

    def close(self) -> None:
        """Close the task runner and the reporter; no run is active here any more."""
        runner, self.task_runner = self.task_runner, None
        if runner is not None:
            atexit.unregister(self.wait_at_exit)
            runner.close()
        if self.reporter is not None:
            from flowspan.reporter import drop_reporter  # noqa: PLC0415 - already imported

            self.reporter.close()
            drop_reporter(self.reporter)


_SERVICE_START_S = 10.0
_SERVICE_POLL_S = 0.05

_process: ProcessContext | None = None
_lock = threading.Lock()
_holds: list[None] = []
"""One item for each run whose name is being computed: `get_process` looks for a hold only if there
are any. Adding and removing an item is atomic."""
_is_forked = False
_former: list[tuple[str, ProcessContext]] = []
"""Process contexts of earlier settings that still have runs, oldest first, each with an id that is
higher than those of all its runs. Ids increase over time."""


def get_process() -> ProcessContext:
    """Return the context for a new outermost run, or its stand-in while a name is computed."""
    held = _held() if _holds else None
    if held is not None:
        return held
    process = _process
    if process is None or not (process.config is None or process.config is config.get_config()):
        return _make_process()
    clock.wall_clock()  # follow a clock that was set forward
    return process


def process_of(run: Run | None) -> ProcessContext:
    """Return the process context for the calls of a run; None stands for a new outermost run."""
    if run is None:
        return get_process()
    held = _held() if _holds else None
    if held is not None:
        return held
    if _former:
        # The root may be a run of another process, which is older than any run here.
        top = run
        while top.parent is not None:
            top = top.parent
        for end, process in _former:
            if top.record.id < end:
                return process
    return _process or _make_process()


def _held() -> ProcessContext | None:
    """Return the stand-in of a run whose name is being computed in this context; else None."""
    held = current_hold.get()
    return held if isinstance(held, ProcessContext) else None


def begin_hold() -> None:
    """Make `get_process` look for a hold in the calling context, until `end_hold`."""
    _holds.append(None)


def end_hold() -> None:
    """Undo one `begin_hold`."""
    _holds.pop()


def flush_reports() -> None:
    """Wait until the service has every event of this process, so that reads find them.

    Returns at once in a process that has reported nothing.
    """
    if _process is not None or _is_forked:
        get_process().flush()


def _find_wait() -> Wait | None:
    if _process is not None:
        return process_of(current_run.get()).wait_stored
    # Before its first run, a forked child may report logs of the run in which it was forked.
    return get_process().wait_stored if _is_forked else None


own_reports.register(_find_wait)


def await_local_service() -> None:
    """Wait until the local service that this process starts is there, for ten seconds at most.

    A program that a run calls looks for it at once, and the clients of most languages start none.
    """
    reporter = process_of(current_run.get()).reporter
    deadline = clock.monotonic() + _SERVICE_START_S
    while reporter is not None and reporter.is_starting_service and clock.monotonic() < deadline:
        reporter.wait_welcome(_SERVICE_POLL_S)


def set_process(process: ProcessContext | None) -> ProcessContext | None:
    """Install another process context, for tests; return the previous one."""
    global _process
    before, _process = _process, process
    return before


def leave_process(reason: str = "") -> None:
    """Detach the process context; the next outermost run gets a new one.

    Args:
        reason: Cancels the active runs with this reason, and drops their further reports. If empty,
            they continue, and report to the service with which they began.
    """
    global _process
    with _lock:
        process, _process = _process, None
        _leave(process, reason)


def _make_process() -> ProcessContext:
    global _process  # noqa: PLW0603 - one per process
    from flowspan.reporter import process_tally, reporter_for  # noqa: PLC0415 - not needed to define flows

    with _lock:
        settings = config.get_config()
        before = _process
        if before is not None and (before.config is None or before.config == settings):
            before.config = before.config and settings
            return before
        _leave(before)
        reporter = reporter_for(settings)
        telemetry.configure(settings, service_endpoint=_target_of(reporter))
        telemetry.prepare()
        telemetry.make_meter(settings, process_tally)
        reporter.load()
        install(
            _emit_log,
            settings.logging_level,
            console=settings.logging_to_console,
            extra_loggers=settings.logging_extra_loggers,
            colours=settings.logging_colors,
            trace_url=lambda: _trace_url_of(settings, reporter),
            export=telemetry.log_export(_told_logs_of(reporter), settings.otlp_endpoint),
        )
        process = ProcessContext(
            reporter.emit,
            flush=lambda: reporter.flush(settings.flush_timeout_s),
            watch_commands=reporter.watch_commands,
            forget=reporter.forget,
            log_prints=settings.logging_log_prints,
            result_policy=ResultPolicy(persist=True) if settings.persist_results else None,
            preview_bytes=settings.task_parameters_preview,
            wait_stored=reporter.wait_stored,
            give_up=reporter.give_up,
        )
        process.config, process.reporter = settings, reporter
        reporter.search = Search(process.to_worker).ask
        process.emit_start = reporter.emit_start
        process.skip = skip if settings.skip_retry_delays else None
        if _former:
            # The same generator keeps ids in order of time, also within a millisecond.
            process.new_id = _former[-1][1].new_id
        _process = process
        return process


def _leave(process: ProcessContext | None, reason: str = "") -> None:
    """Close a process context and earlier ones, except those that still have runs."""
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


def _target_of(reporter: Reporter) -> Callable[[float], OtlpTarget | None]:
    """Return a function that returns the receivers that the service tells, once it did."""

    def target(timeout_s: float) -> OtlpTarget | None:
        welcome = reporter.wait_welcome(timeout_s)
        return welcome.otlp_target if welcome is not None else None

    return target


def _trace_url_of(settings: Config, reporter: Reporter) -> str:
    """Return the address of a trace by the settings, or as the service told it; empty if unknown.

    It does not wait for the service.
    """
    if settings.trace_url:
        return settings.trace_url
    welcome = reporter.wait_welcome(0.0)
    if welcome is not None:
        return trace_url_told(welcome.trace_url)
    found = None if settings.address else published(settings.home)
    return trace_url_told(found.get("trace_url")) if found else ""


def _told_logs_of(reporter: Reporter) -> Callable[[float], tuple[str, str] | None]:
    """Return a function that returns the service's receiver of logs, once the service sent it."""

    def logs(timeout_s: float) -> tuple[str, str] | None:
        welcome = reporter.wait_welcome(timeout_s)
        if welcome is None:
            return None
        target = welcome.otlp_target
        return (target.protocol, target.logs_url) if target is not None else ("", "")

    return logs


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
    """Make a forked child drop the ends of inherited runs, which the parent reports.

    A child that calls `sys.exit`, raises or returns unwinds through those runs as well.
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
