"""Commands: requests of the service to the process that executes a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class CommandKind(IntEnum):
    """The kinds of commands."""

    CANCEL_RUN = 1
    """Stop a run and its descendants."""


@dataclass(slots=True)
class Command:
    """A command to a session. It is open until the run leaves the state that caused it.

    Attributes:
        run_id: The run that the command is about.
        number: The ordinal of the transition that issued it: unique within the run.
        session_id: The session that executes the run and receives the command.
        kind: The kind of the command.
        reason: The reason, for people.
        created_us: The time of issue, by the wall clock.
        done_us: The time when the run left the state, by the wall clock; None until then.
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
        """The id of the command in the protocol."""
        return f"{CommandKind(self.kind).name.lower()}:{self.run_id}:{self.number}"
