"""Read your own writes: API calls wait for this process's earlier reports.

Reports travel in the background, on their own stream. Without waiting for them, a call might not
find the very run that makes it. The API client does not know the reporter, so the process context
registers here how to wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.connection.address import Address

    Wait = Callable[["Address", float | None], object]


def _nothing_reported() -> Wait | None:
    return None


_find_wait: Callable[[], Wait | None] = _nothing_reported


def register(find_wait: Callable[[], Wait | None]) -> None:
    """Register the lookup of the wait for this process's reports.

    Args:
        find_wait: Returns the function that waits, given the service's address and a timeout in
            seconds (None for the default); or None while this process has reported nothing.
    """
    global _find_wait  # noqa: PLW0603 - one per process
    _find_wait = find_wait


def pending_wait() -> Wait | None:
    """Return the function that waits for this process's reports; None if there are none."""
    return _find_wait()
