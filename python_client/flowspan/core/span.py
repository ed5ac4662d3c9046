"""The interface between the engine and tracing.

With tracing off, the engine holds None instead of a `RunSpan`, at the cost of one comparison. The
implementation on top of OpenTelemetry is `flowspan.telemetry`.

None of these methods may raise: a tracing error must never fail a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flowspan.core.definition import Definition
    from flowspan.core.events import RunRecord


class RunSpan(Protocol):
    """The span of one run, from its creation to its terminal state."""

    def attempt(self, number: int, time_ns: int) -> None:
        """Begin an attempt (1 for the first); end everything that the previous one left open."""

    def attempt_failed(self, error: BaseException | None, message: str, time_ns: int) -> None:
        """Record a failed attempt that is followed by another; the run's span stays open and ok."""

    def waits_for(self, reason: str, time_ns: int) -> None:
        """Record that the run has waited for something since a time, instead of running its code.

        The wait lasts until the next attempt, the next call of this method, or the end of the run.

        Args:
            reason: The reason: one of the constants in `flowspan.core.waits`.
            time_ns: Its begin, in nanoseconds since 1970 UTC; it may have passed, but is not before
                that of the previous call.
        """

    def link(self, traceparent: str, run_id: str, input_name: str, count: int = 0) -> None:
        """Record that the run uses the result of another run, or waits for it.

        Args:
            traceparent: The traceparent in the other run's record; empty if it has none.
            run_id: The other run's id.
            input_name: The parameter that takes the result; "wait_for" for no parameter.
            count: The number of runs that the parameter takes results of, if this link stands for
                all of them; else 0.
        """

    def named(self, name: str) -> None:
        """Record that the run was renamed after the span started."""

    def mapped(self, index: int) -> None:
        """Record the index of a run that `map` created; 0 for the first."""

    def awaiting_retry(self, delay_s: float, time_ns: int) -> None:
        """Record that the run waits before its next attempt."""

    def made_artifact(self, artifact_id: str, kind: str, key: str, time_ns: int) -> None:
        """Record an artifact of the run.

        Args:
            artifact_id: Its id.
            kind: Its type.
            key: Its key; empty if it has none.
            time_ns: The creation time, in nanoseconds since 1970 UTC.
        """

    def enter(self) -> object:
        """Make the span current in this thread or asyncio task; called around user code.

        Returns:
            A token for `leave`.
        """

    def leave(self, token: object) -> None:
        """Undo `enter`."""

    def current_ids(self) -> tuple[str, str]:
        """Return the trace id and span id, in hex, for a log record made here and now."""

    def own_ids(self) -> tuple[str, str]:
        """Return the trace id and span id, in hex, of the run or its current attempt."""

    def end(
        self,
        state_type: int,
        state_name: str,
        message: str,
        error: BaseException | None,
        time_ns: int,
    ) -> None:
        """End the span with the run. Called exactly once."""

    def rolled_back(self, message: str, time_ns: int) -> None:
        """Record that a completed run was rolled back with its transaction."""


class Tracer(Protocol):
    """A factory of run spans."""

    def start_run(self, record: RunRecord, definition: Definition, time_ns: int) -> RunSpan | None:
        """Start the span of a run that is about to be created.

        Its parent is the current OpenTelemetry context, which is the calling run's inside user
        code. Sets the record's traceparent, tracestate and parent_span_id.

        Args:
            record: The run, before it is emitted.
            definition: The flow or task: its name, function and number of retries.
            time_ns: The creation time of the run, in nanoseconds since 1970 UTC.

        Returns:
            The span; None if this run is not traced.
        """
