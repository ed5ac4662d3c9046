"""States: immutable records of what a run is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flowspan.core.error_attributes import trace_of, with_trace
from flowspan.core.state_types import (
    CANCELLED,
    CANCELLING,
    COMPLETED,
    CRASHED,
    FAILED,
    PAUSED,
    PENDING,
    RUNNING,
    SCHEDULED,
    TERMINAL_TYPES,
    StateQuestions,
    StateType,
    error_of,
)
from flowspan.core.tracebacks import trimmed
from flowspan.core.values import is_instance
from flowspan.exceptions import CancelRun

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType

    from flowspan.core.events import FailureInfo


__all__ = [
    "CANCELLED",
    "CANCELLING",
    "COMPLETED",
    "CRASHED",
    "FAILED",
    "PAUSED",
    "PENDING",
    "RUNNING",
    "SCHEDULED",
    "TERMINAL_TYPES",
    "State",
    "StateType",
]


class State(StateQuestions):
    """A state that a run entered, or that a flow or task returns to decide how it ends.

    Attributes:
        type: What kind of state it is.
        name: Its name for people: the type's, or a finer one such as "TimedOut".
        message: Why, for people; may be empty.
        data: What the run returned, or the exception that ended it.
        failure: The exception in the form in which it is reported; None if there is none.
        run_id: The run that entered it; None for a state that was made by hand.
        time_ns: When it was entered, in nanoseconds since 1970 UTC; None for one made by hand.
        traceparent: W3C traceparent of the span of the run that ended in it; empty without tracing.
    """

    __slots__ = (
        "_scheduled_time",
        "_trace",
        "data",
        "failure",
        "message",
        "name",
        "run_id",
        "time_ns",
        "traceparent",
        "type",
    )

    def __init__(
        self,
        type: StateType,  # noqa: A002 - the attribute's name
        name: str = "",
        message: str = "",
        data: Any = None,
        run_id: str | None = None,
        time_ns: int | None = None,
        failure: FailureInfo | None = None,
    ) -> None:
        self.type = type
        self.name = name or type.name.capitalize()
        self.message = message
        self.data = data
        self.run_id = run_id
        self.time_ns = time_ns
        self.failure = failure
        self.traceparent = ""

    @property
    def timestamp(self) -> datetime | None:
        """When it was entered, in UTC; None for one made by hand."""
        if self.time_ns is None:
            return None
        from datetime import UTC, datetime  # noqa: PLC0415 - not needed to define flows

        return datetime.fromtimestamp(self.time_ns / 1e9, UTC)

    @property
    def scheduled_time(self) -> datetime | None:
        """When the run is to go on, where that was said of a state made by hand."""
        return getattr(self, "_scheduled_time", None)  # not set for all: each task makes a state

    @scheduled_time.setter
    def scheduled_time(self, time: datetime) -> None:
        self._scheduled_time = time

    def result(self, raise_on_failure: bool = True) -> Any:  # noqa: FBT001, FBT002 - Prefect's signature
        """What the run returned.

        Args:
            raise_on_failure: Whether a run that did not complete raises its exception; else the
                exception is returned.

        Raises:
            UnfinishedRun: It has not ended.
            RunFailed: It failed, or crashed (CrashedRun), without an exception of its own.
            CancelRun: It was cancelled.
            UpstreamFailed: It never began, because a run before it did not complete.
        """
        if self.type is COMPLETED:
            return self.data
        error = self.error()
        if raise_on_failure:
            __tracebackhide__ = True  # for pytest and IPython
            raise with_trace(error, self._trace_for(error))
        return error

    def _trace_for(self, error: BaseException) -> TracebackType | None:
        """Return the traceback that the exception had when it ended the run, without our frames.

        Each raise adds frames to it. Asking for a result twice must not show the first caller, too.
        """
        if error is not self.data:
            return None
        if not hasattr(self, "_trace"):  # not set for all: each task makes a state
            self._trace: TracebackType | None = trimmed(trace_of(error))
        return self._trace

    async def aresult(self, raise_on_failure: bool = True) -> Any:  # noqa: FBT001, FBT002 - Prefect's signature
        """`result`, to be awaited."""
        return self.result(raise_on_failure)

    def error(self) -> BaseException:
        """The exception that stands for this state, which is not COMPLETED."""
        data = self.data
        if is_instance(data, BaseException):
            return data
        return error_of(self.type, self.name, self.message)

    def returned(self) -> State:
        """The state itself, for a caller that asked for it instead of the result.

        Raises:
            BaseException: What ended the run is not its own matter, but is to end its callers too:
                Ctrl-C, the exit of the interpreter, the deadline of a run that called it.
        """
        if self.type is COMPLETED:
            return self
        data = self.data
        if is_instance(data, BaseException) and not is_instance(data, (Exception, CancelRun)):
            raise data
        return self

    def __getstate__(self) -> object:
        # A traceback cannot be pickled.
        slots: Any = cast("Any", super().__getstate__())[1]
        return None, {name: value for name, value in slots.items() if name != "_trace"}

    def __repr__(self) -> str:
        kind = self.type.name
        inside = repr(self.message) if self.message else ""
        name = self.name if self.name.upper() == kind else f"{self.name}[{kind}]"
        return f"{name}({inside})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        return (self.type, self.name, self.message, self.run_id, self.time_ns) == (
            other.type,
            other.name,
            other.message,
            other.run_id,
            other.time_ns,
        )

    def __hash__(self) -> int:
        return hash((self.type, self.name, self.message, self.run_id, self.time_ns))


class StoredState(State):
    """A COMPLETED state that does not hold its result, but reads it where it is stored."""

    __slots__ = ("_load",)

    def __init__(self, state: State, load: Callable[[], Any]) -> None:
        """Takes all but the result from another state.

        Args:
            state: The other one.
            load: Gives the result.
        """
        super().__init__(
            state.type, state.name, state.message, None, state.run_id, state.time_ns, state.failure
        )
        self._load = load

    @property
    def data(self) -> Any:
        """The result, read anew."""
        return self._load()

    @data.setter
    def data(self, value: Any) -> None:
        """Nothing is held."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Where it is read may not be to be had in another process: there it holds its result.
        facts = (self.type, self.name, self.message, self.data, self.run_id, self.time_ns)
        return State, (*facts, self.failure)
