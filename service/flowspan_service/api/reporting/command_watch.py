"""The commands of a session, for its client that reports without a stream (WatchCommands)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import report_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.reporting.acks import command_message
from flowspan_service.app.sessions import check_secret, hash_of_secret, session_is_unknown
from flowspan_service.domain.sessions import SessionStatus

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from flowspan_service.api.backend import Backend
    from flowspan_service.domain.commands import Command


async def watch_commands(
    backend: Backend, session_id: str, secret: bytes
) -> AsyncGenerator[pb.WatchCommandsResponse, None]:
    """Yield the open commands of a session, and each new one, until the session has ended.

    A frame without a command is sent if no command is open at the beginning, so that the client
    knows that it is being served, and as a keep-alive.

    Raises:
        NotFoundError: There is no such session.
        WrongSecretError: The session has another secret.
        StoppingError: The service is stopping.
    """
    secret_hash = hash_of_secret(secret)
    told: set[str] = set()
    is_first = True
    backend.check_not_stopping()
    with backend.command_watches.watch(session_id) as watch:
        while True:
            watch.take()
            is_open = await _is_open(backend, session_id, secret_hash)
            commands = await _open_commands(backend, session_id)
            for command in commands:
                if command.id not in told:
                    yield pb.WatchCommandsResponse(command=command_message(command))
            if not is_open:
                return
            if is_first and not commands:
                yield pb.WatchCommandsResponse()
            is_first, told = False, {command.id for command in commands}
            while not await watch.news(limits.COMMAND_KEEPALIVE_S):
                yield pb.WatchCommandsResponse()
            backend.check_not_stopping()


async def _is_open(backend: Backend, session_id: str, secret_hash: bytes | None) -> bool:
    session = await backend.read(backend.store.sessions.get, session_id)
    if session is None:
        raise session_is_unknown(session_id)
    check_secret(session, secret_hash)
    return session.status == SessionStatus.OPEN


async def _open_commands(backend: Backend, session_id: str) -> list[Command]:
    list_open = backend.store.commands.list_open
    found: list[Command] = []
    while True:
        after = found[-1] if found else None
        page = await backend.read(list_open, session_id, after=after, limit=limits.PAGE_COMMANDS)
        found += page.items
        if not page.has_more:
            return found
