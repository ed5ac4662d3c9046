"""Reported events, as the API passes them to `app.reports`.

An event is a pair: the id of a run, and one of the records of `Happened`. Plain tuples and slotted
records keep the cost of an event at a few microseconds. Each event takes one sequence of its
session, except a `ShortRun`, which takes three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.domain.artifacts import ArtifactChange, NewArtifact
from flowspan_service.domain.logs import LogEntry
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHORT_RUN_SEQUENCES = 3
"""The number of sequences that a ShortRun takes: those of the three events that it stands for."""
_FURTHER = SHORT_RUN_SEQUENCES - 1


class NotUnderstood(NamedTuple):
    """An event that this service cannot apply: mostly one of a newer client."""

    rule: str
    reason: str


class Untimed(NamedTuple):
    """A creation or a transition without a time. Its state has the time at which it arrived."""

    what: NewRun | ProposedTransition


class ShortRun(NamedTuple):
    """A run that was created, ran and ended: three events in one."""

    new: NewRun | NotUnderstood | Untimed
    running: ProposedTransition
    ended: ProposedTransition | Untimed


Happened = (
    NewRun
    | ProposedTransition
    | LogEntry
    | NewArtifact
    | ArtifactChange
    | ShortRun
    | Untimed
    | NotUnderstood
)

ReportedEvent = tuple[str, Happened]
"""The id of a run (empty for an event without one), and the event."""


def sequence_count(events: Sequence[ReportedEvent]) -> int:
    """Return the number of sequences that the events take."""
    return len(events) + _FURTHER * [what.__class__ for _, what in events].count(ShortRun)


def without_first(events: Sequence[ReportedEvent], count: int) -> list[ReportedEvent]:
    """Return the events without those that take the first `count` sequences.

    The rest of a short run in which the cut falls becomes events of its own.
    """
    rest: list[ReportedEvent] = []
    for event in events:
        if count <= 0:
            rest.append(event)
        elif event[1].__class__ is ShortRun:
            rest += _parts(event)[count:]
            count -= SHORT_RUN_SEQUENCES
        else:
            count -= 1
    return rest


def pieces_of(
    events: Sequence[ReportedEvent], limit: int
) -> Iterator[tuple[int, Sequence[ReportedEvent]]]:
    """Divide events into pieces that take at most `limit` sequences each, in order.

    Yields:
        The number of sequences before the piece, and its events.
    """
    start = before = taken = 0
    for index, (_, what) in enumerate(events):
        size = SHORT_RUN_SEQUENCES if what.__class__ is ShortRun else 1
        if taken + size > limit:
            yield before, events[start:index]
            start, before, taken = index, before + taken, 0
        taken += size
    yield before, events[start:]


def run_ids_of(events: Sequence[ReportedEvent]) -> list[str]:
    """Return the runs that events are about, and the parents of new ones."""
    found = {run_id: None for run_id, _ in events if run_id}
    for _, what in events:
        new = creation_in(what)
        if new is not None and new.parent_run_id:
            found[new.parent_run_id] = None
    return list(found)


def creation_in(what: Happened) -> NewRun | None:
    """Return the creation in an event; None if it creates no run."""
    new = what.new if isinstance(what, ShortRun) else what
    if isinstance(new, Untimed):
        new = new.what
    return new if isinstance(new, NewRun) else None


def _parts(event: ReportedEvent) -> list[ReportedEvent]:
    """Return the three events that a short run stands for."""
    run_id, what = event
    assert isinstance(what, ShortRun)  # noqa: S101 - the caller looked at its class
    new, running, ended = what
    if isinstance(new, NotUnderstood):
        return [(run_id, new)] * SHORT_RUN_SEQUENCES
    return [(run_id, new), (run_id, running), (run_id, ended)]
