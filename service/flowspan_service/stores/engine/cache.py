"""The writer's memory from one transaction to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowspan_service.domain.states import TERMINAL_TYPES
from flowspan_service.stores.engine.bounds import payload_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import OtlpTarget, Session
    from flowspan_service.stores.dialects.base import Version

MAX_PAYLOAD_BYTES = 64 << 20
"""Limit for the payloads of all cached runs."""


@dataclass(slots=True)
class UnderWay:
    """The rare work under way.

    Attributes:
        deletions: The runs whose deletion has begun, by the roots of their trees.
        cancellations: The runs whose cancellation has begun, by the roots of their trees.
        has_orphans: True if a run waits for its parent.
        has_moves: True if descendants of an adopted run do not have their places yet.
    """

    deletions: dict[str, set[str]] = field(default_factory=dict)
    cancellations: dict[str, set[str]] = field(default_factory=dict)
    has_orphans: bool = False
    has_moves: bool = False


class Cache:
    """The open runs and sessions.

    Valid while the generation in the table `head` is the one that this process left there. After a
    commit of another process, a run is used only if its row is found unchanged.
    """

    def __init__(self, *, max_runs: int) -> None:
        self._max_runs = max_runs
        self.payload_bytes = 0
        """Upper bound for the size of the runs' payloads; exact only after a count."""
        self.generation: int | None = None
        self.newest_id: str | None = None
        """The greatest run id in the database, so looking for a greater one needs no query."""
        self.runs: dict[str, Run] = {}
        """The runs that are known to equal their rows."""
        self.doubted: dict[str, Run] = {}
        """The runs that another process may have changed; only `confirm` uses them. An entry of
        `runs` with the same id is newer."""
        self.sessions: dict[str, Session] = {}
        self.under_way: UnderWay | None = None
        """The rare work under way; None if unknown."""
        self.resources: dict[str, bytes] = {}
        """The hashes of the stored resources of sessions."""
        self.targets: dict[str, OtlpTarget | None] = {}
        """The stored receivers of sessions."""

    def doubt(self) -> None:
        """Distrust everything, as another process has committed."""
        self.newest_id = None
        self.under_way = None
        self.sessions.clear()
        self.resources.clear()
        self.targets.clear()
        self.doubted.update(self.runs)
        self.runs.clear()

    def confirm(
        self,
        run_ids: Iterable[str],
        read_versions: Callable[[Sequence[str]], Mapping[str, Version]],
    ) -> None:
        """Confirm the runs whose rows are unchanged, and drop the others.

        Args:
            run_ids: The runs to confirm.
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
            version = (run.position, run.session_id, run.root_run_id, run.flow_run_id)
            if versions.get(run_id) == version:
                self.runs[run_id] = run

    def clear(self) -> None:
        """Forget everything."""
        self.generation = None
        self.newest_id = None
        self.under_way = None
        self.payload_bytes = 0
        self.runs.clear()
        self.doubted.clear()
        self.sessions.clear()
        self.resources.clear()
        self.targets.clear()

    def trim(self) -> None:
        """Drop ended runs, and the oldest of the others above the limit."""
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
        while len(self.resources) > self._max_runs:
            del self.resources[next(iter(self.resources))]
        while len(self.targets) > self._max_runs:
            del self.targets[next(iter(self.targets))]

    def _drop_payloads(self) -> None:
        """Drop the oldest runs with payloads until half of the limit is reached."""
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
