"""Tracebacks without flowspan's own frames."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from flowspan.core.values.error_attributes import trace_of, with_trace

if TYPE_CHECKING:
    from types import FrameType

_PACKAGE = __name__.partition(".")[0]


def is_own(frame: FrameType) -> bool:
    """Return True if the frame runs flowspan's code."""
    module = frame.f_globals.get("__name__")  # code may run with arbitrary globals
    if type(module) is not str:
        return False
    return module == _PACKAGE or module.startswith(_PACKAGE + ".")


def trimmed(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without flowspan's frames.

    The frames themselves are shared, so a debugger still finds every frame through `f_back`.
    """
    kept: list[TracebackType] = []
    clean_from = 0
    while trace is not None:
        if is_own(trace.tb_frame):
            clean_from = len(kept)
        else:
            kept.append(trace)
        trace = trace.tb_next
    # Everything after flowspan's last frame can be used unchanged.
    rest = kept[clean_from] if clean_from < len(kept) else None
    for item in reversed(kept[:clean_from]):
        rest = TracebackType(rest, item.tb_frame, item.tb_lasti, item.tb_lineno)
    return rest


def without_own_frames(error: BaseException) -> BaseException:
    """Return the exception with a trimmed traceback, to be raised to user code."""
    return with_trace(error, trimmed(trace_of(error)))
