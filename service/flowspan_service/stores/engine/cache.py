"""The writer's memory from one transaction to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.states import TERMINAL_TYPES
from flowspan_service.stores.engine.bounds import payload_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import Session

    Version = tuple[int, str | None]
    """The position and the session of a run: a row with the same two is the same row. A transition
    changes the position, and nothing but the session changes without a transition."""

MAX_PAYLOAD_BYTES = 64 << 20
"""The payloads of the runs that are remembered are not more."""


class Cache:
    """Open runs and sessions.

    Valid as long as the generation in the table `head` is the one that this process left there.
    After a commit of another process, each run is used only once its row was found unchanged.
    """

    def __init__(self, *, max_runs: int) -> None:
        self._max_runs = max_runs
        self.payload_bytes = 0
        """What the payloads of the runs take at most; too much as long as nobody has counted."""
        self.generation: int | None = None
        self.newest_id: str | None = None
        """No run in the database has a greater id: who asks for one needs no query."""
        self.runs: dict[str, Run] = {}
        """The runs that are known to be as the database has them."""
        self.doubted: dict[str, Run] = {}
        """The runs that another process may have changed. For `confirm` alone; an entry of `runs`
        with the same id is newer."""
        self.sessions: dict[str, Session] = {}
        self.deletions: dict[str, set[str]] | None = None
        """The runs whose deletion was begun, by their roots; None if that is not known."""

    def doubt(self) -> None:
        """Distrust everything, as another process has committed."""
        self.newest_id = None
        self.deletions = None
        self.sessions.clear()
        self.doubted.update(self.runs)
        self.runs.clear()

    def confirm(
        self,
        run_ids: Iterable[str],
        read_versions: Callable[[Sequence[str]], Mapping[str, Version]],
    ) -> None:
        """Trust those of the runs again that are unchanged, and forget the others.

        Args:
            run_ids: The runs that are needed.
            read_versions: Reads the versions of runs from the database; absent ones are left out.
        """
        doubted = self.doubted
        if not doubted:
            return
        wanted = [run_id for run_id in run_ids if run_id in doubted and run_id not in self.runs]
        if not wanted:
            return
        versions = read_versions(wanted)
        for run_id in wanted:
            run = doubted.pop(run_id)
            if versions.get(run_id) == (run.position, run.session_id):
                self.runs[run_id] = run

    def clear(self) -> None:
        """Forget everything."""
        self.generation = None
        self.newest_id = None
        self.deletions = None
        self.payload_bytes = 0
        self.runs.clear()
        self.doubted.clear()
        self.sessions.clear()

    def trim(self) -> None:
        """Forget the runs that ended, and the oldest of the others if there are too many."""
        runs, doubted = self.runs, self.doubted
        for run_id in [key for key, run in runs.items() if run.state.type in TERMINAL_TYPES]:
            del runs[run_id]
        while len(runs) + len(doubted) > self._max_runs:
            oldest = doubted or runs
            del oldest[next(iter(oldest))]
        if self.payload_bytes > MAX_PAYLOAD_BYTES:
            self._drop_payloads()
        while len(self.sessions) > self._max_runs:
            del self.sessions[next(iter(self.sessions))]

    def _drop_payloads(self) -> None:
        """Forget the oldest of the runs with payloads until they are half as many bytes."""
        sizes = [
            (runs, key, size)
            for runs in (self.doubted, self.runs)
            for key, run in runs.items()
            if (size := payload_bytes(run))
        ]
        self.payload_bytes = sum(size for _, _, size in sizes)
        for runs, key, size in sizes:
            if self.payload_bytes <= MAX_PAYLOAD_BYTES // 2:
                break
            del runs[key]
            self.payload_bytes -= size
