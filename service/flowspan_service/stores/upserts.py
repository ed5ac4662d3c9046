"""Rows that are inserted or, if they are there, brought up to date.

The SQL is the same for both dialects.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, text

from flowspan_service.stores.ids import Id
from flowspan_service.stores.rows import session_values, variable_values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection

    from flowspan_service.domain.flows import Flow
    from flowspan_service.domain.sessions import Session
    from flowspan_service.domain.variables import Variable

_SESSIONS = text(
    "INSERT INTO session"
    " (id, status, last_sequence, lease_us, lease_expires_us, created_us, client, renewals,"
    " silence_us, secret_hash)"
    " VALUES (:id, :status, :last_sequence, :lease_us, :lease_expires_us, :created_us, :client,"
    " :renewals, :silence_us, :secret_hash)"
    " ON CONFLICT (id) DO UPDATE SET status = excluded.status,"
    " last_sequence = excluded.last_sequence, lease_us = excluded.lease_us,"
    " lease_expires_us = excluded.lease_expires_us, client = excluded.client,"
    " renewals = excluded.renewals, silence_us = excluded.silence_us"
).bindparams(bindparam("id", type_=Id))

_FLOWS = text(
    "INSERT INTO flow (id, name, created_us, last_run_us)"
    " VALUES (:id, :name, :created_us, :last_run_us)"
    " ON CONFLICT (id) DO UPDATE SET last_run_us = CASE"
    " WHEN excluded.last_run_us > flow.last_run_us THEN excluded.last_run_us"
    " ELSE flow.last_run_us END"
).bindparams(bindparam("id", type_=Id))

_VARIABLE = text(
    "INSERT INTO variable (name, value_encoding, value, tags, created_us, updated_us)"
    " VALUES (:name, :value_encoding, :value, :tags, :created_us, :updated_us)"
    " ON CONFLICT (name) DO UPDATE SET value_encoding = excluded.value_encoding,"
    " value = excluded.value, tags = excluded.tags, updated_us = excluded.updated_us"
)


def upsert_sessions(connection: Connection, sessions: Iterable[Session]) -> None:
    """Writes sessions."""
    connection.execute(_SESSIONS, [session_values(session) for session in sessions])


def upsert_flows(connection: Connection, flows: Iterable[Flow]) -> None:
    """Writes flows; keeps when each was first seen."""
    connection.execute(_FLOWS, [asdict(flow) for flow in flows])


def upsert_variable(connection: Connection, variable: Variable) -> None:
    """Writes a variable; keeps when it was first set."""
    connection.execute(_VARIABLE, variable_values(variable))
