"""Secrets that prove that a report comes from the process that began the session."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    op.add_column("session", sa.Column("secret_hash", sa.LargeBinary()))


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_column("session", "secret_hash")
