"""State constructors, for flows and tasks that return states.

A flow or task that returns a final state ends in that state, whatever its name::

    return Completed(name="Skipped", message="nothing new", data=0)
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

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

    __slots__ = ("_name", "_type")

    def __init__(self, type_: StateType, name: str = "") -> None:
        self._type = type_
        self._name = name or type_.name.capitalize()

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

    __slots__ = ()

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
            scheduled_time: The time at which the run is due, with a time zone; None for as soon as
                possible.
            name: See `StateMaker`.
            message: See `StateMaker`.
            data: See `StateMaker`.

        Raises:
            TypeError: The name or the message is not a string.
            ValueError: The time has no time zone.
        """
        state = super().__call__(name=name, message=message, data=data)
        if scheduled_time is not None:
            if scheduled_time.tzinfo is None:
                raise ValueError(f"scheduled_time must have a time zone: {scheduled_time!r}")
            state.scheduled_time = scheduled_time
        return state


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
Paused = StateMaker(PAUSED)
Suspended = StateMaker(PAUSED, "Suspended")
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
