"""States, and functions that make them for flows and tasks to return."""

from __future__ import annotations

from typing import Any

from flowspan.core import states as _core
from flowspan.core.states import TERMINAL_TYPES, State, StateType

__all__ = [
    "TERMINAL_TYPES",
    "AwaitingRetry",
    "Cancelled",
    "Cancelling",
    "Completed",
    "Crashed",
    "Failed",
    "Paused",
    "Pending",
    "Retrying",
    "Running",
    "Scheduled",
    "State",
    "StateType",
]


def Scheduled(*, name: str = "", message: str = "", data: Any = None) -> State:  # noqa: N802 - named after the state
    """A state of type SCHEDULED."""
    return State(_core.SCHEDULED, name, message, data)


def AwaitingRetry(*, name: str = "AwaitingRetry", message: str = "", data: Any = None) -> State:  # noqa: N802 - named after the state
    """A state of type SCHEDULED: the run failed, and waits to be tried again."""
    return State(_core.SCHEDULED, name, message, data)


def Pending(*, name: str = "", message: str = "", data: Any = None) -> State:  # noqa: N802 - named after the state
    """A state of type PENDING."""
    return State(_core.PENDING, name, message, data)


def Running(*, name: str = "", message: str = "", data: Any = None) -> State:  # noqa: N802 - named after the state
    """A state of type RUNNING."""
    return State(_core.RUNNING, name, message, data)


def Retrying(*, name: str = "Retrying", message: str = "", data: Any = None) -> State:  # noqa: N802 - named after the state
    """A state of type RUNNING: the run is in an attempt after the first."""
    return State(_core.RUNNING, name, message, data)


def Paused(*, name: str = "", message: str = "", data: Any = None) -> State:  # noqa: N802 - named after the state
    """A state of type PAUSED."""
    return State(_core.PAUSED, name, message, data)


def Cancelling(*, name: str = "", message: str = "", data: Any = None) -> State:  # noqa: N802 - named after the state
    """A state of type CANCELLING."""
    return State(_core.CANCELLING, name, message, data)


def Cancelled(*, name: str = "", message: str = "", data: Any = None) -> State:  # noqa: N802 - named after the state
    """A state of type CANCELLED."""
    return State(_core.CANCELLED, name, message, data)


def Completed(*, name: str = "", message: str = "", data: Any = None) -> State:  # noqa: N802 - named after the state
    """A state of type COMPLETED; `data` is the result."""
    return State(_core.COMPLETED, name, message, data)


def Failed(*, name: str = "", message: str = "", data: Any = None) -> State:  # noqa: N802 - named after the state
    """A state of type FAILED; `data` may be the exception."""
    return State(_core.FAILED, name, message, data)


def Crashed(*, name: str = "", message: str = "", data: Any = None) -> State:  # noqa: N802 - named after the state
    """A state of type CRASHED; `data` may be the exception."""
    return State(_core.CRASHED, name, message, data)
