"""Verdicts of sessions whose ack may be lost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowspan_service.stores.ids import Id

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    op.create_table(
        "verdict",
        sa.Column("session_id", Id(), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("run_id", Id()),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text()),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_table("verdict")
