"""Runs that wait for their parents, cancellations of trees, and fences of sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowspan_service.stores.ids import Id

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    op.create_table(
        "orphan",
        sa.Column("parent_run_id", Id(), primary_key=True),
        sa.Column("run_id", Id(), primary_key=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("orphan_by_time", "orphan", ["created_us"])
    op.create_table(
        "family_move",
        sa.Column("run_id", Id(), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cancellation",
        sa.Column("run_id", Id(), primary_key=True),
        sa.Column("root_run_id", Id(), nullable=False),
        sa.Column("begun_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("is_walked", sa.Boolean(), nullable=False),
        sa.Column("pieces", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fence",
        sa.Column("session_id", Id(), primary_key=True),
        sa.Column("run_id", Id(), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.add_column(
        "session",
        sa.Column("has_fences", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_column("session", "has_fences")
    op.drop_table("fence")
    op.drop_table("cancellation")
    op.drop_table("family_move")
    op.drop_table("orphan")
