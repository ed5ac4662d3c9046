"""For replicas: claims of loops, the progress of deletions, and the commits of commands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "loop_claim",
        sa.Column("name", name, primary_key=True),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger()),
        sqlite_with_rowid=False,
    )
    op.add_column(
        "deletion", sa.Column("pieces", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column(
        "command", sa.Column("generation", sa.BigInteger(), nullable=False, server_default="0")
    )


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_column("command", "generation")
    op.drop_column("deletion", "pieces")
    op.drop_table("loop_claim")
