"""Read your own writes: calls of the API wait for what this process has reported before.

Reports travel on a stream of their own, in the background. A call that did not wait for them would
not find the very run that makes it. Which part of the client reports is none of the API client's
business, so the host of the runs registers here how to wait.
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
    """Register how to wait for the reports of this process.

    Args:
        find_wait: Returns the function that waits, given the service's address and a timeout in
            seconds (None for the default); or None while this process has reported nothing.
    """
    global _find_wait  # noqa: PLW0603 - one per process
    _find_wait = find_wait


def pending_wait() -> Wait | None:
    """Return the function that waits for this process's reports; None if there are none."""
    return _find_wait()
