"""The clocks of clients, and the resources of clients whose spans the service exports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowspan_service.stores.ids import Id

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    op.add_column("run", sa.Column("clock_shift_us", sa.BigInteger()))
    op.add_column("session", sa.Column("clock_offset_us", sa.BigInteger()))
    op.add_column("session", sa.Column("spans_by_service", sa.Boolean()))
    op.create_table(
        "session_resource",
        sa.Column("session_id", Id(), primary_key=True),
        sa.Column("attributes", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_table("session_resource")
    op.drop_column("session", "spans_by_service")
    op.drop_column("session", "clock_offset_us")
    op.drop_column("run", "clock_shift_us")
