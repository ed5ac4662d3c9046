"""The unit of work: a transaction, held in memory until it is written in a few large statements."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update

from flowspan_service.app.queries import Page
from flowspan_service.domain.flows import Flow, flow_id
from flowspan_service.domain.leases import StoredSign
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.sessions import SessionStatus
from flowspan_service.domain.states import TERMINAL_TYPES
from flowspan_service.stores import schema as tables
from flowspan_service.stores.artifacts import Objects
from flowspan_service.stores.commands import Commands
from flowspan_service.stores.deletions import Deletions
from flowspan_service.stores.dialects.base import Head, chunks
from flowspan_service.stores.engine.bounds import bounded, run_bytes, tag_bytes, text_bytes
from flowspan_service.stores.engine.budget import Budget
from flowspan_service.stores.engine.commit_times import CommitTimes
from flowspan_service.stores.ids import to_bytes
from flowspan_service.stores.rows import change_row, run_of, run_row, session_of
from flowspan_service.stores.upserts import upsert_flows, upsert_sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from sqlalchemy.engine import Connection

    from flowspan_service.app.ports import Place
    from flowspan_service.domain.artifacts import Artifact
    from flowspan_service.domain.commands import Command
    from flowspan_service.domain.logs import LogEntry
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import Session
    from flowspan_service.domain.variables import Variable
    from flowspan_service.stores.dialects.base import Dialect
    from flowspan_service.stores.engine.cache import Cache

LOOK_UP_CHUNK = 500
LOAD_CHUNK = 256
"""Runs loaded together; their texts are at most 48 KiB each."""
ROWS_BUFFERED = 64
SINGLE_LOOK_UPS = 4
LOG_STATEMENT_CHARACTERS = 4_000_000
CHARACTERS_PER_ROW = 8_000
"""Messages together count as one row more for so much of them."""
_SIGNS = select(
    tables.session.c.id,
    tables.session.c.renewals,
    tables.session.c.lease_us,
    tables.session.c.silence_us,
    tables.session.c.lease_expires_us,
).where(tables.IS_OPEN_SESSION)
_FLOW = int(RunKind.FLOW)  # for add_run: reading a member from its class takes its time


class Unit:
    """See app.ports.UnitOfWork. Used by the writer's thread alone."""

    def __init__(
        self,
        dialect: Dialect,
        connection: Connection,
        head: Head,
        cache: Cache,
        *,
        now_us: int,
        is_spent: Callable[[], bool] = lambda: False,
    ) -> None:
        self.now_us = now_us
        self.budget = Budget(is_spent)
        self.changes = 0
        """How many calls have changed something: tells whether a failed operation had begun."""
        self._dialect = dialect
        self._null = dialect.null
        self._whole_rows = dialect.writes_whole_rows
        self._connection = connection
        self._head = head
        self._position = head.position
        self._log_position = head.log_position
        self._cache = cache
        self._runs = cache.runs
        self._sessions = cache.sessions
        self._absent: set[str] = set()
        self._looked_up: set[str] = set()
        """The runs that were looked for among the deleted ones."""
        self._deleted: set[str] = set()
        self._new: dict[str, Run] = {}
        self._changed: dict[str, Run] = {}
        self._written: dict[str, Run] = {}
        self._transitions: list[Any] = []
        self._logs: list[LogEntry] = []
        self._changed_sessions: dict[str, Session] = {}
        self._flows: dict[str, tuple[int, int]] = {}
        self._other_roots: set[str] = set()
        """Of trees that changed, beside those of the runs that were written."""
        self._objects = Objects(dialect, connection, self.budget)
        self._commands = Commands(connection, now_us)
        self._commit_times = CommitTimes(connection, now_us) if now_us < head.latest_us else None
        """None as long as the clock does not stand behind."""
        self._deletions = Deletions(connection, self._objects, self._commands)

    def is_spent(self) -> bool:
        """See app.ports.UnitOfWork."""
        return self.budget.is_full or self.budget.is_late()

    # Runs

    def preload(self, run_ids: Iterable[str]) -> None:
        """Loads the runs that are not in memory, in few statements, as far as they are small."""
        if self._commit_times is not None:
            run_ids = list(run_ids)
            self._load(run_ids)
            self._commit_times.prepare(
                self._runs[run_id] for run_id in run_ids if run_id in self._runs
            )
        else:
            self._load(run_ids)

    def _load(self, run_ids: Iterable[str]) -> None:
        runs, absent = self._runs, self._absent
        unknown = [run_id for run_id in dict.fromkeys(run_ids) if run_id not in runs]
        if unknown and self._cache.doubted:
            self._cache.confirm(unknown, partial(self._dialect.run_versions, self._connection))
            unknown = [run_id for run_id in unknown if run_id not in runs]
        if not unknown:
            return
        newest_id = self._newest_id()
        # Most that are asked for are about to be created, with ids that count up.
        wanted = [run_id for run_id in unknown if run_id <= newest_id and run_id not in absent]
        absent.update(unknown)
        if wanted:
            wanted, later = self.budget.fitting_runs(self._connection, wanted)
            absent.difference_update(later)
            for chunk in chunks(wanted, LOAD_CHUNK):
                if len(wanted) > 1 and not self.budget.has_room:
                    absent.difference_update(chunk)
                    continue
                for run in self._dialect.load_runs(self._connection, chunk):
                    runs[run.id] = run
                    absent.discard(run.id)
                    self._cache.payload_bytes += run_bytes(run)
                    self.budget.take(text_bytes(run.state.message) + tag_bytes(run.tags))

    def _newest_id(self) -> str:
        if self._cache.newest_id is None:
            statement = select(tables.run.c.id).order_by(tables.run.c.id.desc()).limit(1)
            self._cache.newest_id = self._connection.execute(statement).scalar() or ""
        return self._cache.newest_id

    def run(self, run_id: str) -> Run | None:
        """See app.ports.UnitOfWork."""
        run = self._runs.get(run_id)
        if run is None and run_id not in self._absent:
            self.preload((run_id,))
            run = self._runs.get(run_id)
            if run is not None:
                self.budget.touch_late(run_bytes(run))
        return run

    def add_run(self, run: Run) -> None:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        run_id = run.id
        self._runs[run_id] = self._new[run_id] = run
        if run_id > self._newest_id():
            self._cache.newest_id = run_id
        if run.kind == _FLOW:
            created_us, last_run_us = self._flows.get(run.function_name, (self.now_us, 0))
            self._flows[run.function_name] = (created_us, max(last_run_us, run.created_us))
        if run.parameters is not None:
            self._cache.payload_bytes += len(run.parameters.data)
        run.position = 0
        self._record(run)

    def add_transition(self, run: Run) -> None:
        """See app.ports.UnitOfWork."""
        self.update_run(run)
        self._record(run)

    def update_run(self, run: Run) -> None:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        run_id = run.id
        self._runs[run_id] = run
        if run_id in self._new:
            self._new[run_id] = run
            return
        if self._whole_rows and run_id not in self._changed and (run.parameters or run.tags):
            parameters = 0 if run.parameters is None else len(run.parameters.data)
            self.budget.touch(parameters + tag_bytes(run.tags))
        self._changed[run_id] = run

    def _record(self, run: Run) -> None:
        """Notes the run's last transition, and links it with the one before."""
        state, null = run.state, self._null
        failure: Any = state.failure
        result: Any = state.result
        if failure is None:
            failure = null
        else:
            self._cache.payload_bytes += len(failure)
        if result is None:
            result = null
        else:
            self._cache.payload_bytes += len(result)
        self._position = position = self._position + 1
        commit_us = self.now_us
        if self._commit_times is not None:
            commit_us = self._commit_times.next(run, position)
        # One flat list, as millions of tuples would keep the garbage collector busy.
        self._transitions += (
            position,
            run.position,
            to_bytes(run.id),
            run.transition_count,
            run.attempt,
            +state.type,
            +run.cause,
            commit_us,
            state.time_us,
            null if state.scheduled_us is None else state.scheduled_us,
            state.name,
            state.message,
            failure,
            result,
        )
        run.position = position

    def open_runs_of(self, session_id: str, *, limit: int, limit_bytes: int) -> Page[Run]:
        """See app.ports.UnitOfWork."""
        self.flush()
        statement = (
            select(tables.run)
            .where(tables.run.c.session_id == session_id, tables.IS_OPEN)
            .order_by(tables.run.c.id.desc())
            .limit(limit + 1)
        )
        # Rows come a few at a time, so that a page of large runs is not loaded whole.
        options = {"yield_per": ROWS_BUFFERED}
        with self._connection.execute(statement, execution_options=options) as rows:
            page = bounded(map(run_of, rows), run_bytes, limit, limit_bytes)
        # What is in memory is the same, as everything was flushed, and is what others hold.
        runs = [self._runs.setdefault(run.id, run) for run in page.items]
        return Page(runs, has_more=page.has_more)

    # Deletions

    def deletions(self) -> Collection[str]:
        """See app.ports.UnitOfWork."""
        return set().union(*self._begun_deletions().values())

    def begin_deletion(self, run: Run) -> None:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        self._deletions.begin(run, now_us=self.now_us)
        self._cache.deletions = None

    def end_deletion(self, run_id: str) -> None:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        self._deletions.end(run_id)
        self._cache.deletions = None

    def is_being_deleted(self, run: Run) -> bool:
        """See app.ports.UnitOfWork."""
        begun = self._begun_deletions()
        doomed = begun.get(run.root_run_id) if begun else None
        if doomed is None:
            return False
        if run.root_run_id in doomed:
            return True
        seen: set[str] = set()
        ancestor: Run | None = run
        while ancestor is not None and ancestor.id not in seen:
            if ancestor.id in doomed:
                return True
            seen.add(ancestor.id)
            ancestor = self.run(ancestor.parent_run_id) if ancestor.parent_run_id else None
        return False

    def _begun_deletions(self) -> dict[str, set[str]]:
        if self._cache.deletions is None:
            self._cache.deletions = self._deletions.load()
        return self._cache.deletions

    def open_run_below(
        self, run_id: str, *, after: Place | None
    ) -> tuple[Run | None, Place | None]:
        """See app.ports.UnitOfWork."""
        self.flush()
        return self._deletions.open_run_below(run_id, after=after)

    def delete_below(self, path: list[str]) -> int:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        self.flush()
        begun = path[0]
        gone = self._deletions.delete_below(path)
        self._other_roots.update(
            root for root, doomed in self._begun_deletions().items() if begun in doomed
        )
        for doomed in gone:
            self._runs.pop(doomed.id, None)
            self._written.pop(doomed.id, None)
            self._absent.add(doomed.id)
            if doomed.state_type not in TERMINAL_TYPES:
                self._looked_up.add(doomed.id)
                self._deleted.add(doomed.id)
        return len(gone)

    def was_deleted(self, run_id: str) -> bool:
        """See app.ports.UnitOfWork."""
        if run_id not in self._looked_up:
            self._look_up_deleted(run_id)
        return run_id in self._deleted

    def _look_up_deleted(self, run_id: str) -> None:
        """Look whether a run was deleted, and when several were asked for, all that are absent.

        A batch may name 20,000 runs that are not there; one statement each took four seconds.
        """
        wanted = [run_id]
        if len(self._looked_up) >= SINGLE_LOOK_UPS:
            wanted += self._absent - self._looked_up - {run_id}
        self._looked_up.update(wanted)
        deleted = tables.deleted_run.c.id
        for chunk in chunks(wanted, LOOK_UP_CHUNK):
            statement = select(deleted).where(deleted.in_(chunk))
            self._deleted.update(self._connection.execute(statement).scalars())

    # Logs

    def add_logs(self, entries: Sequence[LogEntry]) -> None:
        """See app.ports.UnitOfWork."""
        if entries:
            self.changes += 1
            self._logs.extend(entries)

    # Artifacts and variables

    def preload_artifacts(self, artifact_ids: Sequence[str]) -> None:
        """See app.ports.UnitOfWork."""
        self._objects.preload_artifacts(artifact_ids)

    def artifact(self, artifact_id: str) -> Artifact | None:
        """See app.ports.UnitOfWork."""
        return self._objects.artifact(artifact_id)

    def put_artifact(self, artifact: Artifact) -> None:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        self._objects.put_artifact(artifact)

    def delete_artifacts(
        self, *, artifact_id: str | None = None, key: str | None = None, limit: int
    ) -> int:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        self.flush()
        return self._objects.delete_artifacts(artifact_id=artifact_id, key=key, limit=limit)

    def variable(self, name: str) -> Variable | None:
        """See app.ports.UnitOfWork."""
        return self._objects.variable(name)

    def put_variable(self, variable: Variable) -> None:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        self._objects.put_variable(variable)

    def delete_variable(self, name: str) -> bool:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        return self._objects.delete_variable(name)

    # Sessions

    def session(self, session_id: str) -> Session | None:
        """See app.ports.UnitOfWork."""
        session = self._sessions.get(session_id)
        if session is None:
            statement = select(tables.session).where(tables.session.c.id == session_id)
            row = self._connection.execute(statement).first()
            if row is not None:
                session = self._sessions[session_id] = session_of(row)
        return session

    def preload_sessions(self, session_ids: Iterable[str | None]) -> None:
        """Load the sessions that are not in memory, in few statements. A single one can wait."""
        missing = [each for each in dict.fromkeys(session_ids) if each not in self._sessions]
        wanted = [each for each in missing if each is not None]
        if len(wanted) < 2:
            return
        for chunk in chunks(wanted, LOOK_UP_CHUNK):
            statement = select(tables.session).where(tables.session.c.id.in_(chunk))
            for row in self._connection.execute(statement):
                session = session_of(row)
                self._sessions[session.id] = session

    def save_session(self, session: Session) -> None:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        self._sessions[session.id] = self._changed_sessions[session.id] = session

    def stored_signs(self) -> list[StoredSign]:
        """See app.ports.UnitOfWork."""
        self.flush()
        return [StoredSign(*row) for row in self._connection.execute(_SIGNS)]

    def delete_sessions(self, session_ids: Sequence[str], *, ended_before_us: int) -> int:
        """See app.ports.UnitOfWork."""
        self.flush()
        columns = tables.session.c
        open_runs = select(tables.run.c.id).where(
            tables.run.c.session_id == columns.id, tables.IS_OPEN
        )
        ended = (
            select(columns.id)
            .where(columns.id.in_(session_ids))
            .where(columns.status != SessionStatus.OPEN)
            .where(columns.lease_expires_us < ended_before_us)
            .where(~open_runs.exists())
        )
        ids = list(self._connection.scalars(ended))
        if ids:
            self.changes += 1
            self._connection.execute(delete(tables.session).where(columns.id.in_(ids)))
        for session_id in ids:
            self._sessions.pop(session_id, None)
        return len(ids)

    # Commands

    def add_command(self, command: Command) -> None:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        self._commands.add(command)

    def finish_commands(self, run_id: str) -> None:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        self._commands.finish(run_id)

    def move_commands(self, run_id: str, session_id: str) -> None:
        """See app.ports.UnitOfWork."""
        self.changes += 1
        self._commands.move(run_id, session_id)

    # The end

    def flush(self) -> None:
        """Writes what is held in memory, so that queries see it."""
        if self._logs:
            self.preload({entry.run_id for entry in self._logs})
        with self._dialect.together(self._connection, row_count=self._row_count()):
            self._write()

    def finish(self) -> Head:
        """Flushes, and brings the table `head` up to date. Returns what it now says."""
        if self._logs:
            self.preload({entry.run_id for entry in self._logs})
        with self._dialect.together(self._connection, row_count=self._row_count()):
            self._write()
            head = Head(
                self._position,
                self._log_position,
                self._head.generation + 1,
                max(self._head.latest_us, self.now_us),
            )
            self._connection.execute(update(tables.head).values(head._asdict()))
        return head

    def _row_count(self) -> int:
        """How many rows are to be written; a long log record counts as many."""
        transitions = len(self._transitions) // len(tables.transition.c)
        logs = len(self._logs)
        if logs:
            logs += sum(len(entry.message) for entry in self._logs) // CHARACTERS_PER_ROW
        runs = len(self._new) + len(self._changed)
        return transitions + runs + logs + self._objects.row_count + self._commands.row_count

    def _write(self) -> None:
        dialect, connection, null = self._dialect, self._connection, self._dialect.null
        if self._new:
            runs = list(self._new.values())
            dialect.insert(connection, tables.run, flat(run_row(run, null) for run in runs))
            tags = flat(
                (tag, +run.kind, to_bytes(run.id))
                for run in runs
                if run.tags
                for tag in set(run.tags)
            )
            if tags:
                dialect.insert(connection, tables.run_tag, tags)
            self._written |= self._new
            self._new.clear()
        if self._changed:
            changes = flat(change_row(run, null) for run in self._changed.values())
            dialect.update_runs(connection, changes)
            self._written |= self._changed
            self._changed.clear()
        if self._transitions:
            dialect.insert(connection, tables.transition, self._transitions)
            self._transitions.clear()
        if self._logs:
            self._insert_logs()
        if self._objects.row_count:
            self._objects.write()
        if self._commands.row_count:
            self._commands.write()
        if self._changed_sessions:
            upsert_sessions(connection, self._changed_sessions.values())
            self._changed_sessions.clear()
        if self._flows:
            upsert_flows(
                connection,
                [Flow(flow_id(name), name, *times) for name, times in self._flows.items()],
            )
            self._flows.clear()

    def changed_roots(self) -> set[str]:
        """The roots of the trees of which anything changed; after `finish`."""
        return {run.root_run_id for run in self._written.values()} | self._other_roots

    def ended_runs(self) -> list[Run]:
        """The runs that entered a terminal state, and are in one; after `finish`."""
        before = self._head.position
        return [
            run
            for run in self._written.values()
            if run.position > before and run.state.type in TERMINAL_TYPES
        ]

    def _insert_logs(self) -> None:
        # Messages may be large and drivers copy them: no statement takes too many at once.
        values: list[Any] = []
        size = 0
        for entry in self._logs:
            values += self._log_row(entry)
            size += len(entry.message)
            if size > LOG_STATEMENT_CHARACTERS:
                self._dialect.insert(self._connection, tables.log, values)
                values, size = [], 0
        self._dialect.insert(self._connection, tables.log, values)
        self._logs.clear()

    def _log_row(self, entry: LogEntry) -> tuple[Any, ...]:
        run = self.run(entry.run_id)
        root_run_id = run.root_run_id if run is not None else entry.run_id
        self._other_roots.add(root_run_id)
        self._log_position += 1
        entry.position = self._log_position
        return (
            to_bytes(root_run_id),
            entry.position,
            to_bytes(entry.run_id),
            entry.attempt,
            entry.level,
            entry.chunk_index,
            entry.chunk_count,
            entry.time_us,
            entry.logger,
            entry.trace_id,
            entry.span_id,
            entry.message,
        )


def flat(rows: Iterable[Iterable[Any]]) -> list[Any]:
    """The values of the rows, one after the other."""
    return list(chain.from_iterable(rows))
