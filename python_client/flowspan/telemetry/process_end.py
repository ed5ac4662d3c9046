"""The end of the process: the time for the last exports of spans, logs and metrics together."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from flowspan import clock

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_FLUSH_S = 2.0
"""Maximum time that the end of the process waits for the delivery of all signals together."""
_LEAST_EXIT_S = 0.1

_exit_began_s: float | None = None


def begin_exit() -> None:
    """Start the time that the end of the process waits for the delivery of all signals."""
    global _exit_began_s  # noqa: PLW0603 - one per process
    if _exit_began_s is None:
        _exit_began_s = clock.monotonic()


def exit_time_left() -> float:
    """Return the number of seconds that the end of the process may still wait for a delivery."""
    if _exit_began_s is None:
        return EXIT_FLUSH_S
    return max(_exit_began_s + EXIT_FLUSH_S - clock.monotonic(), _LEAST_EXIT_S)


def at_end_of_child(shutdown: Callable[[], object]) -> None:
    """Register a function for the end of a process that multiprocessing started; no-op in others.

    Such a process skips the functions of `atexit` if it was forked.

    Args:
        shutdown: Exports what is left within `exit_time_left`.
    """
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is None or multiprocessing.parent_process() is None:
        return
    from multiprocessing.util import Finalize  # noqa: PLC0415 - only in its children

    def end() -> None:
        begin_exit()
        shutdown()

    Finalize(None, end, exitpriority=10)
