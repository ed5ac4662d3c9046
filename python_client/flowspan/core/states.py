"""States: immutable records of the progress of a run."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

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
    is_unfinished,
    state_text,
)
from flowspan.core.trace_ids import format_traceparent, parse_traceparent
from flowspan.core.tracebacks import trimmed
from flowspan.core.values.error_attributes import trace_of, with_trace
from flowspan.core.values.inspection import exact_text, is_instance
from flowspan.exceptions import CancelRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from types import TracebackType
    from typing import Self
    from uuid import UUID

    from flowspan.core.events import FailureInfo
    from flowspan.core.trace_ids import TraceIds


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
    "StateDetails",
    "StateType",
]


class State(StateQuestions):
    """A state that a run entered, or that a flow or task returns to decide how it ends.

    Attributes:
        type: The type of the state.
        name: The display name: the type's name, or a more specific one such as "TimedOut".
        message: The reason, for people; may be empty.
        data: The result of the run, or the exception that ended it.
        failure: The exception in the form in which it is reported; None without one.
        run_id: The run that entered it; None for a handmade state.
        time_ns: The time of entry, in nanoseconds since 1970 UTC; None for a handmade state.
        trace_ids: The ids of the span of the run that ended in it; None without tracing.
    """

    __slots__ = (
        "_flow_run_id",
        "_holds_upstream",
        "_id",
        "_pause",
        "_scheduled_time",
        "_trace",
        "data",
        "failure",
        "message",
        "name",
        "run_id",
        "time_ns",
        "trace_ids",
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
        if time_ns is None:  # handmade, so the arguments may be strings or None
            type, message = StateType(type), message or ""  # noqa: A001 - the attribute's name
        self.type = type
        self.name = name or type.name.capitalize()
        self.message = message
        self.data = data
        self.run_id = run_id
        self.time_ns = time_ns
        self.failure = failure
        self.trace_ids: TraceIds | None = None

    @property
    def traceparent(self) -> str:
        """W3C traceparent of the span of the run that ended in it; empty without tracing."""
        return format_traceparent(self.trace_ids)

    @traceparent.setter
    def traceparent(self, text: str) -> None:
        self.trace_ids = parse_traceparent(text)

    @property
    def timestamp(self) -> datetime | None:
        """The time of entry, in UTC; None for a handmade state."""
        if self.time_ns is None:
            return None
        from datetime import UTC, datetime  # noqa: PLC0415 - not needed to define flows

        return datetime.fromtimestamp(self.time_ns / 1e9, UTC)

    @property
    def scheduled_time(self) -> datetime | None:
        """The time at which the run continues, if a handmade state sets one."""
        return getattr(self, "_scheduled_time", None)  # rarely set, as each task makes states

    @scheduled_time.setter
    def scheduled_time(self, time: datetime) -> None:
        self._scheduled_time = time

    @property
    def pause(self) -> Pause:
        """The details of a handmade state of type PAUSED; empty for any other state."""
        return getattr(self, "_pause", None) or Pause()  # rarely set, as each task makes states

    @pause.setter
    def pause(self, pause: Pause) -> None:
        self._pause = pause

    @property
    def id(self) -> UUID:
        """An id that is created on first access. The service does not know it."""
        known: UUID | None = getattr(self, "_id", None)  # rarely set, as each task makes states
        if known is None:
            from uuid import uuid4  # noqa: PLC0415 - not needed to define flows

            known = self._id = uuid4()
        return known

    @property
    def flow_run_id(self) -> str | None:
        """The flow run that it belongs to: the run itself or the flow run of the task run."""
        return getattr(self, "_flow_run_id", None)

    @flow_run_id.setter
    def flow_run_id(self, flow_run_id: str | None) -> None:
        self._flow_run_id = flow_run_id

    @property
    def state_details(self) -> StateDetails:
        """The ids of the runs that it belongs to, and the time at which the run continues."""
        from uuid import UUID  # noqa: PLC0415 - not needed to define flows

        flow_run_id, run_id = self.flow_run_id, self.run_id
        is_task = run_id is not None and run_id != flow_run_id
        return StateDetails(
            flow_run_id=UUID(flow_run_id) if flow_run_id is not None else None,
            task_run_id=UUID(run_id) if is_task else None,
            scheduled_time=self.scheduled_time,
            traceparent=self.traceparent or None,
            pause_timeout=self.pause.timeout,
            pause_key=self.pause.key,
            pause_reschedule=self.pause.reschedule,
        )

    @property
    def holds_upstream(self) -> bool:
        """True if the result of the run contains futures or states."""
        return getattr(self, "_holds_upstream", False)  # rarely set, as each task makes states

    @holds_upstream.setter
    def holds_upstream(self, holds: bool) -> None:
        self._holds_upstream = holds

    def result(
        self,
        raise_on_failure: bool = True,  # noqa: FBT001, FBT002 - Prefect's signature
        retry_result_failure: bool = True,  # noqa: FBT001, FBT002 - Prefect's signature
        *,
        _sync: bool | None = None,
    ) -> Any:
        """Return the result of the run; in async code, a coroutine for it (`aresult`).

        Inside a run, its code is async if its function is; outside of runs, if an event loop is
        running.

        Args:
            raise_on_failure: True raises the exception of a run that did not complete. False
                returns its data, or its exception if it has none.
            retry_result_failure: No effect; accepted for compatibility with Prefect.
            _sync: True forces the value and False a coroutine, wherever it is called.

        Raises:
            UnfinishedRun: It has not ended.
            RunFailed: It failed, or crashed (CrashedRun), and its state holds no exception.
            CancelRun: It was cancelled.
            UpstreamFailed: It never began, because an upstream run did not complete. It is an
                UnfinishedRun.
        """
        from flowspan.core.async_dispatch import gives_awaitable  # noqa: PLC0415 - circular import

        del retry_result_failure
        if gives_awaitable(sync=_sync):
            return self.aresult(raise_on_failure)
        __tracebackhide__ = True  # for pytest and IPython
        return self.outcome(raise_on_failure=raise_on_failure)

    async def aresult(
        self,
        raise_on_failure: bool = True,  # noqa: FBT001, FBT002 - Prefect's signature
        retry_result_failure: bool = True,  # noqa: FBT001, FBT002 - Prefect's signature
    ) -> Any:
        """Return the result of the run; the async version of `result`."""
        del retry_result_failure
        return self.outcome(raise_on_failure=raise_on_failure)

    def outcome(self, *, raise_on_failure: bool = True) -> Any:
        """Return the result like the sync `result`, wherever it is called."""
        if self.type is COMPLETED:
            return self.data
        if not raise_on_failure:
            return self._data_or_error()
        error = self.error()
        __tracebackhide__ = True  # for pytest and IPython
        raise with_trace(error, self._trace_for(error))

    def _data_or_error(self) -> Any:
        data = self.data
        if data is not None:
            return data
        error = self.error()
        if is_unfinished(error):
            raise error
        return error

    def _trace_for(self, error: BaseException) -> TracebackType | None:
        """Return the traceback with which the exception ended the run, without flowspan's frames.

        Each raise adds frames to it, so a second call must not show the caller of the first.
        """
        if not hasattr(self, "_trace"):  # rarely set, as each task makes states
            self._trace: TracebackType | None = trimmed(trace_of(error))
        return self._trace

    def error(self) -> BaseException:
        """Return the exception for this state, which must not be COMPLETED."""
        error = self.own_error()
        if error is not None:
            return error
        data = self.data
        text = exact_text(data) if is_instance(data, str) else self.message
        return error_of(self.type, self.name, text)

    def own_error(self) -> BaseException | None:
        """Return the exception in its data, or the exception of its first failed state."""
        seen: set[int] = set()
        data = self.data
        while id(data) not in seen:  # a collection may contain itself
            seen.add(id(data))
            if is_instance(data, BaseException):
                return data
            bad = first_bad(data)
            if bad is None:
                return None
            data = bad.data
            if data is None or is_instance(data, str):
                return bad.error()
        return None

    def returned(self) -> State:
        """Return the state itself, for a caller with `return_state=True`.

        Raises:
            BaseException: The run was ended by something that must end its callers too: Ctrl-C, an
                exit of the interpreter, the deadline of a run that called it.
        """
        if self.type is COMPLETED:
            return self
        data = self.data
        if is_instance(data, BaseException) and not is_instance(data, (Exception, CancelRun)):
            raise data
        return self

    def renamed(self, *, name: str = "", message: str = "") -> Self:
        """Return a copy with another name or message."""
        fresh = copy(self)
        fresh.name = name or self.name
        fresh.message = message or self.message
        return fresh

    def __getstate__(self) -> object:
        _ = self.id  # create it now, so that the copy has the same one
        # A traceback cannot be pickled.
        slots: Any = cast("Any", super().__getstate__())[1]
        facts = {name: value for name, value in slots.items() if name != "_trace"}
        # A stored state has the text, so that other versions of flowspan can read it.
        facts["traceparent"] = format_traceparent(facts.pop("trace_ids"))
        return None, facts

    def __repr__(self) -> str:
        return state_text(self.type, self.name, self.message)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        if (self.type, self.name, self.message, self.run_id, self.time_ns) != (
            other.type,
            other.name,
            other.message,
            other.run_id,
            other.time_ns,
        ):
            return False
        # Handmade states may differ in their data, which is never compared.
        return self.run_id is not None or self is other or self.id == other.id

    def __hash__(self) -> int:
        return hash((self.type, self.name, self.message, self.run_id, self.time_ns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """The details of a handmade state of type PAUSED.

    Attributes:
        timeout: The time at which the pause ends; None for no limit.
        key: The name of the pause.
        reschedule: True if the run leaves its process in the meantime.
    """

    timeout: datetime | None = None
    key: str | None = None
    reschedule: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDetails:
    """The details of a state in addition to its type, name and message.

    Attributes:
        flow_run_id: The flow run that it belongs to; None for a handmade state.
        task_run_id: The task run that entered it; None for a flow run's or a handmade state.
        scheduled_time: The time at which the run continues, if one was set.
        traceparent: W3C traceparent of the span of the run that ended in it; None without tracing.
        pause_timeout: The time at which a pause ends, if a handmade state sets one.
        pause_key: The name of that pause.
        pause_reschedule: True if the run leaves its process during that pause.
        child_flow_run_id: Always None, like the following ones: for compatibility with Prefect.
    """

    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None
    scheduled_time: datetime | None = None
    traceparent: str | None = None
    pause_timeout: datetime | None = None
    pause_key: str | None = None
    pause_reschedule: bool = False
    child_flow_run_id: UUID | None = None
    cache_key: str | None = None
    cache_expiration: datetime | None = None


class ReturnedState(State):
    """The state of a run that returned states, which decide how it ended.

    Its caller gets the returned value, even if that makes the run fail.

    Attributes:
        is_returned: True if a task returned the state itself; False if it is in `data`.
    """

    __slots__ = ("is_returned",)

    is_returned: bool

    def given(self) -> Any:
        """Return the value of a call without `return_state=True`."""
        return self if self.is_returned else self.data


class ReusedState(State):
    """The state of a subflow whose result was stored by an earlier attempt of its caller.

    Attributes:
        earlier: The name and message of the subflow's state in that attempt.
    """

    __slots__ = ("earlier",)

    earlier: tuple[str, str]

    def returned(self) -> State:
        """Return the state of the earlier attempt, for a caller with `return_state=True`."""
        state = State(self.type, *self.earlier, self.data, self.run_id, self.time_ns)
        state.flow_run_id = self.flow_run_id
        return state


def states_in(value: Any) -> list[State]:
    """Return the states of a list, tuple or set that holds only states; else an empty list."""
    states: list[State] = []
    for item in _items_of(value):
        if not is_instance(item, State):
            return []
        states.append(item)
    return states


def _items_of(value: Any) -> Iterable[Any]:
    # By the base class's methods, as those of a subclass are user code.
    if is_instance(value, list):
        return list.__iter__(value)
    if is_instance(value, tuple):
        return tuple.__iter__(value)
    return set.__iter__(value) if is_instance(value, set) else ()


def first_bad(value: Any) -> State | None:
    """Return the first state that did not complete: the value itself or one of its items."""
    states = [value] if is_instance(value, State) else states_in(value)
    bad = [state for state in states if state.type is not COMPLETED]
    # A run that never began because of another one is less informative than that one.
    ended = [state for state in bad if state.type in TERMINAL_TYPES]
    return next(iter(ended or bad), None)


class StoredState(State):
    """A COMPLETED state that reads its result from storage on every access."""

    __slots__ = ("_load",)

    def __init__(self, state: State, load: Callable[[], Any]) -> None:
        """Copy a state without its result.

        Args:
            state: The state to copy.
            load: Reads the result.
        """
        super().__init__(
            state.type, state.name, state.message, None, state.run_id, state.time_ns, state.failure
        )
        self.flow_run_id = state.flow_run_id
        self._load = load

    @property
    def data(self) -> Any:
        """The result, read from storage."""
        return self._load()

    @data.setter
    def data(self, value: Any) -> None:
        """Ignore the value, as the state holds no result."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process may not have access to the storage, so the pickle contains the result.
        facts = (self.type, self.name, self.message, self.data, self.run_id, self.time_ns)
        known = {"_id": self.id, "_flow_run_id": self.flow_run_id, "traceparent": self.traceparent}
        return State, (*facts, self.failure), (None, known)
