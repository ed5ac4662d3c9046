"""The receivers of the spans and logs of clients, and the last signs of life of crashed runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowspan_service.stores.ids import Id

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    op.create_table(
        "session_otlp_target",
        sa.Column("session_id", Id(), primary_key=True),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("traces_url", sa.Text(), nullable=False),
        sa.Column("logs_url", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "last_sign",
        sa.Column("run_id", Id(), primary_key=True),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_table("last_sign")
    op.drop_table("session_otlp_target")
