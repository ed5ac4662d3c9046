"""Commit times that never go back in the history of a run, whatever the wall clocks do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from flowspan_service.stores.dialects.base import chunks
from flowspan_service.stores.schema import transition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection

    from flowspan_service.domain.runs import Run

CHUNK = 500


class CommitTimes:
    """The commit times of one transaction that came while the clock stands behind.

    The wall clock was set back, or another service process has one that is ahead. Only then the
    commits before are looked up: in a table in which no commit is later than now, there is nothing
    to look for.

    Args:
        connection: The writer's.
        now_us: The wall clock.
    """

    def __init__(self, connection: Connection, now_us: int) -> None:
        self._connection = connection
        self._now_us = now_us
        self._known: dict[int, int] = {0: 0}
        """By position: a run without a transition has position 0."""

    def prepare(self, runs: Iterable[Run]) -> None:
        """Looks up the last commits of runs, in few statements."""
        missing = {run.position for run in runs} - self._known.keys()
        for positions in chunks(sorted(missing), CHUNK):
            columns = transition.c
            statement = select(columns.position, columns.commit_us)
            rows = self._connection.execute(statement.where(columns.position.in_(positions)))
            self._known.update((row[0], row[1]) for row in rows)

    def next(self, run: Run, position: int) -> int:
        """Return the commit time of a run's next transition, which gets that position."""
        if run.position not in self._known:
            self.prepare([run])
        commit_us = max(self._now_us, self._known.get(run.position, 0))
        self._known[position] = commit_us
        return commit_us
