"""What the writer remembers from one transaction to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.states import TERMINAL_TYPES
from flowspan_service.stores.engine.bounds import payload_bytes

if TYPE_CHECKING:
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import Session

MAX_PAYLOAD_BYTES = 64 << 20
"""The payloads of the runs that are remembered are not more."""


class Cache:
    """Open runs and sessions.

    Valid as long as the generation in the table `head` is the one that this process left there.
    """

    def __init__(self, *, max_runs: int) -> None:
        self._max_runs = max_runs
        self.payload_bytes = 0
        """What the payloads of the runs take at most; too much as long as nobody has counted."""
        self.generation: int | None = None
        self.newest_id: str | None = None
        """No run in the database has a greater id: who asks for one needs no query."""
        self.runs: dict[str, Run] = {}
        self.sessions: dict[str, Session] = {}
        self.deletions: dict[str, set[str]] | None = None
        """The runs whose deletion was begun, by their roots; None if that is not known."""

    def clear(self) -> None:
        """Forgets everything."""
        self.generation = None
        self.newest_id = None
        self.deletions = None
        self.payload_bytes = 0
        self.runs.clear()
        self.sessions.clear()

    def trim(self) -> None:
        """Forgets the runs that ended, and the oldest of the others if there are too many."""
        runs = self.runs
        for run_id in [key for key, run in runs.items() if run.state.type in TERMINAL_TYPES]:
            del runs[run_id]
        while len(runs) > self._max_runs:
            del runs[next(iter(runs))]
        if self.payload_bytes > MAX_PAYLOAD_BYTES:
            self._drop_payloads()
        while len(self.sessions) > self._max_runs:
            del self.sessions[next(iter(self.sessions))]

    def _drop_payloads(self) -> None:
        """Forget the oldest of the runs with payloads until they are half as many bytes."""
        sizes = {key: size for key, run in self.runs.items() if (size := payload_bytes(run))}
        self.payload_bytes = sum(sizes.values())
        for key, size in sizes.items():
            if self.payload_bytes <= MAX_PAYLOAD_BYTES // 2:
                break
            del self.runs[key]
            self.payload_bytes -= size
