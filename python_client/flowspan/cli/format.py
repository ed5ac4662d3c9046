"""How durations, times, counts and states are written for people."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flowspan.api.models import StateType

if TYPE_CHECKING:
    from datetime import datetime

    from flowspan.api.models import Failure, Run, State

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400
_RECENT = timedelta(hours=12)

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


def duration(seconds: float) -> str:
    """A duration in seven characters: "25µs", "0.4ms", "850ms", "12.3s", "2m 05s", "3d 04h"."""
    if seconds < 0.0000995:
        return f"{max(seconds, 0.0) * 1e6:.0f}µs"
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < _MINUTE_S - 0.05:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m {whole % _MINUTE_S:02}s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h {whole % _HOUR_S // _MINUTE_S:02}m"
    return f"{whole // _DAY_S}d {whole % _DAY_S // _HOUR_S:02}h"


def ago(moment: datetime | None, *, now: datetime) -> str:
    """How long ago something was: "now", "12s ago", "5m ago", "3h ago", "2d ago", then the date."""
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
    return moment.astimezone().strftime("%Y-%m-%d")


def clock(moment: datetime | None) -> str:
    """A time of day in the local time zone, to the millisecond."""
    if moment is None:
        return "--:--:--.---"
    return moment.astimezone().strftime("%H:%M:%S.%f")[:-3]


def moment(at: datetime | None, *, now: datetime) -> str:
    """A time of day to the millisecond, with the date if it is not of the last hours."""
    if at is None or now - at < _RECENT:
        return clock(at)
    return f"{at.astimezone():%Y-%m-%d} {clock(at)}"


def stamp(moment: datetime | None) -> str:
    """Date and time in the local time zone."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def elapsed_s(run: Run, *, now: datetime) -> float | None:
    """The seconds from a run's start to its end, or to now; None if it did not start."""
    if run.started_at is None:
        return None
    end = run.ended_at if run.state.is_final() and run.ended_at is not None else now
    return (end - run.started_at).total_seconds()


def run_duration(run: Run, *, now: datetime) -> str:
    """The time a run took so far; empty if it did not start."""
    seconds = elapsed_s(run, now=now)
    return "" if seconds is None else duration(seconds)


def visible(text: str) -> str:
    """Text of the user's on one line, without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char in "\n\r\t" else "" for char in text)


def failure_line(failure: Failure | None) -> str:
    """The type and the first line of the message of an error."""
    if failure is None:
        return ""
    first = failure.message.strip().partition("\n")[0]
    return visible(f"{failure.type}: {first}" if first else failure.type)


def reason(state: State) -> str:
    """Why a run is in its state, in one line; empty where it needs no reason."""
    if state.failure is not None:
        return failure_line(state.failure)
    return visible(state.message.strip().partition("\n")[0])
