"""The time of the latest commit, to detect a clock that is behind it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    op.add_column(
        "head", sa.Column("latest_us", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.execute(
        "UPDATE head SET latest_us = COALESCE((SELECT commit_us FROM transition"
        " ORDER BY position DESC LIMIT 1), 0)"
    )


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_column("head", "latest_us")
