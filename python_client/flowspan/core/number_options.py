"""Validation of numeric options: seconds, factors and counts of any number type."""

from __future__ import annotations

import math
import operator
from datetime import timedelta
from typing import Any

LONGEST_TIMEOUT_S = 1e8
"""About three years. Longer timeouts count as none, as some systems reject longer alarms."""
LONGEST_WAIT_S = 1e11
"""About three thousand years: the longest wait whose end can be written as an instant."""


def checked_number(value: Any, option: str, what: str = "a number") -> float:
    """Return a number of any type (int, float, Decimal, Fraction, numpy's) as a float.

    Args:
        value: The number. One that is too large for a float becomes infinity.
        option: The name of the option, for errors.
        what: A description of valid values, for errors.

    Raises:
        TypeError: It is not a number.
        ValueError: It is NaN.
    """
    if isinstance(value, timedelta):
        raise TypeError(f"{option} must be {what}, not {value!r}; use its total_seconds()")
    if isinstance(value, bool) or not _is_number(value):
        raise TypeError(f"{option} must be {what}, not {value!r}")
    try:
        number = float(value)
    except OverflowError:
        is_positive: bool = value > 0
        number = math.inf if is_positive else -math.inf
    if math.isnan(number):
        raise ValueError(f"{option} must be {what}, not {value!r}")
    return number


def _is_number(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return True
    from decimal import Decimal  # noqa: PLC0415 - startup time
    from numbers import Real  # noqa: PLC0415 - startup time

    return isinstance(value, (Real, Decimal))


def checked_count(value: Any, option: str, at_least: int) -> int:
    """Return a whole number of any type (int, numpy's) as an int.

    Args:
        value: The number.
        option: The name of the option, for errors.
        at_least: The smallest valid value.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is too small.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{option} must be a whole number, not {value!r}") from None
    if number < at_least:
        raise ValueError(f"{option} must be at least {at_least}, not {number}")
    return number


def checked_timeout(timeout_seconds: Any) -> float | None:
    """Return a timeout in seconds; None if it never expires (None, 0, infinity, many years).

    Raises:
        ValueError: It is negative.
        TypeError: It is not a number.
    """
    if timeout_seconds is None:
        return None
    seconds = checked_number(timeout_seconds, "timeout_seconds", "a number of seconds")
    if seconds < 0:
        raise ValueError(f"timeout_seconds must not be negative, not {timeout_seconds!r}")
    return seconds if 0 < seconds <= LONGEST_TIMEOUT_S else None
