"""The port to runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowspan_service.app.ports.pages import Page
    from flowspan_service.domain.runs import Run, TraceContext

CHEAP_RUNS = 100
"""The largest page of runs that is read in the event loop."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """A filter of runs; see flowspan.v1.RunFilter. Empty fields do not filter."""

    state_types: tuple[int, ...] = ()
    state_names: tuple[str, ...] = ()
    function_names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    parent_run_id: str | None = None
    root_run_id: str | None = None
    flow_run_id: str | None = None
    top_level_only: bool = False
    created_after_us: int | None = None
    created_before_us: int | None = None
    run_name: str | None = None
    id_prefix: str | None = None
    id_suffix: str | None = None


@dataclass(frozen=True, slots=True)
class RunQuery:
    """A page of runs of one kind, by id."""

    kind: int
    filter: RunFilter = field(default_factory=RunFilter)
    oldest_first: bool = False
    after_id: str | None = None
    """The last id of the page before."""
    limit: int = 100
    limit_bytes: int = 2_000_000
    """The page ends with the run that takes its payloads above this size."""
    prefers_states: bool = False
    """True to search by the types of states even if the filter has a tag or a name: for types of
    which few runs are, however many runs have the tag."""

    @property
    def is_cheap(self) -> bool:
        """True if an index alone gives the page, independent of the number of runs."""
        if self.limit > CHEAP_RUNS:
            return False
        wanted = self.filter
        return wanted == RunFilter(
            state_types=wanted.state_types,
            parent_run_id=wanted.parent_run_id,
            top_level_only=wanted.top_level_only and wanted.parent_run_id is None,
        )


class RunKey(NamedTuple):
    """The id of a run, and the fields that change whenever the run does."""

    id: str
    position: int
    session_id: str | None


class FoundRuns(NamedTuple):
    """The first of the requested runs."""

    items: list[Run]
    asked: int
    """The number of ids that were looked up: the first ones."""


class SpanRuns(NamedTuple):
    """Some runs whose spans the service exports."""

    items: list[Run]
    looked_at: int
    """The position up to which the call searched: continue from there."""
    has_more: bool
    """True if transitions of any run follow."""


class RunReads(Protocol):
    """The reads of runs."""

    def get(self, kind: int, run_id: str) -> Run | None:
        """Return a run of that kind."""
        ...

    def list(self, query: RunQuery) -> Page[Run]:
        """Return a page of runs."""
        ...

    def list_keys(self, query: RunQuery) -> Page[RunKey]:
        """Return a page of the keys of runs, without a bound on its bytes."""
        ...

    def load(self, run_ids: Sequence[str]) -> Sequence[Run]:
        """Return the existing runs among these, in any order."""
        ...

    def find(self, run_ids: Sequence[str], *, limit_bytes: int = 2_000_000) -> FoundRuns:
        """Return the first of these runs that exist, up to about `limit_bytes` of payloads."""
        ...

    def count(self, kind: int, run_filter: RunFilter) -> dict[int, int]:
        """Return the number of runs by the type of their state."""
        ...

    def tree(
        self,
        run_id: str,
        *,
        after_id: str | None,
        limit: int,
        limit_bytes: int = 2_000_000,
        state_types: Sequence[int] = (),
    ) -> Page[Run]:
        """Return a page of a run and its descendants, by id ascending (parents before children).

        The page ends with the run that takes its payloads above limit_bytes.

        Args:
            run_id: The run.
            after_id: The last id of the page before.
            limit: The maximum number of runs.
            limit_bytes: The size of the payloads after which the page ends.
            state_types: The types of the states to include; empty for all. No other run is read.
        """
        ...

    def tree_ids(self, run_id: str, *, state_types: Sequence[int] = ()) -> Sequence[str]:
        """Return the ids of a run and its descendants, ascending.

        Args:
            run_id: The run.
            state_types: The types of the states to include; empty for all. The walk uses an index
                alone: no other run is read.
        """
        ...

    def traces(self, run_ids: Iterable[str]) -> dict[str, TraceContext]:
        """Return the trace contexts of the runs among these that have one, by run."""
        ...

    def function_names(self, run_ids: Iterable[str]) -> dict[str, str]:
        """Return the names of the flows or tasks of the existing runs among these, by run."""
        ...

    def needing_spans(self, *, after: int, since_us: int, limit: int) -> SpanRuns:
        """Return runs whose spans the service exports, by the position of their end.

        The runs come without their payloads.

        Args:
            after: The position after which they ended.
            since_us: The earliest commit time of their end.
            limit: The maximum number of runs.
        """
        ...


class RunWrites(Protocol):
    """The runs in a unit of work.

    The records are shared: change one only to hand it to a method, and decide before changing (if
    an operation raises, its whole group runs again, each operation in a transaction of its own).
    """

    def get(self, run_id: str) -> Run | None:
        """Return the run, or None. Cheap for ids that the operation named in `run_ids`."""
        ...

    def preload(self, run_ids: Iterable[str]) -> None:
        """Load the runs that are not in memory, in few statements, unless they are large."""
        ...

    def add(self, run: Run) -> None:
        """Store a new run, with its labels and its first transition (run.state, ordinal 1)."""
        ...

    def add_transition(self, run: Run) -> None:
        """Store the transition to the run's new state, and the changed run."""
        ...

    def update(self, run: Run) -> None:
        """Store a run that changed without a transition (session_id)."""
        ...

    def hand_over(self, run: Run) -> None:
        """Store the clock and the exporter of a run (clock_shift_us, trace.exported_by_service).

        Only a new session changes them: call `update` or `add_transition` as well.
        """
        ...

    def open_of(self, session_id: str, *, limit: int, limit_bytes: int) -> Page[Run]:
        """Return some open runs of a session, the deepest first (by id, descending).

        The page ends with the run that takes its payloads above limit_bytes.
        """
        ...
