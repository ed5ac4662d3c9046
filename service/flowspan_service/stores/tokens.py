"""Access tokens: table, row mapping, reads, and writes in a unit of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    delete,
    insert,
    or_,
    select,
    update,
)

from flowspan_service.domain.tokens import AccessToken, Scope
from flowspan_service.stores.ids import Id
from flowspan_service.stores.schema import NAME, metadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction

access_token = Table(
    "access_token",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", NAME, nullable=False),
    Column("scopes", SmallInteger, nullable=False),
    Column("lookup", NAME, nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("used_us", BigInteger),
    Column("revoked_us", BigInteger),
    Column("max_calls_per_second", Float, nullable=False),
    Column("max_request_bytes", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""Access tokens. `scopes` has the bit 1 << n for the scope n, and `digest` is the secret's hash."""


def token_values(token: AccessToken) -> dict[str, Any]:
    """Return the columns of a row of `access_token`."""
    return {
        "id": token.id,
        "name": token.name,
        "scopes": sum(1 << scope for scope in token.scopes),
        "lookup": token.lookup,
        "digest": token.digest,
        "created_us": token.created_us,
        "expires_us": token.expires_us,
        "used_us": token.used_us,
        "revoked_us": token.revoked_us,
        "max_calls_per_second": token.max_calls_per_second,
        "max_request_bytes": token.max_request_bytes,
    }


def token_of(row: Sequence[Any]) -> AccessToken:
    """Return the token in a row of `access_token`."""
    token_id, name, scopes, lookup, digest, created, expires, used, revoked, calls, size = row
    return AccessToken(
        id=token_id,
        name=name,
        scopes=tuple(scope for scope in Scope if scopes & 1 << scope),
        lookup=lookup,
        digest=bytes(digest),
        created_us=created,
        expires_us=expires,
        used_us=used,
        revoked_us=revoked,
        max_calls_per_second=calls,
        max_request_bytes=size,
    )


def _all(connection: Connection) -> list[AccessToken]:
    rows = connection.execute(select(access_token).order_by(access_token.c.id))
    return [token_of(row) for row in rows]


class TokenReads:
    """Implementation of app.ports.tokens.TokenReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def list(self) -> list[AccessToken]:
        """Return all tokens, also those that have ended, by id."""
        with self._reading.connection() as connection:
            return _all(connection)


class TokenWrites:
    """Implementation of app.ports.tokens.TokenWrites. Nothing is buffered."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def list(self) -> list[AccessToken]:
        """Return all tokens, also those that have ended, by id."""
        return _all(self._tx.connection)

    def add(self, token: AccessToken) -> None:
        """Store a new token."""
        self._tx.changes += 1
        self._tx.connection.execute(insert(access_token), token_values(token))

    def revoke(self, token_id: str, *, revoked_us: int) -> None:
        """Store the revocation of a token."""
        self._change(token_id, revoked_us=revoked_us)

    def note_uses(self, used_us: Mapping[str, int]) -> None:
        """Store times of use, by the ids of tokens. An earlier time changes nothing."""
        column = access_token.c.used_us
        for token_id, time_us in used_us.items():
            self._tx.changes += 1
            self._tx.connection.execute(
                update(access_token)
                .where(access_token.c.id == token_id, or_(column.is_(None), column < time_us))
                .values(used_us=time_us)
            )

    def delete(self, token_id: str) -> None:
        """Delete a token."""
        self._tx.changes += 1
        self._tx.connection.execute(delete(access_token).where(access_token.c.id == token_id))

    def _change(self, token_id: str, **values: Any) -> None:
        self._tx.changes += 1
        statement = update(access_token).where(access_token.c.id == token_id)
        self._tx.connection.execute(statement.values(**values))
