"""The sessions that are connected to this process. The store keeps what must outlive it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan_service.app.ports import Connection


class ConnectedSessions:
    """Implementation of app.ports.Connections."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def connect(self, connection: Connection) -> None:
        """Register a connection. It takes over from an older one of the same session."""
        older = self._connections.get(connection.session_id)
        self._connections[connection.session_id] = connection
        if older is not None:
            older.be_taken_over()

    def disconnect(self, connection: Connection) -> None:
        """Forget a connection, unless another one owns its session."""
        if self._connections.get(connection.session_id) is connection:
            del self._connections[connection.session_id]

    def get(self, session_id: str | None) -> Connection | None:
        """Return the connection of a session; None if this process has none."""
        return None if session_id is None else self._connections.get(session_id)

    def sign_of(self, session_id: str) -> int:
        """Return the sign of life of a session; 0 if it is not connected here. Thread-safe."""
        connection = self._connections.get(session_id)
        return 0 if connection is None else connection.sign()
