"""How the engine speaks to tracing, whoever does it.

With tracing off the engine holds None instead of a `RunSpan`, so that it costs one comparison. The
implementation over OpenTelemetry is `flowspan.telemetry`.

None of these methods may raise: tracing that fails never fails a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flowspan.core.definition import Definition
    from flowspan.core.events import RunRecord


class RunSpan(Protocol):
    """The span of one run, from its creation to its terminal state."""

    def attempt(self, number: int, time_ns: int) -> None:
        """An attempt begins (1 for the first); it ends what was left open of the one before."""

    def attempt_failed(self, error: BaseException | None, message: str, time_ns: int) -> None:
        """The attempt failed and another one follows; the run's span stays open and is not red."""

    def link(self, traceparent: str, run_id: str, input_name: str) -> None:
        """The run takes the result of another one, or waits for it.

        Args:
            traceparent: The other run's, as its record has it; empty if it has none.
            run_id: The other run's id.
            input_name: The parameter that takes the result; "wait_for" if none does.
        """

    def named(self, name: str) -> None:
        """The run has another name than it had when the span started."""

    def mapped(self, index: int) -> None:
        """The run is one of those that `map` made; 0 for the first."""

    def awaiting_retry(self, delay_s: float, time_ns: int) -> None:
        """The run waits before its next attempt."""

    def made_artifact(self, artifact_id: str, kind: str, key: str, time_ns: int) -> None:
        """The run made an artifact.

        Args:
            artifact_id: Its id.
            kind: Its type.
            key: Its key; empty if it has none.
            time_ns: When, in nanoseconds since 1970 UTC.
        """

    def enter(self) -> object:
        """Makes the span the current one of this thread or asyncio task; called around user code.

        Returns:
            A token for `leave`.
        """

    def leave(self, token: object) -> None:
        """Undoes `enter`."""

    def current_ids(self) -> tuple[str, str]:
        """The trace id and span id, in hex, that a log record made here and now belongs to."""

    def own_ids(self) -> tuple[str, str]:
        """The trace id and span id, in hex, of the run or of its attempt that is going on."""

    def end(
        self,
        state_type: int,
        state_name: str,
        message: str,
        error: BaseException | None,
        time_ns: int,
    ) -> None:
        """The run ended. Called exactly once."""

    def rolled_back(self, message: str, time_ns: int) -> None:
        """The run, which had completed, was rolled back with its transaction."""


class Tracer(Protocol):
    """Makes the spans of runs."""

    def start_run(self, record: RunRecord, definition: Definition, time_ns: int) -> RunSpan | None:
        """Starts the span of a run that is about to be created.

        Its parent is the current OpenTelemetry context, which is that of the calling run inside
        user code. Sets the record's traceparent, tracestate and parent_span_id.

        Args:
            record: The run, before it is emitted.
            definition: The flow or task: its name, function and number of retries.
            time_ns: When the run is created, in nanoseconds since 1970 UTC.

        Returns:
            The span; None where this run is not traced.
        """
