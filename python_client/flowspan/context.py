"""Where the code is running: the current run, and the tags that new runs get."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowspan.core.definitions import checked_tags
from flowspan.core.runs import Run, current_run
from flowspan.drivers.begin import current_tags
from flowspan.exceptions import NoRunError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["get_run_context", "tags"]


@contextmanager
def tags(*new_tags: str) -> Iterator[tuple[str, ...]]:
    """Adds tags to the flow and task runs that are called inside of a `with` block.

    Args:
        *new_tags: The tags, besides those of blocks around this one.

    Yields:
        All tags that are in force.

    Raises:
        TypeError, ValueError: A tag is not text, or empty, or there are too many.
    """
    together = checked_tags((*current_tags.get(), *new_tags))
    token = current_tags.set(together)
    try:
        yield together
    finally:
        current_tags.reset(token)


def get_run_context() -> Run:
    """The run whose code is running here.

    Raises:
        NoRunError: No run is going on here.
    """
    run = current_run.get()
    if run is None:
        raise NoRunError("No flow or task run is going on here.")
    return run
