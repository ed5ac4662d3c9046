"""States, and what makes them, for flows and tasks to return.

A flow or task that returns a state that is final ends in it, whatever its name::

    return Completed(name="Skipped", message="nothing new", data=0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    StateType,
)

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "TERMINAL_TYPES",
    "AwaitingConcurrencySlot",
    "AwaitingRetry",
    "Cancelled",
    "Cancelling",
    "Completed",
    "Crashed",
    "Failed",
    "Late",
    "Paused",
    "Pending",
    "Resuming",
    "Retrying",
    "Running",
    "Scheduled",
    "State",
    "StateMaker",
    "StateType",
    "Suspended",
]


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
