"""Calls in envelopes: streams of the Connect protocol, and all calls of gRPC-Web.

An envelope is a byte of flags, the length in four bytes, and the content. The last one says how the
call ended, so the HTTP status is 200 once the answer has begun.
"""

from __future__ import annotations

import asyncio
import struct
from base64 import b64decode, b64encode
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from flowspan_service.api.calls.errors import as_service_error
from flowspan_service.domain.errors import InvalidFieldError
from flowspan_service.transports.http.asgi import UntilDisconnected
from flowspan_service.transports.http.bodies import (
    accepts_gzip,
    body_too_large,
    is_compressed,
    read_body,
)
from flowspan_service.transports.http.codecs import BINARY, LENIENT, decode, encode
from flowspan_service.transports.http.errors import (
    DisconnectedError,
    Failure,
    RefusedError,
    deadline_exceeded,
    failure_of,
    json_bytes,
    refusal,
)
from flowspan_service.transports.http.unary import (
    VERSION,
    call_of,
    check_version,
    json_codec,
    timeout_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call
    from flowspan_service.api.calls.method import Method
    from flowspan_service.api.dispatcher import Dispatcher
    from flowspan_service.transports.http.asgi import Answer, Header, Request
    from flowspan_service.transports.http.codecs import Codec

_HEAD = struct.Struct(">BI")
_COMPRESSED, _END_OF_CONNECT, _END_OF_GRPC = 0x01, 0x02, 0x80
_TIMEOUT_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MAX_TIMEOUT_DIGITS = 8


class _Wire(Protocol):
    """A protocol with envelopes."""

    accepted: str
    """The header with the compressions that the client accepts."""
    encoding: str
    """The header with the compression of envelopes."""

    @property
    def is_text(self) -> bool:
        """True if the body is base64."""
        ...

    def end(self, failure: Failure | None) -> bytes:
        """Return the last envelope."""
        ...

    def timeout_s(self, request: Request) -> float | None:
        """Return the time that the caller allows; None for no deadline."""
        ...


class _Connect:
    is_text = False
    accepted = "connect-accept-encoding"
    encoding = "connect-content-encoding"

    def end(self, failure: Failure | None) -> bytes:
        content = {} if failure is None else {"error": failure.as_json()}
        return _enveloped(json_bytes(content), _END_OF_CONNECT)

    def timeout_s(self, request: Request) -> float | None:
        check_version(request.headers.get(VERSION, "1"))
        return timeout_of(request)


class _GrpcWeb:
    accepted = "grpc-accept-encoding"
    encoding = "grpc-encoding"

    def __init__(self, *, is_text: bool = False) -> None:
        self.is_text = is_text

    def end(self, failure: Failure | None) -> bytes:
        content = b"grpc-status: 0\r\n" if failure is None else failure.as_trailers()
        return _enveloped(content, _END_OF_GRPC)

    def timeout_s(self, request: Request) -> float | None:
        text = request.headers.get("grpc-timeout")
        if text is None:
            return None
        digits, unit = text[:-1], _TIMEOUT_UNITS_S.get(text[-1:])
        if (
            unit is None
            or not (digits.isascii() and digits.isdecimal())
            or len(digits) > _MAX_TIMEOUT_DIGITS
        ):
            raise refusal(HTTPStatus.BAD_REQUEST, "grpc-timeout is not a time, such as 500m or 2S.")
        return int(digits) * unit


_CONNECT: _Wire = _Connect()
_GRPC_WEB: _Wire = _GrpcWeb()
_GRPC_WEB_TEXT: _Wire = _GrpcWeb(is_text=True)

STREAM_TYPES: Mapping[str, tuple[_Wire, str]] = {
    "application/connect+json": (_CONNECT, "json"),
    "application/connect+proto": (_CONNECT, "proto"),
}
"""The types of streams in Connect."""
WEB_TYPES: Mapping[str, tuple[_Wire, str]] = {
    "application/grpc-web": (_GRPC_WEB, "proto"),
    "application/grpc-web+proto": (_GRPC_WEB, "proto"),
    "application/grpc-web+json": (_GRPC_WEB, "json"),
    "application/grpc-web-text": (_GRPC_WEB_TEXT, "proto"),
    "application/grpc-web-text+proto": (_GRPC_WEB_TEXT, "proto"),
}
"""The types of all calls in gRPC-Web."""
_TYPES = {**STREAM_TYPES, **WEB_TYPES}


async def serve_envelopes(
    backend: Backend, dispatcher: Dispatcher, method: Method, request: Request, answer: Answer
) -> None:
    """Answer a call in envelopes: headers at once, then the messages, then the end.

    Raises:
        RefusedError: The request is not a call.
        DisconnectedError: The client went away.
    """
    wire, name = _TYPES[request.media_type]
    codec = BINARY
    if name == "json":
        codec = json_codec(request) if wire is _CONNECT else LENIENT
    timeout_s = wire.timeout_s(request)
    may_be_packed = is_compressed(request.headers.get(wire.encoding, ""))
    body = await read_body(request, method.name, _max_body(wire, codec, method))
    accepts = accepts_gzip(request.headers.get(wire.accepted, ""))
    out = _Envelopes(answer, wire, codec, may_compress=accepts)
    await out.begin(request.media_type)
    failure: Failure | None = None
    try:
        async with UntilDisconnected(request.receive), asyncio.timeout(timeout_s):
            sent = _only_message(wire, codec, method, body, may_be_packed=may_be_packed)
            data = await decode(backend, codec, method, sent.data, is_compressed=sent.is_packed)
            del body, sent
            call = call_of(request, timeout_s)
            async with aclosing(_results(dispatcher, method, data, call)) as results:
                async for result in results:
                    await out.message(backend, method, result)
    except TimeoutError:
        failure = deadline_exceeded()
    except RefusedError as error:
        failure = error.failure
    except (DisconnectedError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - every error ends the stream
        failure = failure_of(as_service_error(method.path, error))
    await out.end(failure)


async def _results(
    dispatcher: Dispatcher, method: Method, data: bytes, call: Call
) -> AsyncGenerator[bytes, None]:
    """Yield the answers of a call; one if the method has a single one."""
    if not method.is_stream:
        yield await dispatcher.unary(method, data, call)
        return
    async with aclosing(dispatcher.stream(method, data, call)) as answers:
        async for answer in answers:
            yield answer


async def refuse_in_envelope(request: Request, answer: Answer, failure: Failure) -> None:
    """Answer a call in envelopes with nothing but a failure."""
    out = _Envelopes(answer, _TYPES[request.media_type][0], BINARY, may_compress=False)
    await out.begin(request.media_type)
    await out.end(failure)


class _Envelopes:
    """The envelopes of an answer."""

    def __init__(self, answer: Answer, wire: _Wire, codec: Codec, *, may_compress: bool) -> None:
        self._answer = answer
        self._wire = wire
        self._codec = codec
        self._may_compress = may_compress

    async def begin(self, media_type: str) -> None:
        headers: list[Header] = [
            (b"content-type", media_type.encode()),
            (b"x-accel-buffering", b"no"),  # nginx would hold back a stream
        ]
        if self._may_compress:
            headers.append((self._wire.encoding.encode(), b"gzip"))
        await self._answer.begin(HTTPStatus.OK, headers)

    async def message(self, backend: Backend, method: Method, message: bytes) -> None:
        data, is_packed = await encode(
            backend, self._codec, method, message, may_compress=self._may_compress
        )
        await self._write(_enveloped(data, _COMPRESSED if is_packed else 0), more=True)

    async def end(self, failure: Failure | None) -> None:
        await self._write(self._wire.end(failure), more=False)

    async def _write(self, envelope: bytes, *, more: bool) -> None:
        await self._answer.write(b64encode(envelope) if self._wire.is_text else envelope, more=more)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request as it was sent."""

    data: bytes
    is_packed: bool


def _max_body(wire: _Wire, codec: Codec, method: Method) -> int:
    size = codec.max_bytes(method) + _HEAD.size
    return size * 4 // 3 + 4 if wire.is_text else size


def _only_message(
    wire: _Wire, codec: Codec, method: Method, body: bytes, *, may_be_packed: bool
) -> _Sent:
    """Return the message of a body with a single envelope.

    Raises:
        RefusedError: It is too large.
        InvalidFieldError: The body is something else.
    """
    if wire.is_text:
        try:
            body = b64decode(body, validate=True)
        except ValueError:
            raise _not_one_envelope() from None
    if len(body) < _HEAD.size:
        raise _not_one_envelope()
    flags, length = _HEAD.unpack_from(body)
    if length > codec.max_bytes(method):
        raise body_too_large(method.name, codec.max_bytes(method))
    packed = flags == _COMPRESSED
    if length != len(body) - _HEAD.size or flags & ~_COMPRESSED or (packed and not may_be_packed):
        raise _not_one_envelope()
    return _Sent(body[_HEAD.size :], packed)


def _not_one_envelope() -> InvalidFieldError:
    return InvalidFieldError(
        "The body of the request is not one message in an envelope.",
        advice="Send a byte of flags (0, or 1 if the message is compressed as the headers say), "
        "its length in four bytes, and the message.",
    )


def _enveloped(content: bytes, flags: int) -> bytes:
    return _HEAD.pack(flags, len(content)) + content
