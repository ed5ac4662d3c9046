"""Details of runs: what their function is, and the runs whose results they took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    op.create_table(
        "definition",
        sa.Column("key", sa.LargeBinary(), primary_key=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.add_column("run", sa.Column("definition_key", sa.LargeBinary()))
    op.add_column("run", sa.Column("inputs", sa.LargeBinary()))


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_column("run", "inputs")
    op.drop_column("run", "definition_key")
    op.drop_table("definition")
