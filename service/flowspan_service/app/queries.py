"""What can be asked of the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from flowspan_service.domain.logs import LogEntry
    from flowspan_service.domain.runs import Run, Transition

T = TypeVar("T")

CHEAP_RUNS = 100
"""A page of more runs than this is not read in the event loop."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; see flowspan.v1.RunFilter. Empty fields do not filter."""

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
    """A page ends after the run with which its payloads exceed this."""

    @property
    def is_cheap(self) -> bool:
        """True if the page is read from an index alone, however many runs there are."""
        if self.limit > CHEAP_RUNS:
            return False
        wanted = self.filter
        return wanted == RunFilter(
            state_types=wanted.state_types,
            parent_run_id=wanted.parent_run_id,
            top_level_only=wanted.top_level_only and wanted.parent_run_id is None,
        )


class RunKey(NamedTuple):
    """A run, and what changes whenever the run does."""

    id: str
    position: int
    session_id: str | None


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A page of log records, by position."""

    run_id: str
    include_descendants: bool = False
    min_level: int = 0
    after_position: int = 0
    """Position to continue after, or before it with `newest_first` (0: from the end)."""
    loggers: tuple[str, ...] = ()
    """Names of loggers; each stands for those below it, too."""
    logged_after_us: int | None = None
    message_contains: str = ""
    """Records in pieces fit in any case: the text may be in two of them."""
    newest_first: bool = False
    limit: int = 1000
    limit_bytes: int = 2_000_000
    """A page ends after the record with which its messages exceed this."""


@dataclass(frozen=True, slots=True)
class ArtifactQuery:
    """A page of artifacts, by id; see flowspan.v1.ArtifactFilter. Empty fields do not filter."""

    key: str | None = None
    types: tuple[str, ...] = ()
    run_id: str | None = None
    include_descendants: bool = False
    id_prefix: str | None = None
    id_suffix: str | None = None
    oldest_first: bool = False
    after_id: str | None = None
    """The last id of the page before."""
    limit: int = 100
    limit_bytes: int = 2_000_000
    """A page ends after the artifact with which its messages exceed this."""
    without_data: bool = False


@dataclass(frozen=True, slots=True)
class LatestArtifactQuery:
    """A page of the latest artifacts of each key, by key."""

    key_prefix: str = ""
    after_key: str | None = None
    limit: int = 100
    limit_bytes: int = 2_000_000
    """A page ends after the artifact with which its messages exceed this."""
    without_data: bool = False


@dataclass(frozen=True, slots=True)
class VariableQuery:
    """A page of variables, by name."""

    name_prefix: str = ""
    tags: tuple[str, ...] = ()
    """All of them are to be met."""
    after_name: str | None = None
    limit: int = 100
    limit_bytes: int = 2_000_000
    """A page ends after the variable with which its messages exceed this."""


class Changes(NamedTuple):
    """Some transitions by position, and what there is after them."""

    pairs: list[tuple[Transition, Run]]
    """Each with its run, whose state may be newer."""
    looked_at: int
    """The position up to which everything was looked at: go on from there."""
    has_more: bool
    """Whether there were transitions after that, of whatever run."""


class FoundRuns(NamedTuple):
    """Some runs of those that were asked for."""

    items: list[Run]
    asked: int
    """How many of them were looked for: the first ones."""


class LogPage(NamedTuple):
    """Some log records by position, and what there is after them."""

    items: list[LogEntry]
    looked_at: int
    """The position up to which everything was looked at: go on from there."""
    has_more: bool
    """True if there may be more, even after an empty page: a call searches only a part."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and whether more follow."""

    items: list[T]
    has_more: bool
