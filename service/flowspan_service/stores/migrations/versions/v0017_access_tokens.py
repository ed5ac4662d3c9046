"""Access tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowspan_service.stores.ids import Id
from flowspan_service.stores.schema import NAME

revision = "0017"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    op.create_table(
        "access_token",
        sa.Column("id", Id(), primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("scopes", sa.SmallInteger(), nullable=False),
        sa.Column("lookup", NAME, nullable=False, unique=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger()),
        sa.Column("used_us", sa.BigInteger()),
        sa.Column("revoked_us", sa.BigInteger()),
        sa.Column("max_calls_per_second", sa.Float(), nullable=False),
        sa.Column("max_request_bytes", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_table("access_token")
