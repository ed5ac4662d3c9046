"""The reads of runs."""

from __future__ import annotations

import contextlib
import heapq
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, null, or_, select

from flowspan_service.app.ports.pages import Page
from flowspan_service.app.ports.runs import FoundRuns, RunFilter, RunQuery, SpanRuns
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.stores import trees
from flowspan_service.stores.engine.bounds import bounded
from flowspan_service.stores.engine.bulk import IDS_PER_STATEMENT, chunks
from flowspan_service.stores.engine.reading import ROWS_BUFFERED, streaming
from flowspan_service.stores.run_lists import KEY_COLUMNS, count_statement, page_statement
from flowspan_service.stores.run_traces import derive_traces, read_traces
from flowspan_service.stores.runs import SELECTED, run, run_bytes, run_of
from flowspan_service.stores.schema import head
from flowspan_service.stores.transitions import SCAN_LIMIT, transition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from flowspan_service.app.ports.runs import RunKey
    from flowspan_service.domain.runs import Run, TraceContext
    from flowspan_service.stores.engine.reading import Reading

_FIRST_TERMINAL = int(StateType.COMPLETED)
_PAYLOADS = {"parameters_encoding", "parameters", "state_result"}
"""Columns that no span shows. They may be large."""
SPAN_BYTES = 2_000_000
"""A page of runs whose spans are exported ends with the run that takes it above this size."""
_SPAN_COLUMNS = [null().label(each.name) if each.name in _PAYLOADS else each for each in SELECTED]


def _span_runs_statement(after: int, upto: int, *, since_us: int, limit: int) -> Select[Any]:
    """Return the runs that ended between two positions and whose spans the service exports.

    A run that has left its terminal state since then is not among them.
    """
    ended = and_(transition.c.run_id == run.c.id, transition.c.position == run.c.position)
    return (
        select(*_SPAN_COLUMNS)
        .join(transition, ended)
        .where(transition.c.position > after, transition.c.position <= upto)
        .where(transition.c.state_type >= _FIRST_TERMINAL, transition.c.commit_us >= since_us)
        .where(
            or_(
                run.c.exported_by_service.is_(True),
                and_(transition.c.cause == int(Cause.SESSION_LOST), run.c.traceparent.is_not(None)),
            )
        )
        .order_by(transition.c.position)
        .limit(limit)
    )


class RunReads:
    """Implementation of app.ports.runs.RunReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def get(self, kind: int, run_id: str) -> Run | None:
        """Return a run of that kind."""
        with self._reading.explained():
            found = self._reading.dialect.find_run(kind, run_id)
        if found is not None:
            derive_traces(self._reading, (found,))
        return found

    def list(self, query: RunQuery) -> Page[Run]:
        """Return a page of runs."""
        with self._reading.connection() as connection:
            statement = page_statement(query, self._reading.dialect, limit=query.limit + 1)
            runs = self._reading.dialect.fetch_runs(streaming(connection, query.limit), statement)
            with contextlib.closing(runs):
                page = bounded(runs, run_bytes, query.limit, query.limit_bytes)
        derive_traces(self._reading, page.items)
        return page

    def list_keys(self, query: RunQuery) -> Page[RunKey]:
        """Return a page of the keys of runs, without a bound on its bytes."""
        limit = query.limit
        statement = page_statement(
            query, self._reading.dialect, limit=limit + 1, columns=KEY_COLUMNS
        )
        with self._reading.explained():
            keys = self._reading.dialect.fetch_keys(statement)
        return Page(keys[:limit], has_more=len(keys) > limit)

    def load(self, run_ids: Sequence[str]) -> Sequence[Run]:
        """Return the existing runs among these, in any order."""
        with self._reading.connection() as connection:
            runs = self._reading.dialect.load_runs(connection, run_ids)
        derive_traces(self._reading, runs)
        return runs

    def count(self, kind: int, run_filter: RunFilter) -> dict[int, int]:
        """Return the number of runs by the type of their state."""
        with self._reading.connection() as connection:
            sql, parameters = count_statement(kind, run_filter, self._reading.dialect)
            rows = connection.exec_driver_sql(sql, parameters).all()
        return dict(sorted(tuple(row) for row in rows))

    def tree(
        self,
        run_id: str,
        *,
        after_id: str | None,
        limit: int,
        limit_bytes: int = 2_000_000,
        state_types: Sequence[int] = (),
    ) -> Page[Run]:
        """Return a page of a run and its descendants, by id ascending (parents before children)."""
        with self._reading.connection() as connection:
            if trees.root_of(connection, run_id) == run_id:
                whole = RunFilter(root_run_id=run_id, state_types=tuple(state_types))
                page = self._root_page(connection, whole, after_id, limit, limit_bytes)
            else:
                statement = trees.tree_statement(
                    run_id, after_id=after_id, limit=limit + 1, state_types=state_types
                )
                with streaming(connection, limit).execute(statement) as rows:
                    page = bounded(map(run_of, rows), run_bytes, limit, limit_bytes)
        derive_traces(self._reading, page.items)
        return page

    def _root_page(
        self,
        connection: Connection,
        whole: RunFilter,
        after_id: str | None,
        limit: int,
        limit_bytes: int,
    ) -> Page[Run]:
        """Return a page of a whole tree: two merged lists, so that every page costs the same."""
        with contextlib.ExitStack() as stack:
            lists = [
                stack.enter_context(
                    contextlib.closing(
                        self._reading.dialect.fetch_runs(
                            streaming(connection, limit),
                            page_statement(
                                RunQuery(kind, whole, oldest_first=True, after_id=after_id),
                                self._reading.dialect,
                                limit=limit + 1,
                            ),
                        )
                    )
                )
                for kind in RunKind
            ]
            merged = heapq.merge(*lists, key=lambda found: found.id)
            return bounded(merged, run_bytes, limit, limit_bytes)

    def tree_ids(self, run_id: str, *, state_types: Sequence[int] = ()) -> Sequence[str]:
        """Return the ids of a run and its descendants, ascending."""
        with self._reading.connection() as connection:
            is_root = trees.root_of(connection, run_id) == run_id
            ids = trees.tree_ids(run_id, is_root=is_root, state_types=state_types).subquery()
            return list(connection.scalars(select(ids.c.id).order_by(ids.c.id)))

    def find(self, run_ids: Sequence[str], *, limit_bytes: int = 2_000_000) -> FoundRuns:
        """Return the first of these runs that exist, up to about `limit_bytes` of payloads."""
        found: list[Run] = []
        size = asked = 0
        with self._reading.connection() as connection:
            for chunk in chunks(run_ids, ROWS_BUFFERED):
                some = self._reading.dialect.load_runs(connection, chunk)
                found += sorted(some, key=lambda each: each.id)
                asked += len(chunk)
                size += sum(map(run_bytes, some))
                if size > limit_bytes:
                    break
        derive_traces(self._reading, found)
        return FoundRuns(found, asked)

    def traces(self, run_ids: Iterable[str]) -> dict[str, TraceContext]:
        """Return the trace contexts of the runs among these that have one, by run."""
        return read_traces(self._reading, run_ids)

    def function_names(self, run_ids: Iterable[str]) -> dict[str, str]:
        """Return the names of the flows or tasks of the existing runs among these, by run."""
        found: dict[str, str] = {}
        with self._reading.connection() as connection:
            for chunk in chunks(sorted(set(run_ids)), IDS_PER_STATEMENT):
                statement = select(run.c.id, run.c.function_name).where(run.c.id.in_(chunk))
                found.update({row.id: row.function_name for row in connection.execute(statement)})
        return found

    def needing_spans(self, *, after: int, since_us: int, limit: int) -> SpanRuns:
        """Return runs whose spans the service exports, by the position of their end."""
        with self._reading.connection() as connection:
            newest = int(connection.execute(select(head.c.position)).scalar_one())
            upto = min(newest, after + SCAN_LIMIT)
            statement = _span_runs_statement(after, upto, since_us=since_us, limit=limit + 1)
            with streaming(connection, limit).execute(statement) as rows:
                page = bounded(map(run_of, rows), run_bytes, limit, SPAN_BYTES)
        if page.has_more:
            upto = page.items[-1].position
        derive_traces(self._reading, page.items)
        return SpanRuns(page.items, max(after, upto), has_more=upto < newest)
