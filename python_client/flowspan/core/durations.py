"""Human-readable durations, in the same notation in logs and commands."""

from __future__ import annotations

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400
_LEAST_WAIT_S = 1.0


def duration(seconds: float) -> str:
    """Format a duration in seven characters: "25µs", "0.4ms", "12.3s", "2m 05s", "3d 04h"."""
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
    return f"{whole // _DAY_S:,}d {whole % _DAY_S // _HOUR_S:02}h"


def wait_matters(waited_s: float, ran_s: float) -> bool:
    """Return True if a wait is worth showing: at least a second and a tenth of the running time."""
    return waited_s >= _LEAST_WAIT_S and waited_s * 10 >= ran_s
