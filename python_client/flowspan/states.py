"""State constructors, for flows and tasks that return states.

A flow or task that returns a final state ends in that state, whatever its name::

    return Completed(name="Skipped", message="nothing new", data=0)
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from flowspan import clock
from flowspan.core.async_dispatch import gives_awaitable
from flowspan.core.states import (
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
    Pause,
    State,
    StateDetails,
    StateType,
    states_in,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = [
    "TERMINAL_STATES",
    "TERMINAL_TYPES",
    "AwaitingConcurrencySlot",
    "AwaitingRetry",
    "Cancelled",
    "Cancelling",
    "Completed",
    "Crashed",
    "Failed",
    "InfrastructurePending",
    "Late",
    "Paused",
    "Pending",
    "Resuming",
    "Retrying",
    "Running",
    "Scheduled",
    "State",
    "StateDetails",
    "StateGroup",
    "StateMaker",
    "StateType",
    "Submitting",
    "Suspended",
    "aget_state_exception",
    "araise_state_exception",
    "get_state_exception",
    "get_state_result",
    "is_state_iterable",
    "raise_state_exception",
]

TERMINAL_STATES = TERMINAL_TYPES


class StateMaker:
    """Constructor of states of one type. `Completed` and the others below are its instances.

    Args:
        type_: The type of the states.
        name: The default name of the states; if empty, the name of the type.
    """

    def __init__(self, type_: StateType, name: str = "") -> None:
        self._type = type_
        self._name = self.__name__ = self.__qualname__ = name or type_.name.capitalize()

    def __call__(
        self, *, name: str | None = None, message: str | None = None, data: Any = None
    ) -> State:
        """Return a new state.

        Args:
            name: A custom name for people ("Skipped"). It does not change the type.
            message: The reason, for people.
            data: The result, for Completed. May be the exception, for Failed, Crashed and
                Cancelled.

        Raises:
            TypeError: The name or the message is not a string.
        """
        for what, value in (("name", name), ("message", message)):
            if value is not None and not isinstance(value, str):
                raise TypeError(
                    f"the {what} of a state must be a string, not {value!r}. Pass a result or an "
                    "exception as data=…"
                )
        return State(self._type, name or self._name, message or "", data)

    def __repr__(self) -> str:
        return f"flowspan.states.{self._name}"

    def __reduce__(self) -> str:
        return self._name


class ScheduledMaker(StateMaker):
    """Constructor of states of type SCHEDULED, in which a run waits for a time.

    Args:
        name: The default name of the states.
    """

    def __init__(self, name: str) -> None:
        super().__init__(SCHEDULED, name)

    def __call__(
        self,
        scheduled_time: datetime | None = None,
        *,
        name: str | None = None,
        message: str | None = None,
        data: Any = None,
    ) -> State:
        """Return a new state.

        Args:
            scheduled_time: The time at which the run is due, with a time zone; None for now.
            name: See `StateMaker`.
            message: See `StateMaker`.
            data: See `StateMaker`.

        Raises:
            TypeError: The name or the message is not a string, or the time is not a datetime.
            ValueError: The time has no time zone.
        """
        state = super().__call__(name=name, message=message, data=data)
        state.scheduled_time = _with_zone(scheduled_time or _now(), "scheduled_time")
        return state


class PausedMaker(StateMaker):
    """Constructor of states of type PAUSED, in which a run waits to be resumed.

    Args:
        name: The default name of the states.
        reschedule: The default of `reschedule`.
    """

    def __init__(self, name: str, *, reschedule: bool) -> None:
        super().__init__(PAUSED, name)
        self._reschedule = reschedule

    def __call__(
        self,
        *,
        timeout_seconds: float | None = None,
        pause_expiration_time: datetime | None = None,
        reschedule: bool | None = None,
        pause_key: str | None = None,
        name: str | None = None,
        message: str | None = None,
        data: Any = None,
    ) -> State:
        """Return a new state.

        Args:
            timeout_seconds: The time until the pause ends, in seconds; None for no limit.
            pause_expiration_time: The time at which it ends, with a time zone, instead.
            reschedule: True if the run leaves its process in the meantime.
            pause_key: The name of the pause.
            name: See `StateMaker`.
            message: See `StateMaker`.
            data: See `StateMaker`.

        Raises:
            TypeError: The name or the message is not a string, or the time is not a datetime.
            ValueError: Both times were given, or the time has no time zone.
        """
        if timeout_seconds is not None and pause_expiration_time is not None:
            raise ValueError("give either timeout_seconds or pause_expiration_time, not both")
        state = super().__call__(name=name, message=message, data=data)
        end = pause_expiration_time
        if timeout_seconds is not None:
            end = _now(timeout_seconds)
        elif end is not None:
            end = _with_zone(end, "pause_expiration_time")
        is_rescheduled = self._reschedule if reschedule is None else reschedule
        state.pause = Pause(timeout=end, key=pause_key, reschedule=is_rescheduled)
        return state


def _now(after_s: float = 0) -> datetime:
    from datetime import UTC, datetime  # noqa: PLC0415 - not needed to define flows

    return datetime.fromtimestamp(clock.program_ns() / 1e9 + after_s, UTC)


def _with_zone(time: datetime, what: str) -> datetime:
    from datetime import datetime  # noqa: PLC0415 - not needed to define flows

    if not isinstance(time, datetime):
        raise TypeError(f"{what} must be a datetime, not {time!r}")
    if time.tzinfo is None:
        raise ValueError(f"{what} must have a time zone: {time!r}")
    return time


# States that are not final. A flow or task that returns one of them has failed.
Scheduled = ScheduledMaker("Scheduled")
Late = ScheduledMaker("Late")
AwaitingRetry = ScheduledMaker("AwaitingRetry")
AwaitingConcurrencySlot = ScheduledMaker("AwaitingConcurrencySlot")
Resuming = ScheduledMaker("Resuming")
Pending = StateMaker(PENDING)
Submitting = StateMaker(PENDING, "Submitting")
InfrastructurePending = StateMaker(PENDING, "InfrastructurePending")
Running = StateMaker(RUNNING)
Retrying = StateMaker(RUNNING, "Retrying")
Paused = PausedMaker("Paused", reschedule=False)
Suspended = PausedMaker("Suspended", reschedule=True)
Cancelling = StateMaker(CANCELLING)

# Final states.
Completed = StateMaker(COMPLETED)
Failed = StateMaker(FAILED)
Cancelled = StateMaker(CANCELLED)
Crashed = StateMaker(CRASHED)


async def get_state_result(
    state: State,
    raise_on_failure: bool = True,  # noqa: FBT001, FBT002 - Prefect's signature
    retry_result_failure: bool = True,  # noqa: FBT001, FBT002 - Prefect's signature
) -> Any:
    """Return the result of a state; see `State.result`."""
    return await state.aresult(raise_on_failure, retry_result_failure)


async def aget_state_exception(state: State) -> BaseException:
    """Return the exception of a run that did not complete; see `get_state_exception`."""
    return _exception_of(state)


def get_state_exception(state: State, *, _sync: bool | None = None) -> Any:
    """Return the exception of a run that did not complete; in asynchronous code, a coroutine.

    Args:
        state: A state that is Failed, Crashed or Cancelled.
        _sync: As for `State.result`.

    Returns:
        The state's exception, or the exception of the first failed state in it. Otherwise
        a RunFailed, CrashedRun or CancelRun with the state's message.

    Raises:
        ValueError: The state is not Failed, Crashed or Cancelled.
    """
    return aget_state_exception(state) if gives_awaitable(sync=_sync) else _exception_of(state)


async def araise_state_exception(state: State) -> None:
    """Raise the exception of a run that did not complete; see `raise_state_exception`."""
    _raise_exception_of(state)


def raise_state_exception(state: State, *, _sync: bool | None = None) -> Any:
    """Raise the exception of a run that did not complete. Other states are a no-op.

    Args:
        state: Any state.
        _sync: As for `State.result`.

    Returns:
        None; in asynchronous code, a coroutine that raises the exception.

    Raises:
        BaseException: The exception that `get_state_exception` returns.
    """
    return (
        araise_state_exception(state) if gives_awaitable(sync=_sync) else _raise_exception_of(state)
    )


def _exception_of(state: State) -> BaseException:
    if not _is_unhappy(state):
        raise ValueError(
            f"only a Failed, Crashed or Cancelled state has an exception, not {state!r}"
        )
    return state.error()


def _raise_exception_of(state: State) -> None:
    if _is_unhappy(state):
        __tracebackhide__ = True  # for pytest and IPython
        state.outcome()


def _is_unhappy(state: State) -> bool:
    return state.type in TERMINAL_TYPES and state.type is not COMPLETED


def is_state_iterable(obj: Any) -> bool:
    """Return True for a non-empty list, tuple or set that contains only states."""
    return bool(states_in(obj))


class StateGroup:
    """A group of states with counts.

    Args:
        states: The states.

    Attributes:
        states: The states.
        type_counts: The number of states by type.
        total_count: The number of states.
        cancelled_count: The number that are Cancelled.
        paused_count: The number that are Paused.
        final_count: The number that are final.
        not_final_count: The number that are not final.
    """

    def __init__(self, states: Iterable[State]) -> None:
        self.states = [state for state in states]  # noqa: C416 - any iterable of states
        self.type_counts = Counter(state.type for state in self.states)
        self.total_count = len(self.states)
        self.cancelled_count = self.type_counts[CANCELLED]
        self.paused_count = self.type_counts[PAUSED]
        self.final_count = sum(state.is_final() for state in self.states)
        self.not_final_count = self.total_count - self.final_count

    @property
    def fail_count(self) -> int:
        """The number that are Failed or Crashed."""
        return self.type_counts[FAILED] + self.type_counts[CRASHED]

    def all_completed(self) -> bool:
        """Return True if all are Completed."""
        return self.type_counts[COMPLETED] == self.total_count

    def all_final(self) -> bool:
        """Return True if all are final."""
        return not self.not_final_count

    def any_cancelled(self) -> bool:
        """Return True if at least one is Cancelled."""
        return self.cancelled_count > 0

    def any_failed(self) -> bool:
        """Return True if at least one is Failed or Crashed."""
        return self.fail_count > 0

    def any_paused(self) -> bool:
        """Return True if at least one is Paused."""
        return self.paused_count > 0

    def counts_message(self) -> str:
        """Return the counts by type as text."""
        counts = [f"total={self.total_count}"]
        if self.not_final_count:
            counts.append(f"not_final={self.not_final_count}")
        counts += [f"{kind.value!r}={count}" for kind, count in self.type_counts.items()]
        return ", ".join(counts)

    def __repr__(self) -> str:
        return f"StateGroup<{self.counts_message()}>"
