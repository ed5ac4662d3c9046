"""Commands are rows of their sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flowspan_service.stores.ids import Id

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_CANCELLING = 5
_CANCEL_RUN = 1


def upgrade() -> None:
    """Migrate to this version."""
    op.create_table(
        "command",
        sa.Column("run_id", Id(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("session_id", Id(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("done_us", sa.BigInteger()),
        sqlite_with_rowid=False,
    )
    predicate = sa.text("done_us IS NULL")
    op.create_index(
        "command_open",
        "command",
        ["session_id", "run_id", "number"],
        sqlite_where=predicate,
        postgresql_where=predicate,
    )
    # Until now, a command existed only as a run that is CANCELLING.
    op.execute(
        "INSERT INTO command (run_id, number, session_id, kind, reason, created_us)"  # noqa: S608 - constants
        f" SELECT id, transition_count, session_id, {_CANCEL_RUN}, state_message, state_time_us"
        f" FROM run WHERE state_type = {_CANCELLING} AND session_id IS NOT NULL"
    )


def downgrade() -> None:
    """Migrate back to the version before."""
    op.drop_table("command")
