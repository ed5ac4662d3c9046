"""The rare work under way that every transaction has to know about: one statement tells it all.

The writer's cache keeps the answer until another service process commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Integer, column, text

from flowspan_service.stores.engine.cache import UnderWay
from flowspan_service.stores.ids import Id

if TYPE_CHECKING:
    from flowspan_service.stores.engine.transaction import Transaction


_DELETION, _CANCELLATION, _ORPHAN, _MOVE = 1, 2, 3, 4

_STATEMENT = text(
    "SELECT 1 AS what, run_id, root_run_id FROM deletion"
    " UNION ALL SELECT 2, run_id, root_run_id FROM cancellation"
    " UNION ALL SELECT 3, run_id, run_id FROM (SELECT run_id FROM orphan LIMIT 1) AS waiting"
    " UNION ALL SELECT 4, run_id, run_id FROM (SELECT run_id FROM family_move LIMIT 1) AS moving"
).columns(column("what", Integer), column("run_id", Id), column("root_run_id", Id))


def under_way(tx: Transaction) -> UnderWay:
    """Return the rare work under way."""
    found = tx.cache.under_way
    if found is None:
        found = tx.cache.under_way = UnderWay()
        for what, run_id, root_run_id in tx.connection.execute(_STATEMENT):
            if what == _DELETION:
                found.deletions.setdefault(root_run_id, set()).add(run_id)
            elif what == _CANCELLATION:
                found.cancellations.setdefault(root_run_id, set()).add(run_id)
            elif what == _ORPHAN:
                found.has_orphans = True
            else:
                found.has_moves = True
    return found
