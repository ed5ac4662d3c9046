"""The run context at the edge of the process: what others sent, and what calls of our own send.

The API client does not know runs, so the process context registers here which headers a call from
the current run has.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flowspan.core.run_context import BadRunContextError, parse_run_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.run_context import OuterRun

logger = logging.getLogger("flowspan")

_warned: set[str] = set()
"""The carriers whose malformed run context was logged."""


def parse_or_warn(text: str, carrier: str) -> OuterRun | None:
    """Return the run that a run context names; None if it is empty or malformed.

    The first malformed text of each carrier is logged as a warning.

    Args:
        text: The run context.
        carrier: The variable or header that contains it, for the warning.
    """
    if not text:
        return None
    try:
        return parse_run_context(text)
    except BadRunContextError as error:
        if carrier not in _warned:
            _warned.add(carrier)
            logger.warning(
                "%s is ignored, so runs here do not become children of the run that it should "
                "name: %s. Expected r:<id of the run, 32 hex digits>;t:<id of its root>.",
                carrier,
                error,
            )
        return None


def _no_headers() -> dict[str, str]:
    return {}


_headers_of: Callable[[], dict[str, str]] = _no_headers


def register(headers_of: Callable[[], dict[str, str]]) -> None:
    """Register the function that returns the headers of a call from the current run."""
    global _headers_of  # noqa: PLW0603 - one per process
    _headers_of = headers_of


def call_metadata() -> tuple[tuple[str, str], ...] | None:
    """Return the gRPC metadata of a call from the current run; None outside runs."""
    return tuple(_headers_of().items()) or None
