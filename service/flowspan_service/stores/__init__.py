"""The store: the data of the service, in SQLite or PostgreSQL.

`open_store` creates one. Each noun has a module with its table, row mapping, reads and writes. The
path of a transition: `engine.writer` (queue, group commit), `engine.unit_of_work` (the transaction
in memory), `run_writes` (rows), `dialects` (bulk statements).
"""

from flowspan_service.stores.errors import StoreOpenError
from flowspan_service.stores.opening import default_path, open_store, sqlite_path

__all__ = [
    "StoreOpenError",
    "default_path",
    "open_store",
    "sqlite_path",
]
