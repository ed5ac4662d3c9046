r"""The format of a spool, with recovery of damaged files.

    flowspan spool 2\n
    header  header           the same twice: magic, length, CRC-32; JSON
    record  record  …        magic, size, first sequence, events, CRC-32 of the batch, CRC-32 of
                             this head; the batch

Each record has a magic and its own checksums, so damage costs only the records that it hits. The
checksums of records are seeded with the session's id, so text in a log message that looks like a
record is not taken for one. Version 1, which is read but no longer written, has neither the magic
nor the second header; its records are recognized by parsing their batch.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol
from uuid import UUID

from flowspan import clock
from flowspan.core.limits import MAX_NAME_BYTES
from flowspan.v1 import report_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Pread = Callable[[int, int], bytes]
    """Reads this number of bytes at an offset; fewer at the end of the file."""

_LINE = b"flowspan spool 2\n"
_LINE_1 = b"flowspan spool 1\n"
_ANY_LINE = re.compile(rb"flowspan spool (\d+)\n")
_HEADER = struct.Struct(">4sII")
_HEADER_MAGIC = b"\xf5FSH"
_LENGTH_1 = struct.Struct(">I")
_RECORD = struct.Struct(">4sIqII")
_RECORD_MAGIC = b"\xf5FSR"
_CHECKSUM = struct.Struct(">I")
_RECORD_BYTES = _RECORD.size + _CHECKSUM.size
_RECORD_1 = struct.Struct(">IIqI")
_RECORD_1_PATTERN = re.compile(
    # Sizes below 64 MiB, any checksum, sequences below 2**48, counts below 65,536; then the batch's
    # first field. A lookahead, because candidates may overlap.
    rb"(?=[\x00-\x03].{7}\x00\x00.{6}\x00\x00..\x08)",
    re.DOTALL,
)
_MAX_HEADER_BYTES = 1 << 16
_MAX_RECORD_BYTES = 64 << 20
_MAX_EVENTS = 1 << 16
_SCANNED_BYTES = 1 << 20
_MAX_YEAR_9999_S = 253_402_300_799
_CLIENT_FIELDS = (
    "client_name",
    "client_version",
    "client_language",
    "hostname",
    "process_id",
)


@dataclass(frozen=True, slots=True)
class SpoolHeader:
    """The description at the beginning of a spool.

    Attributes:
        session_id: The session whose events it stores.
        address: The configured address of the service; empty for the home's local service; None if
            the header is damaged, so that the address is unknown.
        client: The client that wrote it, by the field names of Hello.
        created_at: The time of creation, in seconds since 1970 UTC.
        first_sequence: The sequence of its first event; 0 if unknown.
        secret: The session's secret, which the service checks; empty in older spools.
    """

    session_id: str
    address: str | None
    client: dict[str, str] = field(default_factory=dict)
    created_at: float = field(default_factory=clock.now_s)
    first_sequence: int = 0
    secret: bytes = field(default=b"", repr=False)


class Record(NamedTuple):
    """A batch in a spool.

    Attributes:
        offset: The position where its record begins in the file.
        end: The position where its record ends.
        first: The sequence of its first event.
        events: Number of its events.
    """

    offset: int
    end: int
    first: int
    events: int

    @property
    def last(self) -> int:
        """The sequence of its last event."""
        return self.first + self.events - 1


class Damage(NamedTuple):
    """A part of a spool that cannot be read.

    Attributes:
        offset: The position where it begins in the file.
        end: The position where it ends.
        first: The sequence of its first lost event; 0 if unknown.
        events: Number of its lost events; 0 if unknown.
    """

    offset: int
    end: int
    first: int = 0
    events: int = 0


class SpoolFormatError(Exception):
    """The file is not a spool that this version can read.

    Attributes:
        is_foreign: True if the file may be intact: it is something else, or a newer version's
            spool.
    """

    def __init__(self, message: str, *, is_foreign: bool = False) -> None:
        super().__init__(message)
        self.is_foreign = is_foreign


@dataclass(frozen=True, slots=True)
class Opening:
    """The parsed beginning of a spool.

    Attributes:
        header: The description; if damaged, as much of it as could be recovered.
        records: The reader for its records.
        start: The offset at which the first record should begin.
        is_whole: True if all of it can be read.
    """

    header: SpoolHeader
    records: Records
    start: int
    is_whole: bool


class Records(Protocol):
    """The reader for the records of one version of the format."""

    def read(self, pread: Pread, offset: int) -> tuple[Record, bytes | None] | None:
        """Read the record at an offset.

        Returns:
            The record with its batch, or with None if only the batch is damaged; or None if there
            is no record, or its head is damaged.
        """

    def find(self, pread: Pread, offset: int) -> int | None:
        """Return the offset of the first record at or after an offset; None if none follows."""


def start_of(header: SpoolHeader) -> bytes:
    """Encode a header: the bytes at the beginning of the file."""
    text = json.dumps(
        {
            "session_id": header.session_id,
            "address": header.address,
            "client": header.client,
            "created_at": max(0.0, header.created_at),  # the clock may be before 1970
            "first_sequence": header.first_sequence,
            "secret": header.secret.hex(),
        }
    ).encode()
    return _LINE + 2 * (_HEADER.pack(_HEADER_MAGIC, len(text), zlib.crc32(text)) + text)


def record_of(session_id: str, first: int, events: int, batch: bytes) -> bytes:
    """Encode a record."""
    seed = zlib.crc32(session_id.encode())
    head = _RECORD.pack(_RECORD_MAGIC, len(batch), first, events, zlib.crc32(batch, seed))
    return b"".join((head, _CHECKSUM.pack(zlib.crc32(head, seed)), batch))


def read_opening(pread: Pread, name: str) -> Opening:
    """Read the beginning of a spool.

    Args:
        pread: Reads the file.
        name: The name of the file without its suffix, which is the session's id. It replaces the
            session's id of a damaged header.

    Raises:
        SpoolFormatError: It is not a spool, belongs to a newer version, or nothing is readable.
        OSError: It cannot be read.
    """
    beginning = pread(0, len(_LINE) + 2 * (_HEADER.size + _MAX_HEADER_BYTES))
    return _opening_2(beginning) or _opening_1(beginning, name) or _lost_opening(pread, name)


def entries(
    opening: Opening, pread: Pread, size: int, offset: int | None = None
) -> Iterator[tuple[Record, bytes] | Damage]:
    """Iterate over all records with their batches, and over the damaged parts between them.

    Args:
        opening: The file's beginning.
        pread: Reads the file.
        size: The size of the file, in bytes.
        offset: The position to start at; by default the first record.
    """
    records = opening.records
    offset = opening.start if offset is None else offset
    while offset < size:
        found = records.read(pread, offset)
        if found is not None and found[1] is not None:
            yield found[0], found[1]
            offset = found[0].end
            continue
        lost = found[0] if found is not None else None
        # The length in an intact head is right, unless bytes were inserted or removed.
        following = lost.end if lost is not None and lost.end < size else offset
        if following == offset or records.read(pread, following) is None:
            following = records.find(pread, offset + 1) or size
        known = (lost.first, lost.events) if lost is not None else (0, 0)
        yield Damage(offset, following, *known)
        offset = following


class Losses:
    """A count of the events missing from a spool, derived from the sequences of those present.

    Args:
        first: The sequence that should come first; 0 if unknown.
        after: The last sequence that the service has from elsewhere; None if unknown.

    Attributes:
        events: Number of missing events.
        is_exact: True if the number is exact, and not a lower bound.
    """

    def __init__(self, first: int, *, after: int | None = None) -> None:
        self._following = first
        self._after = after
        self._pending: list[Damage] = []
        self.events = 0
        self.is_exact = True

    def damage(self, damage: Damage) -> None:
        """Record a damaged part."""
        self._pending.append(damage)

    def record(self, record: Record) -> None:
        """Record a readable record."""
        if not self._following and self._pending and self._after is not None:
            self._following = self._after + 1
        if self._following:
            self.events += max(0, record.first - max(self._following, (self._after or 0) + 1))
        else:
            self._count_pending()
        self._pending.clear()
        self._following = max(self._following, record.last + 1)

    def end(self) -> None:
        """Record the end of the file."""
        self._count_pending()
        self._pending.clear()

    def _count_pending(self) -> None:
        for damage in self._pending:
            if not damage.events:
                self.is_exact = False
                continue
            last = damage.first + damage.events - 1
            start = max(damage.first, self._following, (self._after or 0) + 1)
            self.events += max(0, last - start + 1)
            self._following = max(self._following, last + 1)


class _Records1:
    """The reader for records of version 1: no magic, and a checksum of the batch alone."""

    def read(self, pread: Pread, offset: int) -> tuple[Record, bytes | None] | None:
        head = pread(offset, _RECORD_1.size)
        if len(head) < _RECORD_1.size:
            return None
        size, checksum, first, events = _RECORD_1.unpack(head)
        if size > _MAX_RECORD_BYTES:
            return None
        batch = pread(offset + _RECORD_1.size, size)
        if len(batch) < size or zlib.crc32(batch, first & 0xFFFF_FFFF) != checksum:
            return None
        try:
            message = report_pb2.Batch.FromString(batch)
        except Exception:  # noqa: BLE001 - DecodeError; its module depends on the implementation
            return None
        # No checksum protects the other fields of the head, so they come from the batch.
        first, events = message.first_sequence, len(message.events)
        if first < 1 or events < 1:
            return None
        return Record(offset, offset + _RECORD_1.size + size, first, events), batch

    def find(self, pread: Pread, offset: int) -> int | None:
        reach = _RECORD_1.size + 1
        while len(chunk := pread(offset, _SCANNED_BYTES + reach)) >= reach:
            for match in _RECORD_1_PATTERN.finditer(chunk):
                if match.start() >= _SCANNED_BYTES:
                    break
                if self.read(pread, offset + match.start()) is not None:
                    return offset + match.start()
            offset += _SCANNED_BYTES
        return None


class _Records2:
    """The reader for records of version 2."""

    def __init__(self, session_id: str) -> None:
        self._seed = zlib.crc32(session_id.encode())

    def read(self, pread: Pread, offset: int) -> tuple[Record, bytes | None] | None:
        head = pread(offset, _RECORD_BYTES)
        if len(head) < _RECORD_BYTES:
            return None
        magic, size, first, events, checksum = _RECORD.unpack_from(head)
        if magic != _RECORD_MAGIC or _CHECKSUM.unpack_from(head, _RECORD.size) != (
            zlib.crc32(head[: _RECORD.size], self._seed),
        ):
            return None
        if size > _MAX_RECORD_BYTES or first < 1 or not 0 < events <= _MAX_EVENTS:
            return None
        record = Record(offset, offset + _RECORD_BYTES + size, first, events)
        batch = pread(offset + _RECORD_BYTES, size)
        if len(batch) < size or zlib.crc32(batch, self._seed) != checksum:
            return record, None
        return record, batch

    def find(self, pread: Pread, offset: int) -> int | None:
        reach = len(_RECORD_MAGIC) - 1
        while len(chunk := pread(offset, _SCANNED_BYTES + reach)) > reach:
            place = chunk.find(_RECORD_MAGIC)
            while place >= 0:
                if self.read(pread, offset + place) is not None:
                    return offset + place
                place = chunk.find(_RECORD_MAGIC, place + 1)
            offset += _SCANNED_BYTES
        return None


def _opening_2(beginning: bytes) -> Opening | None:
    """Parse one of the two headers of version 2; return None if neither can be read."""
    place = beginning.find(_HEADER_MAGIC)
    while place >= 0:
        text = _framed(beginning, place)
        if text is not None:
            # The offset shows whether this is the first or the second header.
            size = _HEADER.size + len(text)
            start = len(_LINE) + 2 * size
            is_whole = beginning.startswith(_LINE) and all(
                _framed(beginning, len(_LINE) + number * size) == text for number in (0, 1)
            )
            if place > len(_LINE):
                start = place + size
            header = _header(text)
            return Opening(header, _Records2(header.session_id), start, is_whole)
        place = beginning.find(_HEADER_MAGIC, place + 1)
    return None


def _framed(data: bytes, offset: int) -> bytes | None:
    head = data[offset : offset + _HEADER.size]
    if len(head) < _HEADER.size:
        return None
    magic, length, checksum = _HEADER.unpack(head)
    text = data[offset + _HEADER.size : offset + _HEADER.size + length]
    is_right = magic == _HEADER_MAGIC and len(text) == length and zlib.crc32(text) == checksum
    return text if is_right else None


def _opening_1(beginning: bytes, name: str) -> Opening | None:
    """Parse the header of version 1; return None if it cannot be read."""
    at = len(_LINE_1)
    if not beginning.startswith(_LINE_1) or len(beginning) < at + _LENGTH_1.size:
        return None
    (length,) = _LENGTH_1.unpack_from(beginning, at)
    start = at + _LENGTH_1.size + length
    if length > _MAX_HEADER_BYTES or len(beginning) < start:
        return None
    try:
        header = _header(beginning[start - length : start])
    except SpoolFormatError:
        return None
    if _is_session(name) and header.session_id != name:
        # The header has no checksum, but the file's name must agree with it.
        return Opening(SpoolHeader(name, None, header.client), _Records1(), start, is_whole=False)
    return Opening(header, _Records1(), start, is_whole=True)


def _lost_opening(pread: Pread, name: str) -> Opening:
    """Search a file with an unreadable header for records.

    Raises:
        SpoolFormatError: There are none, or their session is unknown.
    """
    beginning = pread(0, 64)
    if _is_session(name):
        for records in (_Records2(name), _Records1()):
            start = records.find(pread, 0)
            if start is not None:
                header = SpoolHeader(name, None, created_at=0.0)
                return Opening(header, records, start, is_whole=False)
    line = _ANY_LINE.match(beginning)
    if line is not None and int(line[1]) > 2:
        raise SpoolFormatError(
            f"it has format {line[1].decode()}, of a newer flowspan: upgrade this one to send it",
            is_foreign=True,
        )
    if not beginning:
        raise SpoolFormatError(
            "it is empty: its contents were lost, perhaps in a crash of the machine"
        )
    if line is not None:
        raise SpoolFormatError("its header is damaged, and it contains no intact record")
    raise SpoolFormatError("it is not a spool, or nothing in it can be read")


def _is_session(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _header(text: bytes) -> SpoolHeader:
    """Parse a header's JSON, and drop values that could not be passed on.

    Raises:
        SpoolFormatError: The header is damaged.
    """
    try:
        values = json.loads(text)
        client = {
            name: str(value)
            for name, value in values["client"].items()
            if name in _CLIENT_FIELDS and len(str(value)) <= MAX_NAME_BYTES
        }
        process_id = client.get("process_id", "0")
        if not (process_id.isascii() and process_id.isdecimal() and int(process_id) < 1 << 31):
            del client["process_id"]
        header = SpoolHeader(
            session_id=str(values["session_id"]),
            address=str(values["address"]),
            client=client,
            created_at=float(values["created_at"]),
            first_sequence=int(values.get("first_sequence", 0)),
            secret=bytes.fromhex(values.get("secret", "")),
        )
        for each in (header.session_id, str(header.address), *client.values()):
            each.encode()  # JSON can encode a lone surrogate
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SpoolFormatError(f"its header is damaged: {error!r:.200}") from error
    is_a_time = math.isfinite(header.created_at) and 0 <= header.created_at < _MAX_YEAR_9999_S
    if not is_a_time or header.first_sequence < 0:
        raise SpoolFormatError("its header is damaged: its time or sequence is invalid")
    return header
