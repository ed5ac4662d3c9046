"""The sessions that are connected to this process. What must outlive it is in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Connection(Protocol):
    """A connected session."""

    session_id: str
    alive_until_us: int
    """The lease, renewed in memory with each frame."""

    def be_taken_over(self) -> None:
        """Another connection has the session now."""
        ...

    def cancel(self, run_id: str, reason: str) -> None:
        """Asks for a run to be stopped; nothing, if this connection was asked already."""
        ...

    def drain(self) -> None:
        """The service stops: no more events are taken; ends when all that was taken is acked."""
        ...


class LiveSessions:
    """Which connection has which session. For the event loop's thread only."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def connect(self, connection: Connection) -> None:
        """Registers a connection; an older one of the same session is taken over."""
        older = self._connections.get(connection.session_id)
        self._connections[connection.session_id] = connection
        if older is not None:
            older.be_taken_over()

    def disconnect(self, connection: Connection) -> None:
        """Forgets a connection, unless another one has its session."""
        if self._connections.get(connection.session_id) is connection:
            del self._connections[connection.session_id]

    def get(self, session_id: str | None) -> Connection | None:
        """The connection that has the session, if it is here."""
        return None if session_id is None else self._connections.get(session_id)

    def leases(self) -> dict[str, int]:
        """Until when each connected session lives, in microseconds since 1970 UTC."""
        return {key: each.alive_until_us for key, each in self._connections.items()}
