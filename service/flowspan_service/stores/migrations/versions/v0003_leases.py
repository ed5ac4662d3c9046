"""Leases are measured by a count of the signs of life instead of a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    for name in ("renewals", "silence_us"):
        op.add_column(
            "session", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        )
    # Its key changed with each sign of life; this one's only when a session begins or ends.
    op.drop_index("session_by_lease", "session")
    _create_index("session_open", "id")


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_index("session_open", "session")
    _create_index("session_by_lease", "lease_expires_us")
    for name in ("silence_us", "renewals"):
        op.drop_column("session", name)


def _create_index(name: str, column: str) -> None:
    predicate = sa.text("status = 1")
    op.create_index(name, "session", [column], sqlite_where=predicate, postgresql_where=predicate)
