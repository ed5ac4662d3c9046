"""Verdicts of sessions whose ack may be lost: table, reads and writes in a unit of work."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    SmallInteger,
    Table,
    Text,
    bindparam,
    delete,
    select,
    text,
)

from flowspan_service.domain.states import State
from flowspan_service.domain.verdicts import KEPT_EVENTS, KEPT_VERDICTS, Verdict, VerdictKind
from flowspan_service.stores.engine.bulk import IDS_PER_STATEMENT, chunks
from flowspan_service.stores.engine.transaction import Buffered
from flowspan_service.stores.ids import Id
from flowspan_service.stores.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.stores.engine.transaction import Transaction

verdict = Table(
    "verdict",
    metadata,
    Column("session_id", Id, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", Id),
    Column("kind", SmallInteger, nullable=False),
    Column("rule", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", Text),
    sqlite_with_rowid=False,
)
"""The verdicts that were not simply accepted, until their session has ended. `state` is the state
of the run as JSON, without its failure and result; `run_id` is null for artifacts without a run.
"""

_UPSERT = text(
    "INSERT INTO verdict (session_id, sequence, run_id, kind, rule, reason, attempt, state)"
    " VALUES (:session_id, :sequence, :run_id, :kind, :rule, :reason, :attempt, :state)"
    " ON CONFLICT (session_id, sequence) DO UPDATE SET run_id = excluded.run_id,"
    " kind = excluded.kind, rule = excluded.rule, reason = excluded.reason,"
    " attempt = excluded.attempt, state = excluded.state"
).bindparams(bindparam("session_id", type_=Id), bindparam("run_id", type_=Id))

_TRIM = text(
    "DELETE FROM verdict WHERE session_id = :session_id AND (sequence <= :oldest OR sequence <="
    " (SELECT sequence FROM verdict WHERE session_id = :session_id"
    " ORDER BY sequence DESC LIMIT 1 OFFSET :kept))"
).bindparams(bindparam("session_id", type_=Id))


class VerdictWrites(Buffered):
    """Implementation of app.ports.verdicts.VerdictWrites."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._new: dict[str, list[Verdict]] = {}
        self._deleted: dict[str, None] = {}

    @property
    def row_count(self) -> int:
        """The approximate number of buffered rows."""
        return sum(map(len, self._new.values())) + len(self._deleted)

    def add(self, session_id: str, verdicts: Sequence[Verdict]) -> None:
        """Store verdicts on events of a session, ordered by sequence."""
        self._tx.changes += 1
        kept = self._new.setdefault(session_id, [])
        kept += verdicts[-KEPT_VERDICTS:]
        del kept[:-KEPT_VERDICTS]

    def after(self, session_id: str, sequence: int) -> list[Verdict]:
        """Return the kept verdicts on events after a sequence, ordered by sequence."""
        if self._new or self._deleted:
            self._tx.flush()
        statement = (
            select(verdict)
            .where(verdict.c.session_id == session_id, verdict.c.sequence > sequence)
            .order_by(verdict.c.sequence)
        )
        return [_verdict_of(row) for row in self._tx.connection.execute(statement)]

    def delete_of(self, session_ids: Sequence[str]) -> None:
        """Delete all verdicts of these sessions."""
        self._tx.changes += 1
        for session_id in session_ids:
            self._new.pop(session_id, None)
            self._deleted[session_id] = None

    def write(self) -> None:
        """Write the buffered rows, after the deletions."""
        for session_ids in chunks(list(self._deleted), IDS_PER_STATEMENT):
            self._tx.connection.execute(
                delete(verdict).where(verdict.c.session_id.in_(session_ids))
            )
        self._deleted.clear()
        if not self._new:
            return
        rows = [_values(key, each) for key, verdicts in self._new.items() for each in verdicts]
        self._tx.connection.execute(_UPSERT, rows)
        for session_id, verdicts in self._new.items():
            bounds = {"oldest": verdicts[-1].sequence - KEPT_EVENTS, "kept": KEPT_VERDICTS}
            self._tx.connection.execute(_TRIM, {"session_id": session_id, **bounds})
        self._new.clear()


def _values(session_id: str, given: Verdict) -> dict[str, Any]:
    state = given.state
    return {
        "session_id": session_id,
        "sequence": given.sequence,
        "run_id": given.run_id or None,
        "kind": +given.kind,
        "rule": given.rule,
        "reason": given.reason,
        "attempt": given.attempt,
        "state": None
        if state is None
        else json.dumps(
            [state.type, state.name, state.message, state.time_us, state.scheduled_us],
            ensure_ascii=False,
        ),
    }


def _verdict_of(row: Sequence[Any]) -> Verdict:
    _, sequence, run_id, kind, rule, reason, attempt, state = row
    return Verdict(
        VerdictKind(kind),
        run_id or "",
        rule,
        reason,
        state=None if state is None else State(*json.loads(state)),
        attempt=attempt,
        sequence=sequence,
    )
