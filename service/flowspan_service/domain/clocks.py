"""The clock of a run: the one that all its times are on.

It is the clock of the client that created the run; or the service's, if the first state had no time
or the run was created through the API. A time from another clock is moved to the clock of the run
before it is stored. So each duration is the difference of two times of one clock, and replaying a
history gives the same times.

An *offset* is the service's clock minus a client's, in microseconds. The *shift* of a run is what
must be added to a time of the client that reports it to get a time on the clock of the run.
"""

from __future__ import annotations

from flowspan_service.domain.states import LAST_US

SAME_CLOCK_US = 1_000_000
"""A smaller difference between two clocks counts as none: it cannot be told from the time that the
message with the client's time was under way."""


def offset_at_receipt(client_us: int, service_us: int) -> int:
    """Return the offset of a client's clock.

    Args:
        client_us: The time that the client sent.
        service_us: The service's time when it arrived.
    """
    return service_us - client_us


def effective_offset(offset_us: int | None) -> int:
    """Return the offset to calculate with; 0 if it is unknown, or too small to be certain."""
    if offset_us is None or abs(offset_us) < SAME_CLOCK_US:
        return 0
    return offset_us


def shift_after_handover(shift_us: int, *, before_us: int, after_us: int) -> int:
    """Return the shift of a run that another client reports from now on.

    Args:
        shift_us: The shift so far.
        before_us: The effective offset of the client that reported it; 0 for the service.
        after_us: The effective offset of the client that reports it now.
    """
    return shift_us + after_us - before_us


def on_run_clock(time_us: int, *, shift_us: int, offset_us: int = 0) -> int:
    """Return a time on the clock of a run, between 1970 and 9999.

    Args:
        time_us: A time of the client that reports the run or, with `offset_us`, of the service.
        shift_us: The shift of the run.
        offset_us: The effective offset of the client, for a time of the service.
    """
    return min(max(0, time_us - offset_us + shift_us), LAST_US)
