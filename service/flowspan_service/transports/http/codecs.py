"""The encodings of messages: binary and JSON."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from flowspan_service.api import limits
from flowspan_service.transports.http.bodies import (
    COMPRESSED_ABOVE,
    compressed,
    decompressed,
)
from flowspan_service.transports.http.json_codec import binary_request, json_answer

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.method import Method

_IN_A_THREAD = 16 * limits.KIB
"""Larger answers are made JSON, or compressed, in a thread: they take more than a millisecond."""
_MOST_EXPANSION = 20
"""A guess of how much larger the decompressed data is; a wrong one costs the loop a moment."""


class Codec(Protocol):
    """An encoding of messages."""

    @property
    def name(self) -> str:
        """Its name in content types: "json"."""
        ...

    def max_bytes(self, method: Method) -> int:
        """Return the size of the largest request of a method."""
        ...

    def request(self, method: Method, data: bytes) -> bytes:
        """Return a request in binary.

        Raises:
            ServiceError: It is malformed.
        """
        ...

    def answer(self, method: Method, data: bytes) -> bytes:
        """Return an answer in this encoding."""
        ...


class Binary:
    """Messages in binary, which pass unchanged."""

    name = "proto"

    def max_bytes(self, method: Method) -> int:
        """Return the size of the largest request of a method."""
        return method.max_request_bytes

    def request(self, _: Method, data: bytes) -> bytes:
        """Return a request in binary."""
        return data

    def answer(self, _: Method, data: bytes) -> bytes:
        """Return an answer in binary."""
        return data


class Json:
    """Messages as JSON.

    Args:
        is_lenient: True to ignore unknown fields of requests.
    """

    name = "json"

    def __init__(self, *, is_lenient: bool) -> None:
        self._is_lenient = is_lenient

    def max_bytes(self, method: Method) -> int:
        """Return the size of the largest request: names, quotes and base64 take as much again."""
        return 2 * method.max_request_bytes

    def request(self, method: Method, data: bytes) -> bytes:
        """Return a request in binary.

        Raises:
            InvalidFieldError: It is not JSON, or not the JSON of that type.
        """
        return binary_request(method.request, data, is_lenient=self._is_lenient)

    def answer(self, method: Method, data: bytes) -> bytes:
        """Return an answer as JSON."""
        return json_answer(method.response, data)


BINARY: Codec = Binary()
STRICT: Codec = Json(is_lenient=False)
LENIENT: Codec = Json(is_lenient=True)


async def decode(
    backend: Backend, codec: Codec, method: Method, data: bytes, *, is_compressed: bool
) -> bytes:
    """Return the bytes of a request, in the thread for large messages if it is one.

    Raises:
        RefusedError: The decompressed request is too large.
        ServiceError: It is malformed, or more large requests arrive than can be parsed.
    """
    limit = codec.max_bytes(method)
    size = len(data)
    if is_compressed:
        size = min(limit, _MOST_EXPANSION * size)
    elif codec is BINARY:
        return data
    work = partial(_decode, codec, method, data, limit, is_compressed=is_compressed)
    return await backend.parsing.run(size, work)


async def encode(
    backend: Backend, codec: Codec, method: Method, data: bytes, *, may_compress: bool
) -> tuple[bytes, bool]:
    """Return an answer in an encoding, and whether it is compressed.

    Args:
        backend: Its threads convert large answers.
        codec: The encoding.
        method: The method.
        data: The answer, in binary.
        may_compress: True to compress an answer that is worth it.
    """
    if codec is BINARY and not may_compress:
        return data, False
    if len(data) <= _IN_A_THREAD:
        return _encode(codec, method, data, may_compress=may_compress)
    return await backend.read(_encode, codec, method, data, may_compress=may_compress)


def _decode(codec: Codec, method: Method, data: bytes, limit: int, *, is_compressed: bool) -> bytes:
    if is_compressed:
        data = decompressed(data, method.name, limit)
    return codec.request(method, data)


def _encode(codec: Codec, method: Method, data: bytes, *, may_compress: bool) -> tuple[bytes, bool]:
    answer = codec.answer(method, data)
    if may_compress and len(answer) > COMPRESSED_ABOVE:
        return compressed(answer), True
    return answer, False
