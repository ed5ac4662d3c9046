"""The store: what the service remembers, in SQLite or PostgreSQL.

`open_store` makes one. A transition's way through it: `writer` (queue, group commit) → `unit`
(the transaction in memory) → `rows` → `dialects` (bulk statements); reads go through `reads` and
`lists`.
"""

from flowspan_service.stores.errors import StoreOpenError
from flowspan_service.stores.opening import default_path, open_store, sqlite_path

__all__ = [
    "StoreOpenError",
    "default_path",
    "open_store",
    "sqlite_path",
]
