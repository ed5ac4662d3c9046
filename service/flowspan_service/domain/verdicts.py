"""Verdicts: the service's answers to reported and requested transitions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from flowspan_service.domain.states import State


KEPT_EVENTS = 20_000
"""The most events of a session that are sent and not acknowledged. Verdicts on older events have
reached the client."""
KEPT_VERDICTS = 1000
"""The most verdicts of a session that are kept in case their ack is lost: the last ones. A client
that misses an ABORT gets the next one for its next event of that attempt."""


class VerdictKind(IntEnum):
    """The kinds of verdicts; flowspan.v1.VerdictKind explains them and has the same numbers."""

    ACCEPTED = 1
    DUPLICATE = 2
    REJECTED = 3
    WAIT = 4
    ABORT = 5


class Objection(NamedTuple):
    """A rule's reason not to accept an event."""

    kind: VerdictKind
    rule: str
    """The name of the rule, as docs/states.md lists it."""
    reason: str
    """A sentence for people."""


@dataclass(slots=True)
class Verdict:
    """The answer to one transition.

    Attributes:
        kind: The decision.
        run_id: The run.
        rule: The rule that decided, as docs/states.md lists it; empty when accepted.
        reason: The reason, a sentence for people; empty when accepted.
        state: The state of the run after the answer; None when the run is unknown.
        attempt: The current attempt of the run; 0 when the run is unknown.
        sequence: The sequence of the event in a session's report; 0 elsewhere.
    """

    kind: VerdictKind
    run_id: str
    rule: str = ""
    reason: str = ""
    state: State | None = None
    attempt: int = 0
    sequence: int = 0
