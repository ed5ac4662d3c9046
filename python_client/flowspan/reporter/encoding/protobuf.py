"""The part of protobuf's wire format that the event encoder needs.

See https://protobuf.dev/programming-guides/encoding/. Fields are built as bytes and joined. A tag
is passed as bytes, too, because it is a constant wherever it is used.
"""

from __future__ import annotations

_NS_PER_S = 1_000_000_000
_CONTINUED = 0x80_80_80_80
_MAX_SECONDS = (1 << 35) - 1
_SYMBOL_FOR_NUL = "␀".encode()


def varint(value: int) -> bytes:
    """Encode a non-negative number as a varint."""
    if value < len(_SMALL):
        return _SMALL[value]
    return _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = tuple(_varint(value) for value in range(1024))


def varint5(value: int) -> bytes:
    """Encode a number below 2**35 as a varint padded to five bytes.

    Parsers accept padded varints, and the fixed length makes the enclosing lengths constant. A
    single expression, because it runs for every event.
    """
    return (
        (
            (value & 0x7F)
            | (value & 0x3F80) << 1
            | (value & 0x1F_C000) << 2
            | (value & 0xFE0_0000) << 3
            | (value & 0x7_F000_0000) << 4
        )
        | _CONTINUED
    ).to_bytes(5, "little")


def utf8(text: str) -> bytes:
    """Encode text as UTF-8 that the service accepts.

    Lone surrogates become escapes, and NUL becomes its symbol: the service rejects NULs, and no run
    should be lost because of one.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = text.encode(errors="backslashreplace")
    return data.replace(b"\0", _SYMBOL_FOR_NUL) if b"\0" in data else data


def clipped(text: str, limit_bytes: int) -> bytes:
    """Encode text as UTF-8; cut a longer one at a character boundary and append "…"."""
    data = utf8(text)
    if len(data) <= limit_bytes:
        return data
    return data[: limit_bytes - 3].decode(errors="ignore").encode() + "…".encode()


def field(tag: bytes, data: bytes) -> bytes:
    """Encode a field of bytes, text or a message; return nothing if it is empty."""
    return tag + varint(len(data)) + data if data else b""


def timestamp(time_ns: int) -> bytes:
    """Encode a google.protobuf.Timestamp in exactly twelve bytes."""
    seconds, nanos = divmod(time_ns, _NS_PER_S)
    return b"\x08" + varint5(min(max(seconds, 0), _MAX_SECONDS)) + b"\x10" + varint5(nanos)


TIMESTAMP_BYTES = 12
"""The length of each `timestamp`."""
