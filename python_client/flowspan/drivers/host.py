"""The process that runs are executed in: the clock, ids, randomness, the reporter.

There is one `Host` in a process, made at the first run. Tests put one of their own in its place.
"""

from __future__ import annotations

import os
import random
import threading
import time
from typing import TYPE_CHECKING, Any

from flowspan import config, telemetry
from flowspan.connection import own_reports
from flowspan.core.engine import World
from flowspan.core.events import STATE
from flowspan.core.holding import current_hold
from flowspan.core.ids import IdMaker
from flowspan.core.keeping import Keeping
from flowspan.core.runs import inherit_runs
from flowspan.logging.capture import install, note

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.connection.own_reports import Wait
    from flowspan.core.events import Emit, Event
    from flowspan.core.runs import Run
    from flowspan.core.states import State
    from flowspan.reporter import Reporter


class Host(World):
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
        keeping: How results are kept where neither flow nor task says; None if not at all.
        task_runner: What runs the tasks that were submitted outside of flows; made when needed.
    """

    __slots__ = (
        "flush",
        "forget",
        "give_up",
        "keeping",
        "log_prints",
        "new_id",
        "on_cancel",
        "task_runner",
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
        keeping: Keeping | None = None,
        wait_stored: Wait | None = None,
        give_up: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(emit, time.time_ns, random.uniform, note)
        self.new_id = IdMaker(time.time_ns, random.SystemRandom().getrandbits, threading.Lock())
        self.flush = flush
        self.on_cancel = on_cancel
        self.forget = forget
        self.log_prints = log_prints
        self.keeping = keeping
        self.give_up = give_up
        self.wait_stored = wait_stored or (lambda _address, _timeout_s: flush())
        self.task_runner: Any = None


_host: Host | None = None
_lock = threading.Lock()
_holds: list[None] = []
"""One item for each run that is getting its name: only then `get_host` looks for a hold. Adding and
removing one is atomic."""
_is_forked = False


def get_host() -> Host:
    """The host of this process, made at the first call; a stand-in while a run gets its name."""
    if _holds:
        held = current_hold.get()
        if isinstance(held, Host):
            return held
    return _host or _make_host()


def begin_hold() -> None:
    """Let `get_host` look for the hold of the calling context, until `end_hold`."""
    _holds.append(None)


def end_hold() -> None:
    """Take one `begin_hold` back."""
    _holds.pop()


def flush_reports() -> None:
    """Waits until the service has what this process reported, so that reading finds it.

    Returns at once in a process that has reported nothing.
    """
    if _host is not None or _is_forked:
        get_host().flush()


def _find_wait() -> Wait | None:
    if _host is not None:
        return _host.wait_stored
    # Before a run of its own, a forked child may report logs of the one in which it was forked.
    return get_host().wait_stored if _is_forked else None


own_reports.register(_find_wait)


def set_host(host: Host | None) -> Host | None:
    """Puts another host in its place, for tests; returns the one before."""
    global _host
    before, _host = _host, host
    return before


def _make_host() -> Host:
    global _host  # noqa: PLW0603 - one per process
    from flowspan.reporter import get_reporter  # noqa: PLC0415 - not needed to define flows

    with _lock:
        if _host is None:
            settings = config.get_config()
            reporter = get_reporter()
            telemetry.configure(settings, service_endpoint=_endpoint_of(reporter))
            telemetry.prepare()
            install(
                reporter.emit,
                settings.logging_level,
                console=settings.logging_to_console,
                extra_loggers=settings.logging_extra_loggers,
                colours=settings.logging_colors,
            )
            _host = Host(
                reporter.emit,
                flush=lambda: reporter.flush(settings.flush_timeout_s),
                on_cancel=reporter.on_cancel,
                forget=reporter.forget,
                log_prints=settings.logging_log_prints,
                keeping=Keeping(persist=True) if settings.persist_results else None,
                wait_stored=reporter.wait_stored,
                give_up=reporter.give_up,
            )
        return _host


def _endpoint_of(reporter: Reporter) -> Callable[[float], str | None]:
    """Where the service wants spans to be sent, once it has said so."""

    def endpoint(timeout_s: float) -> str | None:
        welcome = reporter.wait_welcome(timeout_s)
        return welcome.otlp_endpoint if welcome is not None else None

    return endpoint


def _after_fork() -> None:
    global _host, _is_forked, _lock  # noqa: PLW0603 - one per process
    _is_forked = True
    _lock = threading.Lock()
    inherited = inherit_runs()
    if _host is not None and inherited:
        _leave_to_parent(_host, inherited)
    _host = None


def _leave_to_parent(host: Host, ids: set[str]) -> None:
    """How the runs in which a process was forked end is told by the parent, not by the child.

    A child that calls sys.exit, raises or returns goes the way up through them as well.
    """
    emit, note = host.emit, host.note

    def emit_others(event: Event) -> None:
        if event[0] != STATE or event[1] not in ids:
            emit(event)

    def note_others(
        run: Run, level: int, message: str, error: BaseException | State | None
    ) -> None:
        if run.record.id not in ids:
            note(run, level, message, error)

    host.emit, host.note = emit_others, note_others


os.register_at_fork(after_in_child=_after_fork)
