"""Sessions: table, row mapping, reads, and writes in a unit of work."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    bindparam,
    delete,
    false,
    select,
    text,
)

from flowspan_service.domain.leases import StoredSign
from flowspan_service.domain.sessions import (
    OtlpTarget,
    Session,
    SessionStatus,
    SpanSource,
    end_of,
)
from flowspan_service.stores.engine.bulk import IDS_PER_STATEMENT, chunks
from flowspan_service.stores.engine.transaction import Buffered
from flowspan_service.stores.ids import Id
from flowspan_service.stores.runs import IS_OPEN, run
from flowspan_service.stores.schema import metadata
from flowspan_service.stores.verdicts import verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Select

    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction

_OPEN = int(SessionStatus.OPEN)
IS_OPEN_SESSION = text("status = 1")
"""The predicate of the partial index. A query repeats it to use the index."""

session = Table(
    "session",
    metadata,
    Column("id", Id, primary_key=True),
    Column("status", SmallInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("lease_us", BigInteger, nullable=False),
    Column("lease_expires_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("client", Text, nullable=False),
    Column("renewals", BigInteger, nullable=False, server_default="0"),
    Column("silence_us", BigInteger, nullable=False, server_default="0"),
    Column("secret_hash", LargeBinary),
    Column("has_fences", Boolean, nullable=False, server_default=false()),
    Column("clock_offset_us", BigInteger),
    Column("spans_by_service", Boolean),
    sqlite_with_rowid=False,
)
Index(
    "session_open",
    session.c.id,
    sqlite_where=IS_OPEN_SESSION,
)

session_resource = Table(
    "session_resource",
    metadata,
    Column("session_id", Id, primary_key=True),
    Column("attributes", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""The OpenTelemetry resources of the clients, as JSON. They are apart from the sessions, because
the row of a session is written with each batch.
"""

session_otlp_target = Table(
    "session_otlp_target",
    metadata,
    Column("session_id", Id, primary_key=True),
    Column("protocol", Text, nullable=False),
    Column("traces_url", Text, nullable=False),
    Column("logs_url", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""The receivers of the clients' own spans and logs, apart from the sessions for the same reason.
Sessions of clients that named none have no row.
"""

session_table = session
"""The same table, for functions with a session in a variable."""

_UPSERT = text(
    "INSERT INTO session"
    " (id, status, last_sequence, lease_us, lease_expires_us, created_us, client, renewals,"
    " silence_us, secret_hash, has_fences, clock_offset_us, spans_by_service)"
    " VALUES (:id, :status, :last_sequence, :lease_us, :lease_expires_us, :created_us, :client,"
    " :renewals, :silence_us, :secret_hash, :has_fences, :clock_offset_us,"
    " :spans_by_service)"
    " ON CONFLICT (id) DO UPDATE SET status = excluded.status,"
    " last_sequence = excluded.last_sequence, lease_us = excluded.lease_us,"
    " lease_expires_us = excluded.lease_expires_us, client = excluded.client,"
    " renewals = excluded.renewals, silence_us = excluded.silence_us,"
    " has_fences = excluded.has_fences,"
    " clock_offset_us = excluded.clock_offset_us, spans_by_service = excluded.spans_by_service"
).bindparams(bindparam("id", type_=Id))

_UPSERT_RESOURCE = text(
    "INSERT INTO session_resource (session_id, attributes) VALUES (:session_id, :attributes)"
    " ON CONFLICT (session_id) DO UPDATE SET attributes = excluded.attributes"
).bindparams(bindparam("session_id", type_=Id))

_UPSERT_TARGET = text(
    "INSERT INTO session_otlp_target (session_id, protocol, traces_url, logs_url)"
    " VALUES (:session_id, :protocol, :traces_url, :logs_url)"
    " ON CONFLICT (session_id) DO UPDATE SET protocol = excluded.protocol,"
    " traces_url = excluded.traces_url, logs_url = excluded.logs_url"
).bindparams(bindparam("session_id", type_=Id))

_SOURCES = (
    select(
        session.c.id,
        session.c.client,
        session.c.status,
        session.c.lease_expires_us,
        session_resource.c.attributes,
        session_otlp_target,
    )
    .join(session_resource, session_resource.c.session_id == session.c.id, isouter=True)
    .join(session_otlp_target, session_otlp_target.c.session_id == session.c.id, isouter=True)
)

_SIGNS = select(
    session.c.id,
    session.c.renewals,
    session.c.lease_us,
    session.c.silence_us,
    session.c.lease_expires_us,
).where(IS_OPEN_SESSION)


def session_values(session: Session) -> dict[str, Any]:
    """Return the columns of a row of `session`, with the id as text."""
    return {
        "id": session.id,
        "status": session.status,
        "last_sequence": session.last_sequence,
        "lease_us": session.lease_us,
        "lease_expires_us": session.lease_expires_us,
        "created_us": session.created_us,
        "client": json.dumps(session.client, ensure_ascii=False),
        "renewals": session.renewals,
        "silence_us": session.silence_us,
        "secret_hash": session.secret_hash,
        "has_fences": session.has_fences,
        "clock_offset_us": session.clock_offset_us,
        "spans_by_service": session.spans_by_service,
    }


def session_of(row: Sequence[Any]) -> Session:
    """Return the session in a row of `session` with ids as text."""
    (
        session_id, status, last_sequence, lease_us, lease_expires_us, created_us, client,
        renewals, silence_us, secret_hash, has_fences,
        clock_offset_us, spans_by_service,
    ) = row  # fmt: skip
    return Session(
        id=session_id,
        status=status,
        last_sequence=last_sequence,
        lease_us=lease_us,
        lease_expires_us=lease_expires_us,
        created_us=created_us,
        client=json.loads(client),
        renewals=renewals,
        silence_us=silence_us,
        secret_hash=secret_hash,
        has_fences=bool(has_fences),
        clock_offset_us=clock_offset_us,
        spans_by_service=bool(spans_by_service),
    )


def _ended_with_open_runs() -> Select[tuple[str]]:
    """Return the sessions that ended with open runs: one step along the index for each session.

    The type of a recursive CTE is Any because mypy fails over it.
    """
    # PostgreSQL has min() for UUIDs since version 18 only.
    next_id = select(run.c.session_id).where(IS_OPEN).order_by(run.c.session_id).limit(1)
    first = next_id.where(run.c.session_id.is_not(None)).scalar_subquery()
    found: Any = select(first.label("id")).cte("reporting", recursive=True)
    following = next_id.where(run.c.session_id > found.c.id).scalar_subquery()
    every = found.union_all(select(following).where(found.c.id.is_not(None)))
    ended = session.c.status != SessionStatus.OPEN
    return select(session.c.id).join(every, every.c.id == session.c.id).where(ended)


_ENDED_WITH_OPEN_RUNS = _ended_with_open_runs()


class SessionReads:
    """Implementation of app.ports.sessions.SessionReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def get(self, session_id: str) -> Session | None:
        """Return the session, or None."""
        with self._reading.connection() as connection:
            row = connection.execute(select(session).where(session.c.id == session_id)).first()
        return None if row is None else session_of(row)

    def ended(self, session_ids: Sequence[str]) -> list[str]:
        """Return the sessions among these that are LOST or CLOSED, or do not exist."""
        is_open = session.c.status == SessionStatus.OPEN
        with self._reading.connection() as connection:
            found = {
                session_id
                for chunk in chunks(session_ids, IDS_PER_STATEMENT)
                for session_id in connection.scalars(
                    select(session.c.id).where(session.c.id.in_(chunk), is_open)
                )
            }
        return [session_id for session_id in session_ids if session_id not in found]

    def ended_with_open_runs(self) -> list[str]:
        """Return the sessions that are LOST or CLOSED and have open runs."""
        with self._reading.connection() as connection:
            return list(connection.scalars(_ENDED_WITH_OPEN_RUNS))

    def ended_before(self, ended_before_us: int, *, after_id: str | None, limit: int) -> list[str]:
        """Return sessions that ended before a time, by id, after an id."""
        statement = (
            select(session.c.id)
            .where(session.c.status != SessionStatus.OPEN)
            .where(session.c.lease_expires_us < ended_before_us)
            .order_by(session.c.id)
            .limit(limit)
        )
        if after_id is not None:
            statement = statement.where(session.c.id > after_id)
        with self._reading.connection() as connection:
            return list(connection.scalars(statement))

    def span_sources(self, session_ids: Iterable[str]) -> dict[str, SpanSource]:
        """Return what the export of spans needs, by session; missing sessions are left out."""
        found: dict[str, SpanSource] = {}
        with self._reading.connection() as connection:
            for chunk in chunks(sorted(set(session_ids)), IDS_PER_STATEMENT):
                for row in connection.execute(_SOURCES.where(session.c.id.in_(chunk))):
                    found[row.id] = _source_of(row)
        return found


def _source_of(row: Any) -> SpanSource:
    client, attributes = json.loads(row.client), row.attributes
    resource = json.loads(attributes) if attributes else {}
    target = None
    if row.protocol is not None:
        target = OtlpTarget(row.protocol, row.traces_url, row.logs_url)
    end = end_of(row.status, row.lease_expires_us, client)
    return SpanSource(client.get("name", ""), resource, target, end)


class SessionWrites(Buffered):
    """Implementation of app.ports.sessions.SessionWrites."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._sessions = tx.cache.sessions
        self._changed_sessions: dict[str, Session] = {}
        self._resources = tx.cache.resources
        self._changed_resources: dict[str, str] = {}
        self._targets = tx.cache.targets
        self._changed_targets: dict[str, OtlpTarget | None] = {}

    def preload(self, session_ids: Iterable[str | None]) -> None:
        """Load the sessions that are not in memory, in few statements. A single one can wait."""
        missing = [each for each in dict.fromkeys(session_ids) if each not in self._sessions]
        wanted = [each for each in missing if each is not None]
        if len(wanted) < 2:
            return
        for chunk in chunks(wanted, IDS_PER_STATEMENT):
            statement = select(session_table).where(session_table.c.id.in_(chunk))
            for row in self._tx.connection.execute(statement):
                session = session_of(row)
                self._sessions[session.id] = session

    def get(self, session_id: str) -> Session | None:
        """Return the session, or None."""
        found = self._sessions.get(session_id)
        if found is None:
            statement = select(session_table).where(session_table.c.id == session_id)
            row = self._tx.connection.execute(statement).first()
            if row is not None:
                found = self._sessions[session_id] = session_of(row)
        return found

    def save(self, session: Session) -> None:
        """Store a new or changed session."""
        self._tx.changes += 1
        self._sessions[session.id] = self._changed_sessions[session.id] = session
        if session.status != _OPEN:
            self._tx.news_of.add(session.id)

    def save_resource(self, session_id: str, resource: Mapping[str, str]) -> None:
        """Store the OpenTelemetry resource of a session's client, unless it is stored already."""
        attributes = json.dumps(dict(sorted(resource.items())), ensure_ascii=False)
        digest = hashlib.sha256(attributes.encode()).digest()
        if self._resources.get(session_id) != digest:
            self._tx.changes += 1
            self._resources[session_id] = digest
            self._changed_resources[session_id] = attributes

    def save_target(self, session_id: str, target: OtlpTarget | None) -> None:
        """Store the receivers of a session's client, in place of the earlier ones."""
        if session_id in self._targets and self._targets[session_id] == target:
            return
        self._tx.changes += 1
        self._targets[session_id] = self._changed_targets[session_id] = target

    def stored_signs(self) -> list[StoredSign]:
        """Return the signs of life of all OPEN sessions, in any order."""
        self._tx.flush()
        return [StoredSign(*row) for row in self._tx.connection.execute(_SIGNS)]

    def delete(self, session_ids: Sequence[str], *, ended_before_us: int) -> int:
        """Delete the sessions among these that ended before a time and have no open run."""
        self._tx.flush()
        columns = session_table.c
        open_runs = select(run.c.id).where(run.c.session_id == columns.id, IS_OPEN)
        ended = (
            select(columns.id)
            .where(columns.id.in_(session_ids))
            .where(columns.status != SessionStatus.OPEN)
            .where(columns.lease_expires_us < ended_before_us)
            .where(~open_runs.exists())
        )
        ids = list(self._tx.connection.scalars(ended))
        if ids:
            self._tx.changes += 1
            self._tx.connection.execute(delete(session_table).where(columns.id.in_(ids)))
            self._tx.connection.execute(delete(verdict).where(verdict.c.session_id.in_(ids)))
            of_them = session_resource.c.session_id.in_(ids)
            self._tx.connection.execute(delete(session_resource).where(of_them))
            of_them = session_otlp_target.c.session_id.in_(ids)
            self._tx.connection.execute(delete(session_otlp_target).where(of_them))
        for session_id in ids:
            self._sessions.pop(session_id, None)
            self._resources.pop(session_id, None)
            self._targets.pop(session_id, None)
        return len(ids)

    @property
    def row_count(self) -> int:
        """The number of buffered rows."""
        apart = len(self._changed_resources) + len(self._changed_targets)
        return len(self._changed_sessions) + apart

    def write(self) -> None:
        """Write the buffered rows."""
        values = [session_values(each) for each in self._changed_sessions.values()]
        if values:
            self._tx.connection.execute(_UPSERT, values)
        self._changed_sessions.clear()
        if self._changed_resources:
            resources = [
                {"session_id": session_id, "attributes": attributes}
                for session_id, attributes in self._changed_resources.items()
            ]
            self._tx.connection.execute(_UPSERT_RESOURCE, resources)
            self._changed_resources.clear()
        if self._changed_targets:
            self._write_targets(self._changed_targets)
            self._changed_targets.clear()

    def _write_targets(self, targets: Mapping[str, OtlpTarget | None]) -> None:
        named = [
            {"session_id": session_id, **target._asdict()}
            for session_id, target in targets.items()
            if target is not None
        ]
        if named:
            self._tx.connection.execute(_UPSERT_TARGET, named)
        for chunk in chunks(
            [session_id for session_id, target in targets.items() if target is None],
            IDS_PER_STATEMENT,
        ):
            of_them = session_otlp_target.c.session_id.in_(chunk)
            self._tx.connection.execute(delete(session_otlp_target).where(of_them))
