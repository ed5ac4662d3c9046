"""The sessions that are connected to this process. What must outlive it is in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan_service.domain.commands import Command


class Connection(Protocol):
    """A connected session."""

    session_id: str

    def sign(self) -> int:
        """A number that is not 0, and another one after each sign of life.

        Also while it is the service that keeps its client waiting. May be called in any thread.
        """
        ...

    def be_taken_over(self) -> None:
        """Another connection has the session now."""
        ...

    def tell(self, command: Command) -> None:
        """Sends a command; nothing, if this connection was told already."""
        ...

    async def bring_commands(self) -> None:
        """Sends the session's open commands, as they are stored.

        Raises:
            ServiceError: They cannot be read.
        """
        ...

    def drain(self) -> None:
        """The service stops: no more events are taken; ends when all that was taken is acked."""
        ...


class LiveSessions:
    """Which connection has which session. For the event loop's thread, unless it says otherwise."""

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

    def sign_of(self, session_id: str) -> int:
        """The sign of life of a connected session; 0 if it is not here. For any thread."""
        connection = self._connections.get(session_id)
        return 0 if connection is None else connection.sign()
