"""The service's answer to a transition that was reported or asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowspan_service.domain.states import State


class VerdictKind(IntEnum):
    """The numbers are those of flowspan.v1.VerdictKind, which says what each means."""

    ACCEPTED = 1
    DUPLICATE = 2
    REJECTED = 3
    WAIT = 4
    ABORT = 5


@dataclass(slots=True)
class Verdict:
    """The answer to one transition.

    Attributes:
        kind: What was decided.
        run_id: Which run.
        rule: The rule that decided, as docs/states.md lists them; empty when accepted.
        reason: Why, in a sentence for people; empty when accepted.
        state: The state in which the run is after the answer; None when the run is unknown.
        attempt: The attempt that the run is at; 0 when the run is unknown.
        sequence: In a session's report, which event; 0 elsewhere.
    """

    kind: VerdictKind
    run_id: str
    rule: str = ""
    reason: str = ""
    state: State | None = None
    attempt: int = 0
    sequence: int = 0
