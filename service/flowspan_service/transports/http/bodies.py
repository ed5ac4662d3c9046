"""Bodies of requests and answers: limits, deadlines and compression."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING

from flowspan_service.api import limits
from flowspan_service.api.calls.wire_shape import malformed
from flowspan_service.domain.errors import TooLargeError
from flowspan_service.transports.http.errors import (
    UNIMPLEMENTED,
    DisconnectedError,
    Failure,
    RefusedError,
    refusal,
    too_large,
)

if TYPE_CHECKING:
    from flowspan_service.transports.http.asgi import Request

PART_TIMEOUT_S = 10.0
"""The longest pause between two parts of a body."""
BODY_TIMEOUT_S = 120.0
"""The longest time that a body may take."""

COMPRESSED_ABOVE = 1024
"""Answers of fewer bytes are not worth the compression."""
_LEVEL = 1
_IDENTITY = ("", "identity")
_GZIP = zlib.MAX_WBITS | 16


async def read_body(request: Request, name: str, limit: int) -> bytes:
    """Read the body of a request.

    Args:
        request: The request.
        name: The name of the method, for errors.
        limit: The largest body, in bytes. A larger one is refused before it is read, if the client
            says how large it is.

    Raises:
        RefusedError: The body is too large, or it comes too slowly.
        DisconnectedError: The client went away.
    """
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or len(declared) > 18 or int(declared) > limit:
        raise body_too_large(name, limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                async with asyncio.timeout(PART_TIMEOUT_S):
                    message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectedError
                part = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise body_too_large(name, limit)
                parts.append(part)
                if not message.get("more_body", False):
                    request.has_unread_body = False
                    return b"".join(parts)
    except TimeoutError:
        raise refusal(
            HTTPStatus.REQUEST_TIMEOUT,
            "The body of the request did not arrive in time. Send it again.",
        ) from None


def body_too_large(name: str, limit: int) -> RefusedError:
    """Return the error for a body above the limit of a method."""
    return too_large(
        TooLargeError(
            f"The body of the request has more than {limit} bytes, the most that {name} accepts.",
            advice="Send less in one request.",
            limit=str(limit),
        )
    )


def is_compressed(encoding: str) -> bool:
    """Return True if a name of a compression is gzip, and False for none.

    Raises:
        RefusedError: The compression is unknown.
    """
    if encoding.lower() in _IDENTITY:
        return False
    if encoding.lower() == "gzip":
        return True
    raise RefusedError(
        Failure(
            UNIMPLEMENTED,
            f"The compression {encoding[: limits.SHORT_NAME]!r} is unknown. Use gzip or identity.",
        )
    )


def accepts_gzip(accepted: str) -> bool:
    """Return True if a list of accepted compressions ("gzip, br;q=0.5") has gzip."""
    for each in accepted.lower().split(","):
        name, _, parameter = each.strip().partition(";")
        if name.strip() in ("gzip", "*"):
            return parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def decompressed(data: bytes, name: str, limit: int) -> bytes:
    """Return the decompressed data, without ever holding more than the limit.

    Raises:
        RefusedError: It has more bytes than the limit.
        InvalidFieldError: The data is not one complete gzip member.
    """
    stream = zlib.decompressobj(_GZIP)
    try:
        plain = stream.decompress(data, limit + 1)
    except zlib.error:
        raise malformed() from None
    if len(plain) > limit:
        raise body_too_large(name, limit)
    if not stream.eof or stream.unused_data:
        raise malformed()
    return plain


def compressed(data: bytes) -> bytes:
    """Return the data compressed with gzip."""
    return gzip.compress(data, _LEVEL, mtime=0)
