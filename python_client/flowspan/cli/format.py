"""Formatting of durations, times, numbers and states, shared by every command.

Times are formatted only here. A test rejects time formats in other modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api.models import StateType
from flowspan.cli.safe_text import one_line
from flowspan.core.durations import duration, wait_matters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from flowspan.api.models import Failure, Run, State

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400
_KIB = 1024

STYLES: dict[StateType, str] = {
    StateType.UNKNOWN: "dim",
    StateType.SCHEDULED: "yellow",
    StateType.PENDING: "dim",
    StateType.RUNNING: "cyan",
    StateType.PAUSED: "yellow",
    StateType.CANCELLING: "yellow",
    StateType.COMPLETED: "green",
    StateType.FAILED: "red",
    StateType.CANCELLED: "yellow",
    StateType.CRASHED: "bold red",
}

SYMBOLS: dict[StateType, str] = {
    StateType.UNKNOWN: "?",
    StateType.SCHEDULED: "◷",
    StateType.PENDING: "○",
    StateType.RUNNING: "▸",
    StateType.PAUSED: "‖",
    StateType.CANCELLING: "◌",
    StateType.COMPLETED: "✓",
    StateType.FAILED: "✗",
    StateType.CANCELLED: "⊘",
    StateType.CRASHED: "✗",
}


def between(start: datetime, end: datetime) -> str:
    """Return the duration from `start` to `end`, formatted by `duration`."""
    return duration((end - start).total_seconds())


def ago(moment: datetime | None, *, now: datetime) -> str:
    """Return the age of a moment: "now", "12s ago", "5m ago", "3h ago", "2d ago", then the date."""
    if moment is None:
        return ""
    passed_s = (now - moment).total_seconds()
    if passed_s < 1:
        return "now"
    if passed_s < _MINUTE_S:
        return f"{int(passed_s)}s ago"
    if passed_s < _HOUR_S:
        return f"{int(passed_s // _MINUTE_S)}m ago"
    if passed_s < _DAY_S:
        return f"{int(passed_s // _HOUR_S)}h ago"
    if passed_s < 30 * _DAY_S:
        return f"{int(passed_s // _DAY_S)}d ago"
    local = _local(moment)
    return f"{local:%Y-%m-%d} {_zone(local)}"


def moment(at: datetime | None, *, now: datetime) -> str:
    """Return a local time to the millisecond, with date and UTC offset if it is not today."""
    if at is None:
        return "--:--:--.---"
    local = _local(at)
    time = f"{local:%H:%M:%S.%f}"[:-3]
    if local.date() == _local(now).date():
        return time
    return f"{local:%Y-%m-%d} {time} {_zone(local)}"


def stamp(moment: datetime | None) -> str:
    """Return local date and time with the UTC offset."""
    if moment is None:
        return ""
    local = _local(moment)
    return f"{local:%Y-%m-%d %H:%M:%S} {_zone(local)}"


def _local(moment: datetime) -> datetime:
    """Return the moment in the local time zone.

    Return it unchanged at the limits of the calendar, or if TZ is invalid ("UTC+25").
    """
    try:
        return moment.astimezone()
    except (OverflowError, ValueError):
        return moment


def _zone(local: datetime) -> str:
    """Return the UTC offset: "+02:00"."""
    offset = local.strftime("%z")
    return f"{offset[:3]}:{offset[3:5]}"


def count(number: int, noun: str = "", plural: str = "") -> str:
    """Return a number with thousands separators: "1,234"; with a noun, "1 run" or "1,234 runs"."""
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(size_bytes: int) -> str:
    """Return a size in bytes, or in the largest unit below 1,024: "512 bytes", "1.5 MiB"."""
    if size_bytes < _KIB:
        return count(size_bytes, "byte")
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= _KIB
        if round(size, 1) < _KIB:
            return f"{size:.1f} {unit}"
    return f"{size / _KIB:,.1f} TiB"


RUNNING_TYPES = frozenset({StateType.RUNNING, StateType.CANCELLING})
"""State types in which the code of a started run is executing."""


def running_s(run: Run, *, now: datetime) -> float | None:
    """Return the seconds that a run has spent running over all attempts; None if it never ran.

    This is `run_duration_s` plus the time since the last transition. Time spent waiting (for a
    thread, before a retry, while paused) is excluded and returned by `waited_s`.
    """
    if run.started_at is None:
        return None
    state, since_s = run.state, 0.0
    if state.type in RUNNING_TYPES and state.entered_at is not None:
        since_s = max((now - state.entered_at).total_seconds(), 0.0)
    return run.run_duration_s + since_s


def waited_s(run: Run, *, now: datetime) -> float:
    """Return the seconds from a run's creation to its end, or now, in which it was not running."""
    if run.created_at is None:
        return 0.0
    end = run.ended_at if run.state.is_final() and run.ended_at is not None else now
    passed_s = (end - run.created_at).total_seconds()
    return max(passed_s - (running_s(run, now=now) or 0.0), 0.0)


def run_duration(run: Run, *, now: datetime) -> str:
    """Return the running time of a run so far; empty if it never ran."""
    seconds = running_s(run, now=now)
    return "" if seconds is None else duration(seconds)


def run_wait(run: Run, *, now: datetime) -> str:
    """Return the waiting time of a run; empty if it is not significant.

    It is significant if it is at least one second and a tenth of the running time.
    """
    waited = waited_s(run, now=now)
    matters = wait_matters(waited, running_s(run, now=now) or 0.0)
    return duration(waited) if matters else ""


def labels(by_key: Mapping[str, str]) -> str:
    """Return the labels of a run on one line."""
    return ", ".join(f"{key}={value}" for key, value in by_key.items())


def visible(text: str) -> str:
    """Return user-supplied text on one line, without terminal control sequences (`safe_text`)."""
    return one_line(text)


def failure_line(failure: Failure | None) -> str:
    """Return the type of an error and the first line of its message."""
    if failure is None:
        return ""
    first = failure.message.strip().partition("\n")[0]
    return visible(f"{failure.type}: {first}" if first else failure.type)


def reason(state: State) -> str:
    """Return the reason for a state on one line; empty if it has none."""
    if state.failure is not None:
        return failure_line(state.failure)
    return visible(state.message.strip().partition("\n")[0])
