"""The reads of a store, in threads of the caller, on connections of their own."""

from __future__ import annotations

import contextlib
import heapq
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from flowspan_service.app.ports import Heads
from flowspan_service.app.queries import Changes, FoundRuns, LogPage, Page, RunFilter, RunQuery
from flowspan_service.domain.errors import StoreUnavailableError
from flowspan_service.domain.flows import Flow
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.sessions import SessionStatus
from flowspan_service.stores import trees
from flowspan_service.stores.dialects.base import chunks
from flowspan_service.stores.engine.bounds import bounded, log_bytes, run_bytes, transition_bytes
from flowspan_service.stores.logs import LogStatement
from flowspan_service.stores.rows import log_of, run_of, transition_of
from flowspan_service.stores.run_lists import KEY_COLUMNS, count_statement, page_statement
from flowspan_service.stores.schema import (
    IS_OPEN,
    deletion,
    flow,
    head,
    run,
    session,
    transition,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from flowspan_service.app.queries import LogQuery, RunKey
    from flowspan_service.domain.runs import Run, Transition
    from flowspan_service.stores.dialects.base import Dialect

SCAN_LIMIT = 20_000
"""How many positions one look for the changes of a tree goes through."""
FEW_ROWS = 100
ROWS_BUFFERED = 64
"""Rows fetched at once: log records of the largest size are then 16 MiB."""


def _ended_with_open_runs() -> Select[tuple[str]]:
    """The sessions that have ended and have open runs: one step along the index for each session.

    The type of a recursive CTE is Any because mypy fails over it.
    """
    # Not min(), which PostgreSQL has for UUIDs since version 18 only.
    next_id = select(run.c.session_id).where(IS_OPEN).order_by(run.c.session_id).limit(1)
    first = next_id.where(run.c.session_id.is_not(None)).scalar_subquery()
    found: Any = select(first.label("id")).cte("reporting", recursive=True)
    following = next_id.where(run.c.session_id > found.c.id).scalar_subquery()
    every = found.union_all(select(following).where(found.c.id.is_not(None)))
    ended = session.c.status != SessionStatus.OPEN
    return select(session.c.id).join(every, every.c.id == session.c.id).where(ended)


def _streaming(connection: Connection, limit: int) -> Connection:
    """The connection, fetching rows a few at a time: a page of large ones is not loaded whole.

    A short page is, for on PostgreSQL this takes two turns more.
    """
    return connection.execution_options(yield_per=ROWS_BUFFERED) if limit > FEW_ROWS else connection


_ENDED_WITH_OPEN_RUNS = _ended_with_open_runs()


class Reads:
    """See app.ports.Store."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    @property
    def is_local(self) -> bool:
        """See app.ports.Store."""
        return self._dialect.is_local

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._explained(), self._dialect.reading.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise the errors of the database as StoreUnavailableError."""
        if self._dialect.gone is not None:
            raise StoreUnavailableError(self._dialect.gone)
        try:
            yield
        except PoolTimeoutError as error:
            raise StoreUnavailableError("All connections to the database are busy.") from error
        except Exception as error:
            reason = self._dialect.explain(error)
            if reason is None:
                raise
            raise StoreUnavailableError(reason) from error

    def begun_deletions(self) -> list[str]:
        """See app.ports.Store."""
        with self._connection() as connection:
            return list(connection.scalars(select(deletion.c.run_id)))

    def ended_sessions_with_open_runs(self) -> list[str]:
        """See app.ports.Store."""
        with self._connection() as connection:
            return list(connection.scalars(_ENDED_WITH_OPEN_RUNS))

    def sessions_ended_before(
        self, ended_before_us: int, *, after_id: str | None, limit: int
    ) -> list[str]:
        """See app.ports.Store."""
        statement = (
            select(session.c.id)
            .where(session.c.status != SessionStatus.OPEN)
            .where(session.c.lease_expires_us < ended_before_us)
            .order_by(session.c.id)
            .limit(limit)
        )
        if after_id is not None:
            statement = statement.where(session.c.id > after_id)
        with self._connection() as connection:
            return list(connection.scalars(statement))

    def get_run(self, kind: int, run_id: str) -> Run | None:
        """See app.ports.Store."""
        with self._explained():
            return self._dialect.find_run(kind, run_id)

    def list_runs(self, query: RunQuery) -> Page[Run]:
        """See app.ports.Store."""
        with self._connection() as connection:
            statement = page_statement(query, self._dialect, limit=query.limit + 1)
            runs = self._dialect.fetch_runs(_streaming(connection, query.limit), statement)
            with contextlib.closing(runs):
                return bounded(runs, run_bytes, query.limit, query.limit_bytes)

    def list_run_keys(self, query: RunQuery) -> Page[RunKey]:
        """See app.ports.Store."""
        limit = query.limit
        statement = page_statement(query, self._dialect, limit=limit + 1, columns=KEY_COLUMNS)
        with self._explained():
            keys = self._dialect.fetch_keys(statement)
        return Page(keys[:limit], has_more=len(keys) > limit)

    def load_runs(self, run_ids: Sequence[str]) -> list[Run]:
        """See app.ports.Store."""
        with self._connection() as connection:
            return self._dialect.load_runs(connection, run_ids)

    def count_runs(self, kind: int, run_filter: RunFilter) -> dict[int, int]:
        """See app.ports.Store."""
        with self._connection() as connection:
            sql, parameters = count_statement(kind, run_filter, self._dialect)
            rows = connection.exec_driver_sql(sql, parameters).all()
        return dict(sorted(tuple(row) for row in rows))

    def tree_runs(
        self, run_id: str, *, after_id: str | None, limit: int, limit_bytes: int = 2_000_000
    ) -> Page[Run]:
        """See app.ports.Store."""
        with self._connection() as connection:
            if trees.root_of(connection, run_id) == run_id:
                return self._root_page(connection, run_id, after_id, limit, limit_bytes)
            statement = trees.tree_statement(run_id, after_id=after_id, limit=limit + 1)
            with _streaming(connection, limit).execute(statement) as rows:
                return bounded(map(run_of, rows), run_bytes, limit, limit_bytes)

    def _root_page(
        self,
        connection: Connection,
        root_run_id: str,
        after_id: str | None,
        limit: int,
        limit_bytes: int,
    ) -> Page[Run]:
        """A page of a whole tree: two lists, merged, so that it costs the same wherever it is."""
        whole = RunFilter(root_run_id=root_run_id)
        with contextlib.ExitStack() as stack:
            lists = [
                stack.enter_context(
                    contextlib.closing(
                        self._dialect.fetch_runs(
                            _streaming(connection, limit),
                            page_statement(
                                RunQuery(kind, whole, oldest_first=True, after_id=after_id),
                                self._dialect,
                                limit=limit + 1,
                            ),
                        )
                    )
                )
                for kind in RunKind
            ]
            merged = heapq.merge(*lists, key=lambda found: found.id)
            return bounded(merged, run_bytes, limit, limit_bytes)

    def tree_ids(self, run_id: str) -> list[str]:
        """See app.ports.Store."""
        with self._connection() as connection:
            is_root = trees.root_of(connection, run_id) == run_id
            ids = trees.tree_ids(run_id, is_root=is_root).subquery()
            return list(connection.scalars(select(ids.c.id).order_by(ids.c.id)))

    def runs(self, run_ids: Sequence[str], *, limit_bytes: int = 2_000_000) -> FoundRuns:
        """See app.ports.Store."""
        found: list[Run] = []
        size = asked = 0
        with self._connection() as connection:
            for chunk in chunks(run_ids, ROWS_BUFFERED):
                some = self._dialect.load_runs(connection, chunk)
                found += sorted(some, key=lambda each: each.id)
                asked += len(chunk)
                size += sum(map(run_bytes, some))
                if size > limit_bytes:
                    break
        return FoundRuns(found, asked)

    def transitions(self, run_id: str) -> list[Transition]:
        """See app.ports.Store."""
        return self.transition_page(run_id).items

    def transition_page(
        self,
        run_id: str,
        *,
        after_ordinal: int = 0,
        limit: int | None = None,
        limit_bytes: int = 2_000_000,
    ) -> Page[Transition]:
        """See app.ports.Store."""
        with self._connection() as connection:
            last = connection.execute(select(run.c.position).where(run.c.id == run_id)).scalar()
            if last is None:
                return Page([], has_more=False)
            positions = trees.history(last)
            statement = (
                select(transition)
                .join(positions, transition.c.position == positions.c.position)
                .where(transition.c.ordinal > after_ordinal)
                .order_by(transition.c.position)
            )
            if limit is None:
                rows = connection.execute(statement)
                return Page([transition_of(row) for row in rows], has_more=False)
            with _streaming(connection, limit).execute(statement.limit(limit + 1)) as rows:
                return bounded(map(transition_of, rows), transition_bytes, limit, limit_bytes)

    def changes(
        self, *, after: int, run_id: str | None, limit: int, limit_bytes: int = 2_000_000
    ) -> Changes:
        """See app.ports.Store."""
        with self._explained():
            # First the head: what is committed while we look belongs to the next call.
            newest, root = self._dialect.find_place(run_id)
            upto = newest
            if run_id is not None:
                if root is None:
                    return Changes([], max(after, upto), has_more=False)
                upto = min(upto, after + SCAN_LIMIT)
            with self._dialect.transitions_between(
                after, upto, root_run_id=root, limit=limit + 1
            ) as transitions:
                page = bounded(transitions, transition_bytes, limit, limit_bytes)
            found, runs = self._with_runs(page.items, limit_bytes)
        if page.has_more or len(found) < len(page.items):
            upto = found[-1].position
        if run_id not in (None, root):
            with self._connection() as connection:
                inside = trees.members(connection, runs, of_run=str(run_id))
            runs = {key: value for key, value in runs.items() if key in inside}
        # A run that was deleted in between has no changes to tell of.
        pairs = [(change, runs[change.run_id]) for change in found if change.run_id in runs]
        return Changes(pairs, max(after, upto), has_more=upto < newest)

    def _with_runs(
        self, changes: list[Transition], limit_bytes: int
    ) -> tuple[list[Transition], dict[str, Run]]:
        """The first changes and their runs, fewer than all where the runs are large."""
        run_ids = list(dict.fromkeys(change.run_id for change in changes))
        runs: dict[str, Run] = {}
        size = asked = 0
        for chunk in chunks(run_ids, ROWS_BUFFERED):
            asked += len(chunk)
            for found in self._dialect.find_runs(chunk):
                runs[found.id] = found
                size += run_bytes(found)
            if size > limit_bytes:
                break
        missing = set(run_ids[asked:])
        known = list(takewhile(lambda change: change.run_id not in missing, changes))
        return known, runs

    def size_bytes(self) -> int:
        """See app.ports.Store."""
        with self._connection() as connection:
            return self._dialect.size_bytes(connection)

    def position(self) -> int:
        """See app.ports.Store."""
        with self._connection() as connection:
            return int(connection.execute(select(head.c.position)).scalar_one())

    def heads(self) -> Heads:
        """See app.ports.Store."""
        with self._connection() as connection:
            return Heads(*connection.execute(select(head.c.position, head.c.log_position)).one())

    def changed_roots(self, after: int, upto: int) -> set[str] | None:
        """See app.ports.Store."""
        if upto - after > SCAN_LIMIT:
            return None
        statement = (
            select(run.c.root_run_id)
            .join(transition, transition.c.run_id == run.c.id)
            .where(transition.c.position > after, transition.c.position <= upto)
            .distinct()
        )
        with self._connection() as connection:
            return set(connection.scalars(statement))

    def log_position(self) -> int:
        """See app.ports.Store."""
        with self._connection() as connection:
            return int(connection.execute(select(head.c.log_position)).scalar_one())

    def commit_time(self, position: int) -> int:
        """See app.ports.Store."""
        statement = select(transition.c.commit_us).where(transition.c.position == position)
        with self._connection() as connection:
            return int(connection.execute(statement).scalar() or 0)

    def list_logs(self, query: LogQuery) -> LogPage:
        """See app.ports.Store."""
        find = "instr" if self._dialect.name == "sqlite" else "strpos"
        with self._connection() as connection:
            statement = LogStatement(connection, query, text_position=find)
            with _streaming(connection, query.limit).execute(statement.records()) as rows:
                page = bounded(map(log_of, rows), log_bytes, query.limit, query.limit_bytes)
        if page.has_more:
            return LogPage(page.items, page.items[-1].position, has_more=True)
        if statement.end is not None:
            return LogPage(page.items, statement.end, has_more=True)
        # Of records that were committed meanwhile, those up to the last one here were read.
        last = page.items[-1].position if page.items else 0
        looked_at = max(query.after_position, statement.newest, last)
        return LogPage(page.items, looked_at, has_more=False)

    def get_flow(self, *, flow_id: str | None = None, name: str | None = None) -> Flow | None:
        """See app.ports.Store."""
        statement = select(flow)
        if flow_id is not None:
            statement = statement.where(flow.c.id == flow_id)
        if name is not None:
            statement = statement.where(flow.c.name == name)
        with self._connection() as connection:
            row = connection.execute(statement.limit(1)).first()
        return Flow(*row) if row is not None else None

    def list_flows(self, *, after_name: str | None, limit: int) -> list[Flow]:
        """See app.ports.Store."""
        statement = select(flow).order_by(flow.c.name).limit(limit)
        if after_name is not None:
            statement = statement.where(flow.c.name > after_name)
        with self._connection() as connection:
            return [Flow(*row) for row in connection.execute(statement)]
