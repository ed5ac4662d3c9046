"""States, and what makes them, for flows and tasks to return.

A flow or task that returns a state that is final ends in it, whatever its name::

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
    """Makes states of one kind; `Completed` and its like below are the ones there are.

    Args:
        type_: The type of the states.
        name: Their name, where it is not given in the call; the type's by default.
    """

    __slots__ = ("_name", "_type")

    def __init__(self, type_: StateType, name: str = "") -> None:
        self._type = type_
        self._name = name or type_.name.capitalize()

    def __call__(
        self, *, name: str | None = None, message: str | None = None, data: Any = None
    ) -> State:
        """Makes a state.

        Args:
            name: A name of your own for people ("Skipped"); the type stays what it is.
            message: Why, for people.
            data: The result of a state that is Completed; may be the exception of one that is
                Failed, Crashed or Cancelled.

        Raises:
            TypeError: The name or the message is not text.
        """
        for what, value in (("name", name), ("message", message)):
            if value is not None and not isinstance(value, str):
                raise TypeError(
                    f"the {what} of a state must be text, not {value!r}; a result or an exception "
                    "is given as data=…"
                )
        return State(self._type, name or self._name, message or "", data)

    def __repr__(self) -> str:
        return f"flowspan.states.{self._name}"

    def __reduce__(self) -> str:
        return self._name


class ScheduledMaker(StateMaker):
    """Makes states of type SCHEDULED: the run waits for a time.

    Args:
        name: Their name, where it is not given in the call.
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
        """Makes a state; the arguments besides are those of every `StateMaker`.

        Args:
            scheduled_time: When the run is to go on, with a time zone; None is as soon as it can.
            name: See `StateMaker`.
            message: Likewise.
            data: Likewise.

        Raises:
            TypeError: The name or the message is not text.
            ValueError: The time has no time zone.
        """
        state = super().__call__(name=name, message=message, data=data)
        if scheduled_time is not None:
            if scheduled_time.tzinfo is None:
                raise ValueError(f"scheduled_time must have a time zone: {scheduled_time!r}")
            state.scheduled_time = scheduled_time
        return state


# Not final: what a run is before it ends. A flow or task that returns one of them has failed.
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

# Final.
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
    """Return why a run did not complete; see `get_state_exception`."""
    return _exception_of(state)


def get_state_exception(state: State, *, _sync: bool | None = None) -> Any:
    """Return why a run did not complete; in asynchronous code, a coroutine that does.

    Args:
        state: Failed, Crashed or Cancelled.
        _sync: As for `State.result`.

    Returns:
        The exception that it holds, or that the first failed one of the states in it holds; else a
        RunFailed, CrashedRun or CancelRun with its message.

    Raises:
        ValueError: The state is none of the three.
    """
    return aget_state_exception(state) if gives_awaitable(sync=_sync) else _exception_of(state)


async def araise_state_exception(state: State) -> None:
    """Raise why a run did not complete; see `raise_state_exception`."""
    _raise_exception_of(state)


def raise_state_exception(state: State, *, _sync: bool | None = None) -> Any:
    """Raise why a run did not complete; do nothing for a state that is not an unhappy end.

    Args:
        state: Any state.
        _sync: As for `State.result`.

    Returns:
        None; in asynchronous code, a coroutine that raises it.

    Raises:
        BaseException: What `get_state_exception` returns.
    """
    return (
        araise_state_exception(state) if gives_awaitable(sync=_sync) else _raise_exception_of(state)
    )


def _exception_of(state: State) -> BaseException:
    if not _is_unhappy(state):
        raise ValueError(
            f"only a state that is Failed, Crashed or Cancelled has one, not {state!r}"
        )
    return state.error()


def _raise_exception_of(state: State) -> None:
    if _is_unhappy(state):
        __tracebackhide__ = True  # for pytest and IPython
        state.outcome()


def _is_unhappy(state: State) -> bool:
    return state.type in TERMINAL_TYPES and state.type is not COMPLETED


def is_state_iterable(obj: Any) -> bool:
    """True for a list, tuple or set that holds states and nothing else."""
    return bool(states_in(obj))


class StateGroup:
    """Several states, counted.

    Args:
        states: The states.

    Attributes:
        states: The states.
        type_counts: How many there are of each type.
        total_count: How many there are.
        cancelled_count: How many are Cancelled.
        paused_count: How many are Paused.
        final_count: How many are final.
        not_final_count: How many are not.
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
        """True if all are Completed."""
        return self.type_counts[COMPLETED] == self.total_count

    def all_final(self) -> bool:
        """True if all are final."""
        return not self.not_final_count

    def any_cancelled(self) -> bool:
        """True if one is Cancelled."""
        return self.cancelled_count > 0

    def any_failed(self) -> bool:
        """True if one is Failed or Crashed."""
        return self.fail_count > 0

    def any_paused(self) -> bool:
        """True if one is Paused."""
        return self.paused_count > 0

    def counts_message(self) -> str:
        """Say how many there are of each type."""
        counts = [f"total={self.total_count}"]
        if self.not_final_count:
            counts.append(f"not_final={self.not_final_count}")
        counts += [f"{kind.value!r}={count}" for kind, count in self.type_counts.items()]
        return ", ".join(counts)

    def __repr__(self) -> str:
        return f"StateGroup<{self.counts_message()}>"
