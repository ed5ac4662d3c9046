"""The snapshot of all figures of the service, for /metrics and for OTLP."""

from __future__ import annotations

import shutil
from operator import attrgetter
from typing import TYPE_CHECKING

from flowspan_service.app.ports.runs import RunFilter
from flowspan_service.domain.errors import StoreUnavailableError
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import OPEN_TYPES, StateType
from flowspan_service.metrics import families
from flowspan_service.metrics.points import Figure, Point, Snapshot, one

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend

_OPEN = RunFilter(state_types=OPEN_TYPES)
_SQLITE = "sqlite"
_ORDER = {family.name: place for place, family in enumerate(families.FAMILIES)}
_NAME = attrgetter("family.name")


async def snapshot(backend: Backend) -> Snapshot:
    """Return all figures, in the order of `families.FAMILIES`.

    Figures that cannot be read are left out: those of a database that does not answer, and those of
    parts that the service does not have.
    """
    figures = [
        *_of_process(backend),
        *_of_writer(backend),
        *backend.activity.calls.figures(),
        *backend.ended_runs.figures(),
        *backend.writes.figures(),
    ]
    if not backend.activity.database_problem:
        figures += await backend.read(_of_database, backend)
    figures.sort(key=lambda figure: _ORDER[_NAME(figure)])
    return Snapshot(backend.about.started_us, backend.clock.now_us(), figures)


def _of_process(backend: Backend) -> list[Figure]:
    about, activity = backend.about, backend.activity
    waiting = backend.spans_waiting()
    return [
        Figure(families.INFO, [Point((about.version, about.database), 1)]),
        one(families.START_TIME, about.started_us / 1e6),
        one(families.SESSIONS, len(backend.connections)),
        one(families.WATCHERS, backend.feeds.watcher_count),
        one(families.OPEN_CALLS, activity.open_calls),
        one(families.OPEN_FILES, backend.files.used),
        one(families.OPEN_FILES_LIMIT, backend.files.limit),
        one(families.BATCHES, activity.batch_count),
        one(families.COMMITTED_TRANSITIONS, activity.committed_transition_count),
        one(families.QUEUED_BYTES, activity.queued_bytes),
        *([] if waiting is None else [one(families.SPANS_WAITING, waiting)]),
    ]


def _of_writer(backend: Backend) -> list[Figure]:
    store = backend.store
    times = store.write_times()
    problem = store.gone or backend.activity.database_problem
    return [
        one(families.QUEUED_EVENTS, store.queued_weight),
        one(families.QUEUED_OPERATIONS, store.queued_operation_count),
        one(families.LONGEST_WRITE, times.longest_s),
        one(families.LONGEST_RECENT_WRITE, times.recent_longest_s),
        one(families.DATABASE_PROBLEM, int(bool(problem))),
    ]


def _of_database(backend: Backend) -> list[Figure]:
    """Read the figures that only the database knows. Blocks."""
    store, about = backend.store, backend.about
    found: list[Figure] = []
    try:
        open_runs = [
            Point((kind.name.lower(), StateType(state).name), count)
            for kind in RunKind
            for state, count in sorted(store.runs.count(kind, _OPEN).items())
        ]
        found.append(Figure(families.OPEN_RUNS, open_runs))
        size = store.size_bytes()
        if size:
            found.append(one(families.DATABASE_SIZE, size))
    except StoreUnavailableError:
        return found
    if about.database == _SQLITE and about.database_location:
        try:
            free = shutil.disk_usage(about.database_location).free
        except OSError:
            return found
        found.append(one(families.DATABASE_DISK_FREE, free))
    return found
