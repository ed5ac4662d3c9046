"""Exception hooks that shorten the traceback of a program ended by a run's exception.

The traceback was shown when the first run failed. Python's would repeat it with flowspan's frames,
so the last line is enough. If it was not shown, or not on standard error, Python shows it without
these frames. A program with its own hook (`sys.excepthook`) keeps it.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from flowspan.core.tracebacks import trimmed, without_own_frames
from flowspan.core.values.error_attributes import links_of, trace_of
from flowspan.logging.shown_tracebacks import rest_to_show
from flowspan.logging.terminal import cleaned

if TYPE_CHECKING:
    from types import TracebackType

_MAX_ERRORS = 64


def watch() -> None:
    """Replace Python's own hooks with flowspan's; other hooks are kept."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _show_in_thread


def unwatch() -> None:
    """Restore Python's hooks, for tests."""
    if sys.excepthook is _show:
        sys.excepthook = sys.__excepthook__
    if threading.excepthook is _show_in_thread:
        threading.excepthook = threading.__excepthook__


def rest_of(error: BaseException) -> str:
    """Return the part of an exception that was not shown yet; empty if none of it was shown."""
    try:
        return cleaned(rest_to_show(error))
    except Exception:  # noqa: BLE001 - the exception is user code, in all its methods
        return ""


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = rest_of(error)
    if text and sys.stderr is not None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
        return
    _trim_all(error)
    sys.__excepthook__(kind, error, trace)


def _show_in_thread(args: Any) -> None:
    error = args.exc_value
    text = rest_of(error) if error is not None else ""
    if text and sys.stderr is not None:
        name = args.thread.name if args.thread is not None else threading.get_ident()
        sys.stderr.write(f"Exception in thread {name}:\n{text}\n")
        sys.stderr.flush()
        return
    if error is not None:
        _trim_all(error)
        args = threading.ExceptHookArgs((args.exc_type, error, trace_of(error), args.thread))
    threading.__excepthook__(args)


def _trim_all(error: BaseException) -> None:
    """Remove flowspan's frames from the tracebacks of an exception and its causes."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting and len(seen) < _MAX_ERRORS:
        link = waiting.pop()
        if any(link is other for other in seen):
            continue
        seen.append(link)
        if trimmed(trace_of(link)) is not None:  # otherwise nothing would be left
            without_own_frames(link)
        waiting += links_of(link)
