"""In SQLite, tables with large rows have rowids: a key is found without reading rows on the way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TABLES = {"run": "id", "variable": "name"}
"""With their keys."""
_CLAUSE = "WITHOUT ROWID"


def upgrade() -> None:
    """Migrate to this version."""
    _make_anew(with_rowids=True)


def downgrade() -> None:
    """Migrate back to the version before."""
    _make_anew(with_rowids=False)


def _make_anew(*, with_rowids: bool) -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    statements = sa.text("SELECT sql FROM sqlite_master WHERE tbl_name = :table AND type = :type")
    for name, key in _TABLES.items():
        table = connection.execute(statements, {"table": name, "type": "table"}).scalar_one()
        indexes = connection.execute(statements, {"table": name, "type": "index"}).scalars().all()
        columns = table[table.index("(") :].rstrip().removesuffix(_CLAUSE).rstrip()
        op.execute(f"CREATE TABLE anew {columns}{'' if with_rowids else ' ' + _CLAUSE}")
        op.execute(f"INSERT INTO anew SELECT * FROM {name} ORDER BY {key}")  # noqa: S608 - own names
        op.execute(f"DROP TABLE {name}")
        op.execute(f"ALTER TABLE anew RENAME TO {name}")
        for sql in filter(None, indexes):  # that of the key has no statement
            op.execute(sql)
