"""The encoded facts about runs that spans show, in plain form."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class ErrorFacts(NamedTuple):
    """One error of a failure; see flowspan.v1.Failure."""

    type: str
    message: str
    stack_trace: str
    """Empty if the client sent none."""


class CodeFacts(NamedTuple):
    """The place of a function; see flowspan.v1.CodeLocation. Empty or 0 if unknown."""

    function: str
    file_path: str
    line: int


class InputFacts(NamedTuple):
    """A run whose result another run took; see flowspan.v1.RunInput."""

    run_id: str
    parameter: str


class SpanDecoder(Protocol):
    """Decodes what the domain keeps encoded; the edge implements it."""

    def errors(self, failure: bytes) -> Sequence[ErrorFacts]:
        """Return the errors of a failure: the error itself, then its causes."""
        ...

    def code(self, definition: bytes) -> CodeFacts:
        """Return the place of the function in the data of a definition."""
        ...

    def inputs(self, inputs: bytes) -> Sequence[InputFacts]:
        """Return the inputs of a run."""
        ...
