"""The port to the connections of the sessions that report to this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from flowspan_service.domain.commands import Command


class Connection(Protocol):
    """A connected session."""

    session_id: str

    def sign(self) -> int:
        """Return a number other than 0 that changes with each sign of life.

        It also changes while the service keeps the client waiting. Thread-safe.
        """
        ...

    def be_taken_over(self) -> None:
        """End the connection: another one owns the session now."""
        ...

    def tell(self, command: Command) -> None:
        """Send a command. A no-op if this connection sent it before."""
        ...

    async def send_open_commands(self) -> None:
        """Send the session's open commands from the store.

        Raises:
            ServiceError: The commands cannot be read.
        """
        ...

    def drain(self) -> None:
        """Take no more events, and end when all events taken are acked: the service stops."""
        ...


class Watches(Protocol):
    """The watches of commands by session. For the event loop's thread only."""

    def sessions(self) -> list[str]:
        """Return the watched sessions."""
        ...

    def wake(self, session_ids: Collection[str]) -> None:
        """Let the watches of these sessions look at the store."""
        ...


class Connections(Protocol):
    """The connections by session. For the event loop's thread, unless a method says otherwise."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Connection]: ...

    def connect(self, connection: Connection) -> None:
        """Register a connection. It takes over from an older one of the same session."""
        ...

    def disconnect(self, connection: Connection) -> None:
        """Forget a connection, unless another one owns its session."""
        ...

    def get(self, session_id: str | None) -> Connection | None:
        """Return the connection of a session; None if this process has none."""
        ...

    def sign_of(self, session_id: str) -> int:
        """Return the sign of life of a session; 0 if it is not connected here. Thread-safe."""
        ...
