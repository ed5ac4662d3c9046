"""Parts of the records of runs: the span, the inputs, and the place of the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan.core.trace_urls import is_sampled

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """The span of a run: W3C traceparent and tracestate, and the parent's span id."""

    traceparent: str
    tracestate: str = ""
    parent_span_id: str = ""

    @property
    def trace_id(self) -> str:
        """The trace id, 32 hex digits; empty if unknown."""
        parts = self.traceparent.split("-")
        return parts[1] if len(parts) >= 4 else ""

    @property
    def is_sampled(self) -> bool:
        """True if the trace is sampled, so that its spans are exported."""
        return is_sampled(self.traceparent)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInput:
    """A run whose result another run took, and the parameter that got it.

    Attributes:
        parameter: The parameter. A result inside a list or a dictionary counts for the parameter
            that got the container. "wait_for" for a run that was only waited for.
    """

    run_id: UUID
    parameter: str

    @property
    def id(self) -> UUID:
        """Alias of `run_id`, under Prefect's name."""
        return self.run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLocation:
    """The place of a function in its source code.

    Attributes:
        file_path: The file; empty if unknown.
        line: The line, from 1; 0 if unknown.
        function: The full name of the function; empty if unknown.
    """

    file_path: str = ""
    line: int = 0
    function: str = ""

    def __str__(self) -> str:
        place = f"{self.file_path}:{self.line}" if self.line else self.file_path
        return f"{self.function} ({place})" if self.function and place else self.function or place
