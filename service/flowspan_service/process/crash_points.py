"""Crash points: named places at which a test kills the service."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def crash_point(
    point: str | None, at: int, *, elsewhere: Collection[str] = ()
) -> Callable[[str], None] | None:
    """Return a callback that kills the process when the point is reached for the given time.

    Args:
        point: The name of the point; None for no crash.
        at: The visit on which the process dies, counted from 1.
        elsewhere: Points that another callback watches.

    Returns:
        The callback, called with the name of each point; None if there is nothing to watch.
    """
    if point is None or point in elsewhere:
        return None
    left = at

    def reached(name: str) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reached
