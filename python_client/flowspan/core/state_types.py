"""The types of states, and the predicates that all state classes share."""

from __future__ import annotations

from enum import Enum

from flowspan.core.values.inspection import is_instance
from flowspan.exceptions import CancelRun, CrashedRun, RunFailed, UnfinishedRun, UpstreamFailed


class StateType(str, Enum):  # noqa: UP042 - a StrEnum is printed without the name of its class
    """The type of a state, which decides about transitions. A member equals its name as a string.

    Attributes:
        number: The number in flowspan.v1.StateType, used in reports and storage.
    """

    number: int

    UNKNOWN = "UNKNOWN"
    """A type that is newer than this client. Only read, never entered."""
    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        # As in Prefect: Python versions disagree about printing an enum with string values.
        return f"StateType.{self.name}"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    @property
    def is_terminal(self) -> bool:
        """True if a run in such a state has ended."""
        return self in TERMINAL_TYPES


for _number, _kind in enumerate(
    (
        StateType.UNKNOWN,
        StateType.SCHEDULED,
        StateType.PENDING,
        StateType.RUNNING,
        StateType.PAUSED,
        StateType.CANCELLING,
        StateType.COMPLETED,
        StateType.FAILED,
        StateType.CANCELLED,
        StateType.CRASHED,
    )
):
    _kind.number = _number

# The members as module globals: enum lookups are slower, and each task needs three.
SCHEDULED = StateType.SCHEDULED
PENDING = StateType.PENDING
RUNNING = StateType.RUNNING
PAUSED = StateType.PAUSED
CANCELLING = StateType.CANCELLING
COMPLETED = StateType.COMPLETED
FAILED = StateType.FAILED
CANCELLED = StateType.CANCELLED
CRASHED = StateType.CRASHED

TERMINAL_TYPES = frozenset({COMPLETED, FAILED, CANCELLED, CRASHED})

_BY_NUMBER = {kind.number: kind for kind in StateType}


def type_of_number(number: int) -> StateType:
    """Return the type of a number in flowspan.v1.StateType; UNKNOWN for a newer one."""
    return _BY_NUMBER.get(number, StateType.UNKNOWN)


def error_of(kind: StateType, name: str, message: str) -> BaseException:
    """Return the default exception of a state that is not COMPLETED and holds none.

    Args:
        kind: The type of the state.
        name: Its name.
        message: Its message; may be empty.
    """
    text = message or f"The run is {name}."
    # It is Pending in the process; the service closes it as Cancelled under the same name.
    if name == "NotReady" and kind in {PENDING, CANCELLED}:
        return UpstreamFailed(text)
    if kind is FAILED:
        return RunFailed(text)
    if kind is CRASHED:
        return CrashedRun(text)
    if kind is CANCELLED:
        return CancelRun(text)
    return UnfinishedRun(f"The run is {name}: it has no result yet.")


def state_text(kind: StateType, name: str, message: str) -> str:
    """Format a state as one line: its name, its message, and its type unless the name says it.

    Args:
        kind: The type of the state.
        name: Its name.
        message: Its message; may be empty.
    """
    inside = repr(message) if message else ""
    if name.upper() == kind.name:
        return f"{name}({inside})"
    return f"{name}({inside}{', ' if inside else ''}type={kind.name})"


def is_unfinished(error: BaseException) -> bool:
    """Return True if the error says that a run has not ended but still may."""
    return is_instance(error, UnfinishedRun) and not is_instance(error, UpstreamFailed)


class StateQuestions:
    """The predicates of a state, shared by local states and those read from the service."""

    __slots__ = ()

    type: StateType

    def is_scheduled(self) -> bool:
        """Return True if the run waits for a scheduled time."""
        return self.type is SCHEDULED

    def is_pending(self) -> bool:
        """Return True if the run has not begun."""
        return self.type is PENDING

    def is_running(self) -> bool:
        """Return True if user code is running."""
        return self.type is RUNNING

    def is_paused(self) -> bool:
        """Return True if the run is paused and can be resumed."""
        return self.type is PAUSED

    def is_cancelling(self) -> bool:
        """Return True if the run was asked to stop and has not yet stopped."""
        return self.type is CANCELLING

    def is_completed(self) -> bool:
        """Return True if the run ended successfully."""
        return self.type is COMPLETED

    def is_failed(self) -> bool:
        """Return True if the run ended with an error."""
        return self.type is FAILED

    def is_cancelled(self) -> bool:
        """Return True if the run was stopped on request."""
        return self.type is CANCELLED

    def is_crashed(self) -> bool:
        """Return True if the run was terminated from outside its code."""
        return self.type is CRASHED

    def is_final(self) -> bool:
        """Return True if the run has ended."""
        return self.type in TERMINAL_TYPES
