"""Spool files: valid ones of both formats, and every kind of one-byte damage."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING

from flowspan.reporter.spool.file import SpoolFile
from flowspan.reporter.spool.format import SpoolHeader
from flowspan.v1 import report_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    Batches = Sequence[tuple[int, int, bytes]]
    """First sequence, number of events, and the encoded batch of each record."""

FLIPS = (0x01, 0x80, 0xFF)


def batches_of(events: Iterable[report_pb2.Event], *, size: int = 3) -> Batches:
    """Split the events into small batches."""
    events = list(events)
    return [
        (
            first + 1,
            len(part := events[first : first + size]),
            report_pb2.Batch(first_sequence=first + 1, events=part).SerializeToString(),
        )
        for first in range(0, len(events), size)
    ]


def write_spool(folder: Path, session_id: str, batches: Batches, *, address: str = "") -> Path:
    """Write a spool as the reporter does, without an owner."""
    header = SpoolHeader(session_id, address, {"process_id": "7"}, 12.5, batches[0][0])
    spool = SpoolFile.create(folder, header)
    for batch in batches:
        spool.append(*batch)
    spool.close()
    return spool.path


def write_old_spool(folder: Path, session_id: str, batches: Batches, *, address: str = "") -> Path:
    """Write a spool in the older format, version 1."""
    text = json.dumps(
        {
            "session_id": session_id,
            "address": address,
            "client": {"hostname": "here", "process_id": "7"},
            "created_at": 12.5,
        }
    ).encode()
    data = b"flowspan spool 1\n" + struct.pack(">I", len(text)) + text
    for first, events, batch in batches:
        checksum = zlib.crc32(batch, first & 0xFFFF_FFFF)
        data += struct.pack(">IIqI", len(batch), checksum, first, events) + batch
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{session_id}.spool"
    path.write_bytes(data)
    return path


def flipped(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the data with one byte changed, at each position, in several ways."""
    for position in range(len(data)):
        for flip in FLIPS:
            changed = bytearray(data)
            changed[position] ^= flip
            yield position, bytes(changed)
