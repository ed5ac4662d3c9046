"""The ports of the use cases: a store, a clock, a notifier, the connected sessions.

Each noun has a module with its queries and two small protocols, one for reads and one for writes in
a unit of work. `nouns` composes them.

Writes are operations: callables over a unit of work. The store's one writer collects the waiting
operations, runs them in the order of their arrival, and commits them in one transaction (group
commit). Their futures are resolved after the commit.
"""

from flowspan_service.app.ports.clock import Clock
from flowspan_service.app.ports.connections import Connection, Connections, Watches
from flowspan_service.app.ports.heads import Heads
from flowspan_service.app.ports.notifier import CommitListener, Mark, NewsListener, Notifier
from flowspan_service.app.ports.operations import Operation, Unfinished
from flowspan_service.app.ports.pages import Page
from flowspan_service.app.ports.store import Identity, Store, WriteListener, WriteTimes, Written
from flowspan_service.app.ports.unit_of_work import Budget, UnitOfWork

__all__ = [
    "Budget",
    "Clock",
    "CommitListener",
    "Connection",
    "Connections",
    "Heads",
    "Identity",
    "Mark",
    "NewsListener",
    "Notifier",
    "Operation",
    "Page",
    "Store",
    "Unfinished",
    "UnitOfWork",
    "Watches",
    "WriteListener",
    "WriteTimes",
    "Written",
]
