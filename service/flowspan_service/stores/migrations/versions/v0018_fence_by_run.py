"""An index of fences by run, to find the refused parent of a run in another process."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate to this version."""
    op.create_index("fence_by_run", "fence", ["run_id"])


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_index("fence_by_run", "fence")
