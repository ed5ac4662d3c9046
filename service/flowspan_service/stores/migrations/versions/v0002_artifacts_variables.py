"""Artifacts and variables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowspan_service.stores.ids import Id

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Names are compared byte by byte in both databases, whatever the locale.
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Migrate to this version."""
    op.create_table(
        "artifact",
        sa.Column("id", Id(), primary_key=True),
        sa.Column("run_id", Id()),
        sa.Column("flow_run_id", Id()),
        sa.Column("root_run_id", Id()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("key", NAME),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("data_encoding", sa.Text()),
        sa.Column("data", sa.LargeBinary()),
    )
    _create_index("artifact_by_key", ["key", "id"], "key IS NOT NULL")
    _create_index("artifact_by_run", ["run_id", "id"], "run_id IS NOT NULL")
    _create_index("artifact_by_root", ["root_run_id", "id"], "root_run_id IS NOT NULL")
    _create_index("artifact_by_type", ["type", "id"])
    op.create_table(
        "variable",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("value_encoding", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("tags", sa.Text()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_table("variable")
    op.drop_table("artifact")


def _create_index(name: str, columns: list[str], where: str | None = None) -> None:
    predicate = sa.text(where) if where is not None else None
    op.create_index(name, "artifact", columns, sqlite_where=predicate, postgresql_where=predicate)
