"""Labels of runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowspan_service.stores.ids import Id
from flowspan_service.stores.schema import NAME

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    op.create_table(
        "label",
        sa.Column("run_id", Id(), primary_key=True),
        sa.Column("key", NAME, primary_key=True),
        sa.Column("value", NAME, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("label_by_key", "label", ["key", "run_id"])
    op.create_index("label_by_value", "label", ["key", "value", "run_id"])


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_table("label")
