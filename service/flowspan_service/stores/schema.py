"""The schema that the tables of all nouns share; docs/decisions/store.md gives its reasons.

Ids are UUIDv7, so the order of ids is the order of creation, and each list is a range of an index
that ends in the id. The table of a noun is in the module of the noun and registers with `metadata`.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)

from flowspan_service.stores.ids import Id

MIGRATIONS = Path(__file__).parent / "migrations"
"""The folder of the migrations; `versions/v0001_start.py` has the revision 0001."""
SCHEMA_VERSION = max(file.name[1:5] for file in (MIGRATIONS / "versions").glob("v*.py"))
"""The revision of the last migration."""

metadata = MetaData()

NAME = Text().with_variant(Text(collation="C"), "postgresql")
"""A column of names: both databases compare them byte by byte, independent of the locale."""

head = Table(
    "head",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("log_position", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("latest_us", BigInteger, nullable=False, server_default="0"),
)
"""One row: the last positions given out, a count of the commits, and the latest of their times. A
writer whose memory of `generation` is that of the table has missed nothing.
"""

identity = Table(
    "identity",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("database_id", Id, nullable=False),
    Column("token_key", LargeBinary, nullable=False),
)
"""One row, created with the database: a random id, and the key that signs tokens. A copy of the
database, such as a backup, has the same.
"""
