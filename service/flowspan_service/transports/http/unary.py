"""Unary calls of the Connect protocol: POST with one message, or GET without side effects."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.api.calls.call import Call
from flowspan_service.api.calls.wire_shape import malformed
from flowspan_service.transports.http.asgi import UntilDisconnected
from flowspan_service.transports.http.bodies import (
    accepts_gzip,
    body_too_large,
    is_compressed,
    read_body,
)
from flowspan_service.transports.http.codecs import BINARY, LENIENT, STRICT, decode, encode
from flowspan_service.transports.http.errors import (
    RefusedError,
    deadline_exceeded,
    refusal,
)

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.method import Method
    from flowspan_service.api.dispatcher import Dispatcher
    from flowspan_service.transports.http.asgi import Answer, Request
    from flowspan_service.transports.http.codecs import Codec

VERSION = "connect-protocol-version"
TYPES = ("application/json", "application/proto")
_MAX_TIMEOUT_DIGITS = 10


class _Sent(NamedTuple):
    """A request as it was sent."""

    codec: Codec
    data: bytes
    is_compressed: bool


async def serve_unary(
    backend: Backend, dispatcher: Dispatcher, method: Method, request: Request, answer: Answer
) -> None:
    """Answer a unary call.

    Raises:
        RefusedError: The request is not a call.
        ServiceError: The call failed.
        DisconnectedError: The client went away.
    """
    timeout_s = timeout_of(request)
    sent = _from_query(method, request) if request.method == "GET" else None
    if sent is None:
        sent = await _from_body(method, request)
    try:
        async with UntilDisconnected(request.receive), asyncio.timeout(timeout_s):
            data = await decode(
                backend, sent.codec, method, sent.data, is_compressed=sent.is_compressed
            )
            result = await dispatcher.unary(method, data, call_of(request, timeout_s))
            may_compress = accepts_gzip(request.headers.get("accept-encoding", ""))
            body, is_small = await encode(
                backend, sent.codec, method, result, may_compress=may_compress
            )
    except TimeoutError:
        raise RefusedError(deadline_exceeded()) from None
    headers = [(b"content-encoding", b"gzip")] if is_small else []
    await answer.whole(HTTPStatus.OK, body, f"application/{sent.codec.name}", headers)


def call_of(request: Request, timeout_s: float | None) -> Call:
    """Return the facts of a call."""
    return Call(metadata=request.headers, peer=request.peer, timeout_s=timeout_s)


def timeout_of(request: Request) -> float | None:
    """Return the time that the caller allows, in seconds; None for no deadline.

    Raises:
        RefusedError: It is not a number of milliseconds.
    """
    text = request.headers.get("connect-timeout-ms")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > _MAX_TIMEOUT_DIGITS:
        raise refusal(
            HTTPStatus.BAD_REQUEST,
            "connect-timeout-ms is not a number of milliseconds of at most 10 digits.",
        )
    return int(text) / 1000


def json_codec(request: Request) -> Codec:
    """Return the codec for JSON: lenient for generated clients, which name the protocol."""
    return LENIENT if VERSION in request.headers else STRICT


def check_version(version: str) -> None:
    """Check the version of the protocol that a client names.

    Raises:
        RefusedError: It is another one.
    """
    if version != "1":
        raise refusal(HTTPStatus.BAD_REQUEST, f"{VERSION} is not 1, the only version there is.")


async def _from_body(method: Method, request: Request) -> _Sent:
    check_version(request.headers.get(VERSION, "1"))
    codec = BINARY if request.media_type == "application/proto" else json_codec(request)
    packed = is_compressed(request.headers.get("content-encoding", ""))
    body = await read_body(request, method.name, codec.max_bytes(method))
    return _Sent(codec, body, packed)


def _from_query(method: Method, request: Request) -> _Sent:
    try:
        query = request.query
    except ValueError:
        raise refusal(HTTPStatus.BAD_REQUEST, "The query has too many parameters.") from None
    version = query.get("connect")
    if version is not None:
        check_version(version.removeprefix("v"))
    encodings: dict[str, Codec] = {"proto": BINARY, "json": STRICT if version is None else LENIENT}
    codec = encodings.get(query.get("encoding", "json"))
    if codec is None:
        raise refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The parameter encoding is neither json nor proto."
        )
    packed = is_compressed(query.get("compression", ""))
    message = query.get("message", "")
    data = _from_base64(message) if query.get("base64") == "1" else message.encode()
    if len(data) > codec.max_bytes(method):
        raise body_too_large(method.name, codec.max_bytes(method))
    return _Sent(codec, data, packed and bool(data))


def _from_base64(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except ValueError:
        raise malformed() from None
