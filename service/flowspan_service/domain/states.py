"""States of runs. The diagram and the rules are in docs/states.md."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class StateType(IntEnum):
    """The type of a state; the numbers are those of flowspan.v1.StateType."""

    SCHEDULED = 1
    PENDING = 2
    RUNNING = 3
    PAUSED = 4
    CANCELLING = 5
    COMPLETED = 6
    FAILED = 7
    CANCELLED = 8
    CRASHED = 9


TERMINAL_TYPES = frozenset(
    {StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED}
)

OPEN_TYPES = tuple(kind for kind in StateType if kind not in TERMINAL_TYPES)

DEFAULT_NAMES: dict[int, str] = {kind: kind.name.capitalize() for kind in StateType}


LAST_US = 253_402_300_799_999_999
"""The last time that a message can carry, at the end of the year 9999."""

ROLLED_BACK = "RolledBack"
"""The name of a COMPLETED state whose transaction was rolled back: the only name in a rule."""


class Cause(IntEnum):
    """The causes of transitions; the numbers are those of flowspan.v1.TransitionCause."""

    REPORTED = 1
    REQUESTED = 2
    SESSION_LOST = 3


@dataclass(slots=True)
class State:
    """A state of a run. Treat it as immutable: it is not frozen only because millions are created.

    Attributes:
        type: A StateType, or its number.
        name: The name shown to people, never empty.
        message: The reason, for people; may be empty.
        time_us: The time of entry by the clock of the run (see `domain.clocks`), in microseconds
            since 1970 UTC.
        scheduled_us: With SCHEDULED only: the time to continue, in microseconds since 1970 UTC.
        failure: An encoded error, opaque here (the edge encodes flowspan.v1.Failure).
        result: An encoded reference to the result, opaque here (flowspan.v1.Payload).
    """

    type: int
    name: str
    message: str
    time_us: int
    scheduled_us: int | None = None
    failure: bytes | None = None
    result: bytes | None = None

    @property
    def is_terminal(self) -> bool:
        """True if no state of the same attempt follows; docs/states.md has the exceptions."""
        return self.type in TERMINAL_TYPES
