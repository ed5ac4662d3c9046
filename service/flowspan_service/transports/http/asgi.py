"""Requests and answers of the ASGI interface."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import parse_qsl

from flowspan_service.transports.http.errors import DisconnectedError, Failure, json_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
    from types import TracebackType

Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
Header: TypeAlias = "tuple[bytes, bytes]"

JSON = "application/json"

LINGER_S = 2.0
"""The time in which the rest of a refused request is read. If a connection is closed with unread
bytes, its client may lose the answer."""
_LINGER_BYTES = 16 << 20
_MAX_PARAMETERS = 20


class Request:
    """A request: its line and headers; the body is read with `receive`.

    Attributes:
        method: The method, in upper case.
        path: The decoded path.
        headers: The headers, by lower-case name; the last value of each.
        receive: Receives the parts of the body.
        has_unread_body: True until the body was read to its end.
    """

    __slots__ = ("_scope", "has_unread_body", "headers", "method", "path", "receive")

    def __init__(self, scope: Mapping[str, Any], receive: Receive) -> None:
        self._scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.receive = receive
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        length = self.headers.get("content-length", "0")
        self.has_unread_body = length != "0" or "transfer-encoding" in self.headers

    @property
    def media_type(self) -> str:
        """The type of the body, in lower case, without parameters; empty if unknown."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query; the last value of each.

        Raises:
            ValueError: There are too many.
        """
        text = self._scope["query_string"].decode("latin-1")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS))

    @property
    def scheme(self) -> str:
        """The scheme of the request: "http", or "https" over TLS."""
        return str(self._scope.get("scheme", "http"))

    @property
    def local_host(self) -> str:
        """The address on which the service took the connection; empty if unknown."""
        server = self._scope.get("server")
        return str(server[0]) if server else ""

    @property
    def peer(self) -> str:
        """The address of the caller, in the notation of gRPC; empty if unknown."""
        client = self._scope.get("client")
        if not client:
            return ""
        host, port = client
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"


class Answer:
    """The answer to a request: sends its parts, and knows if it has begun.

    Args:
        send: Sends the parts.
        headers: Headers of every answer to this request.
    """

    __slots__ = ("_headers", "_send", "has_begun", "is_head")

    def __init__(self, send: Send, headers: list[Header], *, is_head: bool) -> None:
        self._send = send
        self._headers = headers
        self.has_begun = False
        self.is_head = is_head

    async def begin(self, status: int, headers: Iterable[Header]) -> None:
        """Send the status and the headers."""
        self.has_begun = True
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"date", _date()), *self._headers, *headers],
            }
        )

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def whole(
        self, status: int, body: bytes, media_type: str, headers: Iterable[Header] = ()
    ) -> None:
        """Send an answer with its whole body."""
        await self._begin_whole(status, body, media_type, headers)
        await self.write(b"" if self.is_head else body, more=False)

    async def fail(self, failure: Failure) -> None:
        """Send the answer of a failed request, as JSON."""
        status, body = failure.http_status, json_bytes(failure.as_json())
        await self.whole(status, body, JSON, failure.headers)

    async def fail_before_body(self, failure: Failure, receive: Receive) -> None:
        """Send the answer of a request whose body is not read, and close the connection.

        A close with unread bytes would reset the connection, and the client might never see the
        answer. So the bytes that arrive in the next moments are dropped.
        """
        body = json_bytes(failure.as_json())
        close = (b"connection", b"close")
        await self._begin_whole(failure.http_status, body, JSON, (*failure.headers, close))
        await self.write(b"" if self.is_head else body, more=True)
        dropped = 0
        try:
            async with asyncio.timeout(LINGER_S):
                while dropped < _LINGER_BYTES:
                    message = await receive()
                    dropped += len(message.get("body", b""))
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            pass
        await self.write(b"", more=False)

    async def _begin_whole(
        self, status: int, body: bytes, media_type: str, headers: Iterable[Header]
    ) -> None:
        length = str(len(body)).encode()
        content = [(b"content-type", media_type.encode()), (b"content-length", length)]
        await self.begin(status, [*content, *headers])


class UntilDisconnected:
    """Cancels the block if the client goes away. To be used once the body was read.

    Raises:
        DisconnectedError: In place of the cancellation.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_gone = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._task = task
        self._watch = asyncio.create_task(self._watch_connection())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watch.cancel()
        if self._is_gone and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise DisconnectedError

    async def _watch_connection(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        self._task.cancel()


class _Date:
    """The header "date", made once a second."""

    second = 0
    text = b""


def _date() -> bytes:
    now = int(time.time())
    if now != _Date.second:
        _Date.second = now
        _Date.text = formatdate(now, usegmt=True).encode()
    return _Date.text
