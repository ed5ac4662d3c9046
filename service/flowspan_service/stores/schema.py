"""The tables and their indexes; docs/decisions/store.md says why these.

Ids are UUIDv7, so the order of ids is the order of creation, and each list is a range of an index
that ends in the id. The state's type stands before the id in the indexes that lists use: a list is
one range for each type, merged (see `lists`).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    and_,
    text,
)

from flowspan_service.stores.ids import Id

SCHEMA_VERSION = "0009"
"""The revision of the last migration in `migrations/versions`."""

metadata = MetaData()

NAME = Text().with_variant(Text(collation="C"), "postgresql")
"""Names are compared byte by byte in both databases, whatever the locale."""

run = Table(
    "run",
    metadata,
    Column("id", Id, primary_key=True),
    Column("parent_run_id", Id),
    Column("root_run_id", Id, nullable=False),
    Column("flow_run_id", Id),
    Column("session_id", Id),
    Column("kind", SmallInteger, nullable=False),
    Column("state_type", SmallInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("transition_count", Integer, nullable=False),
    Column("cause", SmallInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("run_duration_us", BigInteger, nullable=False),
    Column("state_time_us", BigInteger, nullable=False),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("state_scheduled_us", BigInteger),
    Column("state_name", Text, nullable=False),
    Column("state_message", Text, nullable=False),
    Column("state_failure", LargeBinary),
    Column("state_result", LargeBinary),
    Column("function_name", NAME, nullable=False),
    Column("run_name", NAME, nullable=False),
    Column("version", Text, nullable=False),
    Column("tags", Text),
    Column("parameters_encoding", Text),
    Column("parameters", LargeBinary),
    Column("traceparent", Text),
    Column("tracestate", Text),
    Column("parent_span_id", Text),
    Column("exported_by_service", Boolean),
)
"""Flow runs and task runs. The five ids come first: `rows` and the dialects count on the order.

With a rowid in SQLite: without one, whoever looks for an id reads whole rows on the way to it, and
a row may hold megabytes.
"""

IS_TOP_LEVEL = text("parent_run_id IS NULL")
IS_BELOW_ROOT = text("root_run_id <> id")
IS_NOT_CHILD_OF_ROOT = text("(parent_run_id IS NULL OR parent_run_id <> root_run_id)")
IS_IN_FLOW_RUN = text("flow_run_id IS NOT NULL")
IS_NOT_CHILD_OF_FLOW_RUN = text("(parent_run_id IS NULL OR parent_run_id <> flow_run_id)")
IS_OPEN = text("state_type < 6")
# Not "kind = 1": for that, SQLite may prefer another index that begins with the kind.
IS_FLOW = text("kind <> 2")
IS_OPEN_SESSION = text("status = 1")
IS_OPEN_COMMAND = text("done_us IS NULL")
"""The predicates of the partial indexes. A query that is to use the index repeats its predicate."""


def _run_index(name: str, *columns: str, where: object = None) -> Index:
    return Index(
        name,
        *(run.c[column] for column in columns),
        sqlite_where=where,
    )


_run_index("run_by_state", "kind", "state_type", "id")
_run_index("run_by_function", "function_name", "kind", "state_type", "id")
_run_index("run_by_parent", "parent_run_id", "kind", "state_type", "id")
# The children of a root are found by their parent, and most runs are children of a root: only the
# others pay for an entry here. Likewise for the tasks whose parent is not their flow run.
_run_index(
    "run_by_root",
    "root_run_id",
    "kind",
    "state_type",
    "id",
    where=and_(IS_BELOW_ROOT, IS_NOT_CHILD_OF_ROOT),
)
_run_index(
    "run_by_flow_run",
    "flow_run_id",
    "kind",
    "state_type",
    "id",
    where=and_(IS_IN_FLOW_RUN, IS_NOT_CHILD_OF_FLOW_RUN),
)
_run_index("run_top_level", "kind", "state_type", "id", where=IS_TOP_LEVEL)
_run_index("run_open", "session_id", "id", where=IS_OPEN)
_run_index("run_by_name", "run_name", "id", where=IS_FLOW)

run_tag = Table(
    "run_tag",
    metadata,
    Column("tag", NAME, primary_key=True),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("run_id", Id, primary_key=True),
    sqlite_with_rowid=False,
)
"""Which runs have a tag; the run's own `tags` keep their order."""

transition = Table(
    "transition",
    metadata,
    Column(
        "position",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("previous", BigInteger, nullable=False),
    Column("run_id", Id, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state_type", SmallInteger, nullable=False),
    Column("cause", SmallInteger, nullable=False),
    Column("commit_us", BigInteger, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("scheduled_us", BigInteger),
    Column("name", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("failure", LargeBinary),
    Column("result", LargeBinary),
)
"""What happened, by the order of the commits. `previous` is the position of the same run's
transition before (0: none); with run.position it makes a history a chain that needs no index.
"""

log = Table(
    "log",
    metadata,
    Column("root_run_id", Id, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", Id, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("level", Integer, nullable=False),
    Column("chunk_index", Integer, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("logger", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("span_id", Text, nullable=False),
    Column("message", Text, nullable=False),
    Index("log_by_run", "run_id", "position"),
    sqlite_with_rowid=False,
)
"""Log records, those of one tree together: what a whole tree logged is one range."""

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
    sqlite_with_rowid=False,
)
Index(
    "session_open",
    session.c.id,
    sqlite_where=IS_OPEN_SESSION,
)

command = Table(
    "command",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("session_id", Id, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("done_us", BigInteger),
    sqlite_with_rowid=False,
)
"""What sessions are asked to do. See domain.commands."""
Index(
    "command_open",
    command.c.session_id,
    command.c.run_id,
    command.c.number,
    sqlite_where=IS_OPEN_COMMAND,
)

flow = Table(
    "flow",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("created_us", BigInteger, nullable=False),
    Column("last_run_us", BigInteger, nullable=False),
)

artifact = Table(
    "artifact",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", Id),
    Column("flow_run_id", Id),
    Column("root_run_id", Id),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("type", NAME, nullable=False),
    Column("key", NAME),
    Column("description", Text, nullable=False),
    Column("data_encoding", Text),
    Column("data", LargeBinary),
)
"""What runs show to people. The latest of a key is the one with the greatest id."""

HAS_KEY = text("key IS NOT NULL")
HAS_RUN = text("run_id IS NOT NULL")
HAS_ROOT = text("root_run_id IS NOT NULL")


def _artifact_index(name: str, *columns: str, where: object = None) -> Index:
    return Index(
        name,
        *(artifact.c[column] for column in columns),
        sqlite_where=where,
    )


_artifact_index("artifact_by_key", "key", "id", where=HAS_KEY)
_artifact_index("artifact_by_run", "run_id", "id", where=HAS_RUN)
_artifact_index("artifact_by_root", "root_run_id", "id", where=HAS_ROOT)
_artifact_index("artifact_by_type", "type", "id")

variable = Table(
    "variable",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("value_encoding", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("tags", Text),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)
"""Named values that flows and people share."""

deleted_run = Table(
    "deleted_run",
    metadata,
    Column("id", Id, primary_key=True),
    sqlite_with_rowid=False,
)
"""Runs that were deleted before they had ended: their processes are told to stop."""

deletion = Table(
    "deletion",
    metadata,
    Column("run_id", Id, primary_key=True),
    Column("root_run_id", Id, nullable=False),
    Column("begun_us", BigInteger, nullable=False),
    Column("history_position", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Trees whose deletion was begun and takes several transactions: whichever service process finds
one finishes it. `history_position` is the newest remaining transition of a run that is gone
already, for a history too long for one transaction (0: none).
"""

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
"""One row, made with the database: a random id, and the key that signs tokens. A copy of the
database, such as a backup, has the same.
"""
