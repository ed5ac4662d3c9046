"""The run context in the headers of a call: the run that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.errors import InvalidFieldError
from flowspan_service.domain.run_context import (
    MEMBER,
    BadRunContextError,
    parse_run_context,
    run_context_in_tracestate,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan_service.domain.run_context import RunContext

HEADER = "flowspan-run"
TRACESTATE = "tracestate"


def run_context_of(headers: Mapping[str, str | bytes]) -> RunContext | None:
    """Return the run that the headers of a call name (`Call.metadata`); None without one.

    The header `flowspan-run` comes before the member `flowspan` of the header `tracestate`.

    Raises:
        InvalidFieldError: A header names a run in the wrong form.
    """
    text, field = headers.get(HEADER), HEADER
    if not text:
        tracestate = headers.get(TRACESTATE)
        text, field = None, f"{TRACESTATE}: {MEMBER}"
        if isinstance(tracestate, str):
            text = run_context_in_tracestate(tracestate)
        if text is None:
            return None
    return given_run_context(text if isinstance(text, str) else text.decode("latin-1"), field)


def given_run_context(text: str, field: str) -> RunContext:
    """Return the run that a text names.

    Args:
        text: The run context.
        field: The header or field that has it.

    Raises:
        InvalidFieldError: It has the wrong form.
    """
    try:
        return parse_run_context(text)
    except BadRunContextError as error:
        raise InvalidFieldError(
            f"{field}: {error}",
            advice='Send "r:<id of the run, 32 hex digits>;t:<id of its root>", or nothing.',
            field=field,
        ) from None
