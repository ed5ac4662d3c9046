"""Tracebacks in logs, each frame shown once, however many runs an exception ends.

An exception passes through all runs around the one that raised it. The first of them shows its
traceback, from the program's outermost frame on; the others show only new frames, usually none.
The exception carries a record of the shown parts, as it carries the traceback of another process.
"""

from __future__ import annotations

import os
import textwrap
import threading
import traceback
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from flowspan.core.failures import CARRIED_TRACE, error_text, error_type, shorten
from flowspan.core.limits import MAX_CHAIN
from flowspan.core.tracebacks import is_own
from flowspan.core.values.error_attributes import attributes_of, chain_of, parts_of, trace_of
from flowspan.core.values.inspection import is_instance
from flowspan.exceptions import RunFailed
from flowspan.logging.user_code import is_library_file

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence
    from traceback import FrameSummary

SHOWN = "_flowspan_shown"
"""The attribute of an exception that records its shown parts; see `_Mark`."""

MAX_TEXT_BYTES = 32 * 1024
_HEADER = "Traceback (most recent call last):\n"
_ABOVE = " (its traceback is above)"
_MAX_FRAMES = 40
_KEPT_FRAMES = 12
"""Number of first and of last frames that are shown if there are too many."""
_MAX_DEPTH = 8
"""Maximum nesting of exception groups that is shown."""
_MAX_LINE = 300


_MAX_ROOTS = 64
_MAX_CONTENTS = 1000
_contents: OrderedDict[str, set[int]] = OrderedDict()
"""Exceptions shown in the last outermost runs, as hashes of type, message and frames."""
_lock = threading.Lock()


class _Mark(NamedTuple):
    """A record of the shown parts of an exception: a plain tuple, which pickles without flowspan.

    Attributes:
        root: The outermost run at that time; the output of another one may be hours old.
        frames: The frames, each as file, line and name.
        notes: Number of its notes.
        is_on_stderr: True if it was definitely shown on standard error.
    """

    root: str
    frames: frozenset[tuple[str, int | None, str]]
    notes: int
    is_on_stderr: bool


def trace_to_show(
    error: BaseException, root: str, callers: Sequence[FrameSummary], *, on_stderr: bool
) -> str:
    """Return the part of a traceback that was not shown yet, and record it as shown.

    Args:
        error: The exception.
        root: The id of the outermost run.
        callers: The program's frames that are not in the traceback, because they are still running.
        on_stderr: True if the text will be shown on standard error.

    Returns:
        The traceback, with those of the causes below; if the exception was shown before, its new
        frames without a header; empty if there is nothing new.
    """
    lines = _chain(error, root, callers, on_stderr, 0)
    return shorten("".join(lines), MAX_TEXT_BYTES).rstrip()


def rest_to_show(error: BaseException) -> str:
    """Return the part that was not shown yet of an exception that ends the program or a thread.

    Returns:
        At least its last line; empty if neither it nor its causes were definitely shown on standard
        error.
    """
    mark = _mark_of(error)
    if mark is not None:
        if not mark.is_on_stderr:
            return ""
        new = trace_to_show(error, mark.root, (), on_stderr=True)
        return f"{new}\n{last_line(error)}" if new else last_line(error)
    for cause in _causes(error):
        mark = _mark_of(cause)
        if mark is not None and mark.is_on_stderr:
            return trace_to_show(error, mark.root, (), on_stderr=True)
    return ""


def last_line(error: BaseException) -> str:
    """Return the type and the message, as in the last line of a traceback."""
    text = error_text(error)
    return f"{error_type(error)}: {text}" if text else error_type(error)


def first_line(text: str) -> str:
    """Return the first line of a text, shortened."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE - 1]}…"


def _chain(
    error: BaseException,
    root: str,
    callers: Sequence[FrameSummary],
    on_stderr: bool,  # noqa: FBT001 - private
    depth: int,
) -> list[str]:
    """Return the lines for an exception and, unless it was shown before, for its causes."""
    is_new = not _is_known(error, root)
    lines = _lines(error, root, callers, on_stderr, depth)
    for cause in _causes(error) if is_new else ():
        whole = [] if _is_known(cause, root) else _lines(cause, root, (), on_stderr, depth)
        lines += ["caused by:\n", *(whole or [_in_one_line(cause)])]
    return lines


def _lines(
    error: BaseException,
    root: str,
    callers: Sequence[FrameSummary],
    on_stderr: bool,  # noqa: FBT001 - private
    depth: int,
) -> list[str]:
    """Return the lines for an exception alone: all, or only those for new frames."""
    mark = _mark_of(error)
    known = mark.frames if mark is not None and mark.root == root else None
    of_user = [item for item in traceback.walk_tb(trace_of(error)) if not is_own(item[0])]
    frames = [*callers, *traceback.StackSummary.extract(iter(of_user))]
    keys = frozenset((frame.filename, frame.lineno, frame.name) for frame in frames)
    notes = _notes_of(error)
    _set_mark(error, _Mark(root, keys | (known or frozenset()), len(notes), on_stderr))
    if known is not None:
        new = [frame for frame in frames if (frame.filename, frame.lineno, frame.name) not in known]
        # Frames of libraries between the program's frames do not show the exception's path.
        new = [frame for frame in new if not is_library_file(frame.filename)]
        return [*_formatted(new), *notes[mark.notes if mark is not None else 0 :]]
    if _was_same_shown(root, (error_type(error), error_text(error), keys)):
        return []
    lines = _whole(error, frames)
    if depth < _MAX_DEPTH:
        lines += _parts(error, root, on_stderr, depth)
    return lines


def _was_same_shown(root: str, content: Hashable) -> bool:
    """Return True if an identical exception was shown, for example by an earlier attempt."""
    with _lock:
        shown = _contents.setdefault(root, set())
        _contents.move_to_end(root)
        if len(_contents) > _MAX_ROOTS:
            _contents.popitem(last=False)
        before = len(shown)
        if before < _MAX_CONTENTS:
            shown.add(hash(content))
        return len(shown) == before < _MAX_CONTENTS


def _is_known(error: BaseException, root: str) -> bool:
    mark = _mark_of(error)
    return mark is not None and mark.root == root


def _in_one_line(error: BaseException) -> str:
    return f"{first_line(last_line(error))}{_ABOVE}\n"


def _notes_of(error: BaseException) -> list[str]:
    """Return the notes that were added to an exception, each with its line end."""
    notes = attributes_of(error).get("__notes__")
    return [f"{note}\n" for note in notes if type(note) is str] if type(notes) is list else []


def _whole(error: BaseException, frames: Sequence[FrameSummary]) -> list[str]:
    carried = attributes_of(error).get(CARRIED_TRACE)
    if isinstance(carried, str):
        there = carried.removeprefix(_HEADER)
        return [_HEADER, *_formatted(frames), there if there.endswith("\n") else f"{there}\n"]
    if is_instance(error, RunFailed) and trace_of(error) is None:
        return _formatted(frames)  # never raised; the line above has its message
    lines = [_HEADER, *_formatted(frames)] if frames else []
    try:
        lines += traceback.format_exception_only(error)
    except Exception:  # noqa: BLE001 - may run __str__, which is user code
        lines.append(f"{last_line(error)}\n")
    return lines


def _parts(
    error: BaseException,
    root: str,
    on_stderr: bool,  # noqa: FBT001 - private
    depth: int,
) -> list[str]:
    lines = []
    parts = parts_of(error)
    count = len(parts)
    for number, part in enumerate(parts[:MAX_CHAIN], 1):
        lines.append(f"  +---- {number} of {count} ----\n")
        whole = [] if _is_known(part, root) else _chain(part, root, (), on_stderr, depth + 1)
        lines.append(textwrap.indent("".join(whole) or _in_one_line(part), "  | "))
    if count > MAX_CHAIN:
        lines.append(f"  +---- … {count - MAX_CHAIN} more ----\n")
    return lines


def _causes(error: BaseException) -> list[BaseException]:
    """Return the causes of an exception, the nearest first."""
    return chain_of(error, MAX_CHAIN + 1)[1:]


def _formatted(frames: Iterable[FrameSummary]) -> list[str]:
    """Format frames; if there are too many, only the first and the last."""
    lines = traceback.StackSummary.from_list(list(frames)).format()
    if len(lines) > _MAX_FRAMES:
        left_out = len(lines) - 2 * _KEPT_FRAMES
        lines[_KEPT_FRAMES:-_KEPT_FRAMES] = [f"  … {left_out:,} frames left out …\n"]
    return lines


def _mark_of(error: BaseException) -> _Mark | None:
    mark = attributes_of(error).get(SHOWN)
    return _Mark(*mark) if type(mark) is tuple else None


def _set_mark(error: BaseException, mark: _Mark) -> None:
    with suppress(Exception):  # best effort: otherwise it is shown again
        attributes_of(error)[SHOWN] = tuple(mark)


def _renew_lock() -> None:
    """Replace the lock in a forked child: a thread that holds it does not exist there."""
    global _lock  # noqa: PLW0603 - one per process
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
