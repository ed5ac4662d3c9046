"""The types of states, and the questions that every kind of state answers."""

from __future__ import annotations

from enum import IntEnum

from flowspan.exceptions import CancelRun, CrashedRun, RunFailed, UnfinishedRun, UpstreamFailed


class StateType(IntEnum):
    """What a run is doing, as the rules understand it; the numbers are flowspan.v1.StateType's."""

    UNKNOWN = 0
    """A type that is newer than this client. Only ever read, never entered."""
    SCHEDULED = 1
    PENDING = 2
    RUNNING = 3
    PAUSED = 4
    CANCELLING = 5
    COMPLETED = 6
    FAILED = 7
    CANCELLED = 8
    CRASHED = 9

    @property
    def is_terminal(self) -> bool:
        """Whether a run in such a state has ended."""
        return self in TERMINAL_TYPES


# The members once more, as module names: looking them up in the enum is slower, and each task needs
# three.
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


def error_of(kind: StateType, name: str, message: str) -> BaseException:
    """The exception that stands for a state that is not COMPLETED and has none of its own.

    Args:
        kind: The type of the state.
        name: Its name.
        message: Its message; may be empty.
    """
    text = message or f"The run is {name}."
    # In the process it is Pending; the service closes it as Cancelled, under the same name.
    if name == "NotReady" and kind in {PENDING, CANCELLED}:
        return UpstreamFailed(text)
    if kind is FAILED:
        return RunFailed(text)
    if kind is CRASHED:
        return CrashedRun(text)
    if kind is CANCELLED:
        return CancelRun(text)
    return UnfinishedRun(f"The run is {name}: it has no result yet.")


class StateQuestions:
    """What can be asked of a state, here and of one that the service tells of."""

    __slots__ = ()

    type: StateType

    def is_scheduled(self) -> bool:
        """Whether the run waits for a time to come."""
        return self.type is SCHEDULED

    def is_pending(self) -> bool:
        """Whether the run has not begun."""
        return self.type is PENDING

    def is_running(self) -> bool:
        """Whether user code is running."""
        return self.type is RUNNING

    def is_paused(self) -> bool:
        """Whether the run is stopped and can go on."""
        return self.type is PAUSED

    def is_cancelling(self) -> bool:
        """Whether the run was asked to stop and has not yet stopped."""
        return self.type is CANCELLING

    def is_completed(self) -> bool:
        """Whether the run ended well."""
        return self.type is COMPLETED

    def is_failed(self) -> bool:
        """Whether the run ended with an error."""
        return self.type is FAILED

    def is_cancelled(self) -> bool:
        """Whether the run was stopped on request."""
        return self.type is CANCELLED

    def is_crashed(self) -> bool:
        """Whether the run was broken off from outside its code."""
        return self.type is CRASHED

    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.type in TERMINAL_TYPES
