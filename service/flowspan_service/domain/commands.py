"""What the service asks of the process that executes a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class CommandKind(IntEnum):
    """What is asked."""

    CANCEL_RUN = 1
    """To stop a run, and all that it called."""


@dataclass(slots=True)
class Command:
    """A command to a session. It is open until the run leaves the state that the command is about.

    Attributes:
        run_id: The run it is about.
        number: The ordinal of the transition that it came with: unique within the run.
        session_id: The session that executes the run, and is told.
        kind: What is asked.
        reason: Why, for people.
        created_us: When it was given, by the wall clock.
        done_us: When the run left the state, by the wall clock; None until then.
    """

    run_id: str
    number: int
    session_id: str
    kind: int
    reason: str
    created_us: int
    done_us: int | None = None

    @property
    def id(self) -> str:
        """Its name in the protocol."""
        return f"{CommandKind(self.kind).name.lower()}:{self.run_id}:{self.number}"
