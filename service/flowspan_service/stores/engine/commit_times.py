"""Commit times that never go back in the history of a run, whatever the wall clocks do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from flowspan_service.stores.engine.bulk import IDS_PER_STATEMENT, chunks
from flowspan_service.stores.transitions import transition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection

    from flowspan_service.domain.runs import Run


class CommitTimes:
    """The commit times of a transaction whose clock is behind the last commit.

    The wall clock was set back, or that of another service process is ahead. Earlier commits are
    looked up only then: otherwise none is later than now.

    Args:
        connection: The writer's.
        now_us: The wall clock.
    """

    def __init__(self, connection: Connection, now_us: int) -> None:
        self._connection = connection
        self._now_us = now_us
        self._known: dict[int, int] = {0: 0}
        """By position; a run without a transition has position 0."""

    def prepare(self, runs: Iterable[Run]) -> None:
        """Look up the last commits of runs, in few statements."""
        missing = {run.position for run in runs} - self._known.keys()
        for positions in chunks(sorted(missing), IDS_PER_STATEMENT):
            columns = transition.c
            statement = select(columns.position, columns.commit_us)
            rows = self._connection.execute(statement.where(columns.position.in_(positions)))
            self._known.update((row[0], row[1]) for row in rows)

    def next(self, run: Run, position: int) -> int:
        """Return the commit time of a run's next transition, which gets the position."""
        if run.position not in self._known:
            self.prepare([run])
        commit_us = max(self._now_us, self._known.get(run.position, 0))
        self._known[position] = commit_us
        return commit_us
