"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowspan_service.stores.ids import Id

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Names are compared byte by byte in both databases, whatever the locale.
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Migrate to this version."""
    _create_run()
    _create_history()
    _create_rest()
    op.execute("INSERT INTO head (id, position, log_position, generation) VALUES (1, 0, 0, 0)")


def downgrade() -> None:
    """Migrate back to an empty database."""
    for name in ("run", "run_tag", "transition", "log", "session", "flow", "deleted_run", "head"):
        op.drop_table(name)


def _create_run() -> None:
    op.create_table(
        "run",
        sa.Column("id", Id(), primary_key=True),
        sa.Column("parent_run_id", Id()),
        sa.Column("root_run_id", Id(), nullable=False),
        sa.Column("flow_run_id", Id()),
        sa.Column("session_id", Id()),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("state_type", sa.SmallInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("transition_count", sa.Integer(), nullable=False),
        sa.Column("cause", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("run_duration_us", sa.BigInteger(), nullable=False),
        sa.Column("state_time_us", sa.BigInteger(), nullable=False),
        sa.Column("started_us", sa.BigInteger()),
        sa.Column("ended_us", sa.BigInteger()),
        sa.Column("state_scheduled_us", sa.BigInteger()),
        sa.Column("state_name", sa.Text(), nullable=False),
        sa.Column("state_message", sa.Text(), nullable=False),
        sa.Column("state_failure", sa.LargeBinary()),
        sa.Column("state_result", sa.LargeBinary()),
        sa.Column("function_name", NAME, nullable=False),
        sa.Column("run_name", NAME, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text()),
        sa.Column("parameters_encoding", sa.Text()),
        sa.Column("parameters", sa.LargeBinary()),
        sa.Column("traceparent", sa.Text()),
        sa.Column("tracestate", sa.Text()),
        sa.Column("parent_span_id", sa.Text()),
        sa.Column("exported_by_service", sa.Boolean()),
        sqlite_with_rowid=False,
    )
    by_state = ["kind", "state_type", "id"]
    _create_index("run_by_state", by_state)
    _create_index("run_by_function", ["function_name", *by_state])
    _create_index("run_by_parent", ["parent_run_id", *by_state])
    _create_index(
        "run_by_root",
        ["root_run_id", *by_state],
        "root_run_id <> id AND (parent_run_id IS NULL OR parent_run_id <> root_run_id)",
    )
    _create_index(
        "run_by_flow_run",
        ["flow_run_id", *by_state],
        "flow_run_id IS NOT NULL AND (parent_run_id IS NULL OR parent_run_id <> flow_run_id)",
    )
    _create_index("run_top_level", by_state, "parent_run_id IS NULL")
    _create_index("run_open", ["session_id", "id"], "state_type < 6")
    _create_index("run_by_name", ["run_name", "id"], "kind <> 2")
    op.create_table(
        "run_tag",
        sa.Column("tag", NAME, primary_key=True),
        sa.Column("kind", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("run_id", Id(), primary_key=True),
        sqlite_with_rowid=False,
    )


def _create_history() -> None:
    op.create_table(
        "transition",
        sa.Column("position", POSITION, primary_key=True, autoincrement=False),
        sa.Column("previous", sa.BigInteger(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state_type", sa.SmallInteger(), nullable=False),
        sa.Column("cause", sa.SmallInteger(), nullable=False),
        sa.Column("commit_us", sa.BigInteger(), nullable=False),
        sa.Column("time_us", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_us", sa.BigInteger()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("failure", sa.LargeBinary()),
        sa.Column("result", sa.LargeBinary()),
    )
    op.create_table(
        "log",
        sa.Column("root_run_id", Id(), primary_key=True),
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("chunk_index", sa.Integer(), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("time_us", sa.BigInteger(), nullable=False),
        sa.Column("logger", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("span_id", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("log_by_run", "log", ["run_id", "position"])


def _create_rest() -> None:
    op.create_table(
        "session",
        sa.Column("id", Id(), primary_key=True),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("lease_us", sa.BigInteger(), nullable=False),
        sa.Column("lease_expires_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    _create_index("session_by_lease", ["lease_expires_us"], "status = 1", table="session")
    op.create_table(
        "flow",
        sa.Column("id", Id(), primary_key=True),
        sa.Column("name", NAME, nullable=False, unique=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("last_run_us", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "deleted_run",
        sa.Column("id", Id(), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "head",
        sa.Column("id", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("log_position", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
    )


def _create_index(
    name: str, columns: list[str], where: str | None = None, *, table: str = "run"
) -> None:
    predicate = sa.text(where) if where is not None else None
    op.create_index(name, table, columns, sqlite_where=predicate, postgresql_where=predicate)
