"""Runs and their transitions in a unit of work, buffered until they are written in few statements.

Changes of one run are coalesced: its row is written once, in its last state, its history in full.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, text, update

from flowspan_service.app.ports.pages import Page
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import ROLLED_BACK, TERMINAL_TYPES
from flowspan_service.stores.engine.bounds import bounded, tag_bytes, text_bytes, unchanged_bytes
from flowspan_service.stores.engine.bulk import chunks, flat
from flowspan_service.stores.engine.commit_times import CommitTimes
from flowspan_service.stores.engine.transaction import Buffered
from flowspan_service.stores.ids import to_bytes
from flowspan_service.stores.runs import (
    IS_OPEN,
    RUN_BYTES,
    SELECTED,
    change_row,
    run_bytes,
    run_of,
    run_row,
    run_tag,
)
from flowspan_service.stores.runs import run as run_table
from flowspan_service.stores.transitions import transition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from flowspan_service.domain.runs import Run, RunDetails
    from flowspan_service.stores.engine.transaction import Transaction
    from flowspan_service.stores.flows import FlowWrites
    from flowspan_service.stores.labels import LabelWrites

LOAD_CHUNK = 256
"""Runs loaded together; the strings of each have at most 48 KiB."""
ROWS_BUFFERED = 64
_PAYLOADS = (
    *(run_table.c.parameters, run_table.c.inputs),
    *(run_table.c.state_result, run_table.c.state_failure),
)
_KEEP_DEFINITION = text(
    "INSERT INTO definition (key, data) VALUES (:key, :data) ON CONFLICT (key) DO NOTHING"
)
_TRANSITION_WIDTH = len(transition.c)
_FLOW = int(RunKind.FLOW)  # for `add`: reading an enum member from its class takes time


_HAND_OVER = (
    update(run_table)
    .where(run_table.c.id == bindparam("of_run"))
    .values(
        clock_shift_us=bindparam("clock_shift_us"),
        exported_by_service=bindparam("exported_by_service"),
    )
)
"""Apart from the other changes: these columns change only when another session takes over a run."""


class RunWrites(Buffered):
    """Implementation of app.ports.runs.RunWrites."""

    def __init__(self, tx: Transaction, flows: FlowWrites, labels: LabelWrites) -> None:
        self._tx = tx
        self._flows = flows
        self._labels = labels
        self._null = tx.null
        self._whole_rows = tx.dialect.writes_whole_rows
        self._cache = tx.cache
        self._runs = tx.cache.runs
        self.absent: set[str] = set()
        """Runs that are known not to exist."""
        self._new: dict[str, Run] = {}
        self._definitions: dict[bytes, bytes] = {}
        """The definitions of new runs. No memory of what is stored: databases are restored."""
        self._changed: dict[str, Run] = {}
        self._written: dict[str, Run] = {}
        self._handed_over: dict[str, Run] = {}
        self.rolled_back: set[str] = set()
        """Runs that were rolled back, and had ended in an earlier transaction."""
        self._transitions: list[Any] = []
        self._commit_times: CommitTimes | None = None
        """None as long as the clock is not behind the last commit."""
        if tx.now_us < tx.head.latest_us:
            self._commit_times = CommitTimes(tx.connection, tx.now_us)

    def preload(self, run_ids: Iterable[str]) -> None:
        """Load the runs that are not in memory, in few statements, unless they are large."""
        if self._commit_times is not None:
            run_ids = list(run_ids)
            self._load(run_ids)
            self._commit_times.prepare(
                self._runs[run_id] for run_id in run_ids if run_id in self._runs
            )
        else:
            self._load(run_ids)

    def _load(self, run_ids: Iterable[str]) -> None:
        runs, absent = self._runs, self.absent
        unknown = [run_id for run_id in dict.fromkeys(run_ids) if run_id not in runs]
        if unknown and self._cache.doubted:
            self._cache.confirm(
                unknown, partial(self._tx.dialect.run_versions, self._tx.connection)
            )
            unknown = [run_id for run_id in unknown if run_id not in runs]
        if not unknown:
            return
        newest_id = self._newest_id()
        # Most of the requested runs are about to be created, with ascending ids.
        wanted = [run_id for run_id in unknown if run_id <= newest_id and run_id not in absent]
        absent.update(unknown)
        if wanted:
            wanted, later = self._fitting(wanted)
            absent.difference_update(later)
            for chunk in chunks(wanted, LOAD_CHUNK):
                if len(wanted) > 1 and not self._tx.budget.has_room:
                    absent.difference_update(chunk)
                    continue
                for run in self._tx.dialect.load_runs(self._tx.connection, chunk):
                    runs[run.id] = run
                    absent.discard(run.id)
                    self._cache.payload_bytes += run_bytes(run)
                    self._tx.budget.take(text_bytes(run.state.message) + tag_bytes(run.tags))

    def _newest_id(self) -> str:
        if self._cache.newest_id is None:
            statement = select(run_table.c.id).order_by(run_table.c.id.desc()).limit(1)
            self._cache.newest_id = self._tx.connection.execute(statement).scalar() or ""
        return self._cache.newest_id

    def get(self, run_id: str) -> Run | None:
        """Return the run, or None. Cheap for ids that the operation named in `run_ids`."""
        run = self._runs.get(run_id)
        if run is None and run_id not in self.absent:
            self.preload((run_id,))
            run = self._runs.get(run_id)
            if run is not None:
                self._tx.budget.touch_late(run_bytes(run))
        return run

    def add(self, run: Run) -> None:
        """Store a new run, with its labels and its first transition (run.state, ordinal 1)."""
        self._tx.changes += 1
        run_id = run.id
        self._runs[run_id] = self._new[run_id] = run
        if run_id > self._newest_id():
            self._cache.newest_id = run_id
        if run.kind == _FLOW:
            self._flows.note_run(run)
        if run.parameters is not None:
            self._cache.payload_bytes += len(run.parameters.data)
        if run.details is not None:
            self._note_details(run_id, run.details)
        run.position = 0
        self._record(run)

    def _note_details(self, run_id: str, details: RunDetails) -> None:
        if details.definition is not None:
            self._definitions[details.definition.key] = details.definition.data
        if details.inputs is not None:
            self._cache.payload_bytes += len(details.inputs)
        if details.labels:
            self._labels.note_new(run_id, details.labels)

    def add_transition(self, run: Run) -> None:
        """Store the transition to the run's new state, and the changed run."""
        self.update(run)
        self._record(run)

    def update(self, run: Run) -> None:
        """Store a run that changed without a transition (session_id)."""
        self._tx.changes += 1
        run_id = run.id
        self._runs[run_id] = run
        if run_id in self._new:
            self._new[run_id] = run
            return
        if (
            self._whole_rows
            and run_id not in self._changed
            and (run.parameters or run.tags or run.details)
        ):
            self._tx.budget.touch(unchanged_bytes(run))
        self._changed[run_id] = run

    def _record(self, run: Run) -> None:
        """Buffer the run's last transition, and link it with the one before."""
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
        tx = self._tx
        tx.position = position = tx.position + 1
        if state.name == ROLLED_BACK and 0 < run.position <= tx.head.position:
            self.rolled_back.add(run.id)
        commit_us = tx.now_us
        if self._commit_times is not None:
            commit_us = self._commit_times.next(run, position)
        # One flat list: millions of tuples would keep the garbage collector busy.
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

    def open_of(self, session_id: str, *, limit: int, limit_bytes: int) -> Page[Run]:
        """Return some open runs of a session, the deepest first (by id, descending)."""
        self._tx.flush()
        statement = (
            select(*SELECTED)
            .where(run_table.c.session_id == session_id, IS_OPEN)
            .order_by(run_table.c.id.desc())
            .limit(limit + 1)
        )
        # Rows come a few at a time, so that a page of large runs is not loaded whole.
        options = {"yield_per": ROWS_BUFFERED}
        with self._tx.connection.execute(statement, execution_options=options) as rows:
            page = bounded(map(run_of, rows), run_bytes, limit, limit_bytes)
        # After the flush the records in memory are the same, and other callers hold them.
        runs = [self._runs.setdefault(run.id, run) for run in page.items]
        return Page(runs, has_more=page.has_more)

    def hand_over(self, run: Run) -> None:
        """Store the clock and the exporter of a run; `update` or `add_transition` does the rest."""
        self._handed_over[run.id] = run

    def _fitting(self, run_ids: list[str]) -> tuple[list[str], list[str]]:
        return self._tx.budget.fitting(
            self._tx.connection, run_table, run_ids, payloads=_PAYLOADS, row_bytes=RUN_BYTES
        )

    def is_below(self, run: Run, run_ids: Collection[str]) -> bool:
        """Return True if the run or an ancestor is among these."""
        if run.root_run_id in run_ids:
            return True
        seen: set[str] = set()
        ancestor: Run | None = run
        while ancestor is not None and ancestor.id not in seen:
            if ancestor.id in run_ids:
                return True
            seen.add(ancestor.id)
            ancestor = self.get(ancestor.parent_run_id) if ancestor.parent_run_id else None
        return False

    def place(self, run_ids: Iterable[str], root_run_id: str, flow_run_id: str | None) -> None:
        """Set the root and the flow run of runs in memory, whose rows were just changed."""
        for run_id in run_ids:
            run = self._runs.get(run_id)
            if run is not None:
                run.root_run_id, run.flow_run_id = root_run_id, flow_run_id

    def forget(self, run_id: str) -> None:
        """Forget a run that was just deleted."""
        self._runs.pop(run_id, None)
        self._written.pop(run_id, None)
        self._handed_over.pop(run_id, None)
        self.absent.add(run_id)

    @property
    def row_count(self) -> int:
        """The number of buffered rows."""
        transitions = len(self._transitions) // _TRANSITION_WIDTH
        return transitions + len(self._new) + len(self._changed)

    def write(self) -> None:
        """Write the buffered rows."""
        tx, null = self._tx, self._null
        dialect, connection = tx.dialect, tx.connection
        if self._definitions:
            rows = [{"key": key, "data": data} for key, data in self._definitions.items()]
            connection.execute(_KEEP_DEFINITION, rows)
            self._definitions.clear()
        if self._new:
            runs = list(self._new.values())
            dialect.insert(connection, run_table, flat(run_row(run, null) for run in runs))
            tags = flat(
                (tag, +run.kind, to_bytes(run.id))
                for run in runs
                if run.tags
                for tag in set(run.tags)
            )
            if tags:
                dialect.insert(connection, run_tag, tags)
            self._written |= self._new
            self._new.clear()
        if self._changed:
            changes = flat(change_row(run, null) for run in self._changed.values())
            dialect.update_runs(connection, changes)
            self._written |= self._changed
            self._changed.clear()
        if self._handed_over:
            connection.execute(
                _HAND_OVER, [_handed_over(run) for run in self._handed_over.values()]
            )
            self._handed_over.clear()
        if self._transitions:
            dialect.insert(connection, transition, self._transitions)
            self._transitions.clear()

    def roots(self) -> set[str]:
        """Return the roots of the trees whose runs were written."""
        return {run.root_run_id for run in self._written.values()}

    def ended(self) -> list[Run]:
        """Return the runs that entered a terminal state and are in one, after the last write."""
        before = self._tx.head.position
        return [
            run
            for run in self._written.values()
            if run.position > before and run.state.type in TERMINAL_TYPES
        ]


def _handed_over(run: Run) -> dict[str, Any]:
    trace = run.trace
    return {
        "of_run": run.id,
        "clock_shift_us": run.clock_shift_us,
        "exported_by_service": None if trace is None else trace.exported_by_service,
    }
