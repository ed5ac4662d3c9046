"""The encoding of artifacts and their changes as items of flowspan.v1.Batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.reporter.encoding.protobuf import field, timestamp, utf8, varint

if TYPE_CHECKING:
    from flowspan.core.events import Event

_JSON = b"\x0a\x04json"


def artifact_item(event: Event) -> bytes:
    """Encode an ARTIFACT event."""
    _, artifact_id, run_id, key, kind, description, data, time_ns = event
    body = b"".join(
        (
            field(b"\x0a", artifact_id.encode()),
            field(b"\x12", key.encode()),
            field(b"\x1a", utf8(kind)),
            field(b"\x22", utf8(description)),
            _payload(b"\x2a", data),
            field(b"\x32", run_id.encode()),
            field(b"\x42", timestamp(time_ns)),
        )
    )
    return field(b"\x12", field(b"\x22", body))


def change_item(event: Event) -> bytes:
    """Encode an ARTIFACT_CHANGE event."""
    _, artifact_id, description, data, time_ns = event
    parts = [field(b"\x0a", artifact_id.encode())]
    if description is not None:  # an empty one counts, too
        text = utf8(description)
        parts.append(b"\x12" + varint(len(text)) + text)
    if data is not None:
        parts.append(_payload(b"\x1a", data))
    parts.append(field(b"\x22", timestamp(time_ns)))
    return field(b"\x12", field(b"\x2a", b"".join(parts)))


def _payload(tag: bytes, data: bytes) -> bytes:
    return field(tag, _JSON + field(b"\x12", data))
