"""The identity of the database."""

from __future__ import annotations

import secrets
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

from flowspan_service.stores.ids import Id

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    table = op.create_table(
        "identity",
        sa.Column("id", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("database_id", Id(), nullable=False),
        sa.Column("token_key", sa.LargeBinary(), nullable=False),
    )
    row = {"id": 1, "database_id": str(uuid4()), "token_key": secrets.token_bytes(32)}
    op.bulk_insert(table, [row])


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_table("identity")
