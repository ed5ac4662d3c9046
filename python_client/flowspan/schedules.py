"""Schedules as values: the times at which runs of a deployment are due.

A schedule can be created, compared and passed around. There are no deployments yet, so a
schedule has no effect: it starts no runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from flowspan import clock

__all__ = ["Cron", "Interval", "RRule", "Schedule"]

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[int, int, list[str]], ...] = (
    (0, 59, []),
    (0, 23, []),
    (1, 31, []),
    (1, 12, _MONTHS),
    (0, 7, _DAYS),
    (0, 59, []),
    (1970, 2099, []),
)
"""Minimum and maximum of each field, and the names of its values."""
_SHORT = {"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"}
_PART = re.compile(r"(\*|\?|\w+(?:-\w+)?)(?:/([1-9]\d*))?")
_DAY_OF_WEEK = re.compile(r"(?:[0-7]|[a-z]{3})#[1-5]|l[0-7]")
_FREQUENCIES = {"YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"}
_RULE_KEYS = {
    *("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYSETPOS", "BYMONTH", "BYMONTHDAY"),
    *("BYYEARDAY", "BYWEEKNO", "BYDAY", "BYWEEKDAY", "BYHOUR", "BYMINUTE", "BYSECOND", "BYEASTER"),
}
_RULE_VALUES = {
    **dict.fromkeys(("INTERVAL", "COUNT"), re.compile(r"\d+")),
    "BYHOUR": re.compile(r"(?:[01]?\d|2[0-3])"),
    **dict.fromkeys(("BYMINUTE", "BYSECOND"), re.compile(r"[0-5]?\d")),
    "UNTIL": re.compile(r"\d{8}(?:T\d{6}Z?)?"),
}
"""Syntax of the values, for the keys that are checked."""
_BY_DAY = re.compile(r"(?:[+-]?\d{1,2})?(?:MO|TU|WE|TH|FR|SA|SU)")
MAX_RRULE_LENGTH = 6500


def _now() -> datetime:
    return datetime.fromtimestamp(clock.now_ns() / 1e9, UTC)


@dataclass(frozen=True)
class Schedule:
    """A schedule for the runs of a deployment, created by `Cron`, `Interval` or `RRule`.

    There are no deployments yet, so it has no effect.

    Attributes:
        interval: The time between two runs.
        cron: A cron expression ("0 8 * * 1").
        rrule: A recurrence rule of RFC 5545 ("FREQ=DAILY").
        timezone: The name of a time zone (Europe/Zurich); None for UTC.
        anchor_date: The instant from which intervals are counted; the current time by default. It
            is part of the equality of two schedules.
        day_or: True if a matching day of the month or day of the week is sufficient, if the cron
            expression restricts both.
        active: True if the schedule creates runs.
        parameters: The parameters of the runs.
        slug: The name of the schedule within its deployment.
    """

    interval: timedelta | None = None
    cron: str | None = None
    rrule: str | None = None
    timezone: str | None = None
    anchor_date: datetime = field(default_factory=_now)
    day_or: bool = True
    active: bool = True
    parameters: dict[str, Any] = field(default_factory=dict)
    slug: str | None = None

    def __post_init__(self) -> None:
        """Validate the schedule.

        Raises:
            ValueError: More than one of interval, cron and rrule is set, or an expression is
                invalid.
        """
        kinds = [name for name in ("interval", "cron", "rrule") if getattr(self, name) is not None]
        if len(kinds) > 1:
            raise ValueError(f"a schedule must have one of interval, cron and rrule, not {kinds}")
        if self.cron is not None and not _is_cron(self.cron):
            raise ValueError(
                f"{self.cron!r} is not a cron expression, such as '0 8 * * 1' (Mondays at 8)"
            )
        if self.rrule is not None:
            _check_rrule(self.rrule)


def Cron(  # noqa: N802 - used like a class
    cron: str,
    /,
    timezone: str | None = None,
    day_or: bool = True,  # noqa: FBT001, FBT002 - Prefect's signature
    active: bool = True,  # noqa: FBT001, FBT002 - Prefect's signature
    parameters: dict[str, Any] | None = None,
    slug: str | None = None,
) -> Schedule:
    """Create a schedule from a cron expression. It has no effect yet; see the module.

    Args:
        cron: The expression: minute, hour, day of the month, month, day of the week.
        timezone: See `Schedule`.
        day_or: See `Schedule`.
        active: See `Schedule`.
        parameters: See `Schedule`.
        slug: See `Schedule`.

    Raises:
        ValueError: The cron expression is invalid.
    """
    return Schedule(
        cron=cron,
        timezone=timezone,
        day_or=day_or,
        active=active,
        parameters=parameters or {},
        slug=slug,
    )


def Interval(  # noqa: N802 - used like a class
    interval: timedelta | float,
    /,
    anchor_date: datetime | None = None,
    timezone: str | None = None,
    active: bool = True,  # noqa: FBT001, FBT002 - Prefect's signature
    parameters: dict[str, Any] | None = None,
    slug: str | None = None,
) -> Schedule:
    """Create a schedule of equal intervals. It has no effect yet; see the module.

    Args:
        interval: The time between two runs; a number is in seconds.
        anchor_date: See `Schedule`.
        timezone: See `Schedule`.
        active: See `Schedule`.
        parameters: See `Schedule`.
        slug: See `Schedule`.
    """
    return Schedule(
        interval=timedelta(seconds=interval) if isinstance(interval, (int, float)) else interval,
        anchor_date=anchor_date or _now(),
        timezone=timezone,
        active=active,
        parameters=parameters or {},
        slug=slug,
    )


def RRule(  # noqa: N802 - used like a class
    rrule: str,
    /,
    timezone: str | None = None,
    active: bool = True,  # noqa: FBT001, FBT002 - Prefect's signature
    parameters: dict[str, Any] | None = None,
    slug: str | None = None,
) -> Schedule:
    """Create a schedule from a recurrence rule (RFC 5545). It has no effect yet; see the module.

    Args:
        rrule: The rule ("FREQ=MONTHLY;BYDAY=2FR").
        timezone: See `Schedule`.
        active: See `Schedule`.
        parameters: See `Schedule`.
        slug: See `Schedule`.

    Raises:
        ValueError: The recurrence rule is invalid.
    """
    return Schedule(
        rrule=rrule, timezone=timezone, active=active, parameters=parameters or {}, slug=slug
    )


def _is_cron(text: str) -> bool:
    text = text.lower()
    if text in _SHORT:
        return True
    parts = text.split()
    return len(parts) in {5, 6, 7} and all(map(_is_field, parts, range(len(parts))))


def _is_field(text: str, position: int) -> bool:
    return all(_is_part(part, position) for part in text.split(","))


def _is_part(text: str, position: int) -> bool:
    least, greatest, names = _FIELDS[position]
    if (position == 2 and text == "l") or (position == 4 and _DAY_OF_WEEK.fullmatch(text)):
        return True
    match = _PART.fullmatch(text)
    if match is None:
        return False
    if match[1] in {"*", "?"}:
        return True
    values = [names.index(n) + least if n in names else n for n in match[1].split("-")]
    return all(str(n).isdecimal() and least <= int(n) <= greatest for n in values)


def _check_rrule(text: str) -> None:
    if not text.strip() or len(text) > MAX_RRULE_LENGTH:
        raise ValueError(f"a recurrence rule must have 1 to {MAX_RRULE_LENGTH} characters")
    lines = [line.rpartition(":") for line in text.upper().split()]
    # The other lines are dates: DTSTART, RDATE, EXDATE.
    rules = [rule for name, _, rule in lines if name.partition(";")[0] in {"", "RRULE", "EXRULE"}]
    if not rules or not all(map(_is_rule, rules)):
        raise ValueError(f"{text!r} is not a recurrence rule, such as 'FREQ=MONTHLY;BYDAY=2FR'")


def _is_rule(text: str) -> bool:
    parts = dict(part.partition("=")[::2] for part in text.split(";"))
    days = [day for key in ("BYDAY", "BYWEEKDAY") for day in parts.get(key, "MO").split(",")]
    return (
        parts.get("FREQ") in _FREQUENCIES
        and parts.keys() <= _RULE_KEYS
        and all(map(_BY_DAY.fullmatch, days))
        and all(
            pattern.fullmatch(value)
            for key, pattern in _RULE_VALUES.items()
            if key in parts
            for value in parts[key].split(",")
        )
    )
