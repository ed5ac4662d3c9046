"""The file format of a stored result.

The first line identifies the format, the second is a JSON object (the header), and the rest is the
serialized value::

    flowspan-result/1
    {"key": "…", "serializer": {"type": "pickle", …}, "created": …, "run_id": "…", …}
    <the value>
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flowspan.core.failures import summary
from flowspan.exceptions import ResultUnreadable
from flowspan.serializers import describe, from_description

if TYPE_CHECKING:
    from flowspan.serializers import SerializerLike

_MAGIC = b"flowspan-result/1\n"
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRecord:
    """A stored result.

    Attributes:
        key: The key under which it is stored.
        body: The serialized value.
        serializer: The description of the serializer (`flowspan.serializers.describe`).
        created_ns: The time of writing, in nanoseconds since 1970 UTC.
        expires_ns: The time from which caches ignore it; None for never.
        run_id: The run that produced it; empty if no run did.
        location: The URL of the file with the value, if this file is only a pointer to it; else
            empty.
    """

    key: str
    body: bytes
    serializer: dict[str, Any]
    created_ns: int
    expires_ns: int | None = None
    run_id: str = ""
    location: str = ""

    @property
    def expiration(self) -> datetime | None:
        """The instant from which caches ignore it; None for never."""
        return None if self.expires_ns is None else _instant(self.expires_ns)

    @property
    def created(self) -> datetime:
        """The instant of writing."""
        return _instant(self.created_ns)

    @property
    def result(self) -> Any:
        """The value, deserialized on each access.

        Raises:
            ResultUnreadable: It cannot be read here.
        """
        return self.load()

    def load(self, known: SerializerLike | None = None) -> Any:
        """Deserialize the value.

        Args:
            known: The caller's serializer; see `flowspan.serializers.from_description`.

        Raises:
            ResultUnreadable: It cannot be read here; the message says why.
        """
        try:
            return from_description(self.serializer, known).loads(self.body)
        except Exception as error:
            raise ResultUnreadable(
                f"The result {self.key!r} cannot be read ({summary(error)})."
            ) from error


def made_record(
    value: Any,
    serializer: SerializerLike,
    *,
    key: str,
    created_ns: int,
    expires_ns: int | None = None,
    run_id: str = "",
) -> ResultRecord:
    """Return the record of a value.

    Raises:
        SerializationError: The serializer cannot write it. (A custom one may raise anything.)
    """
    return ResultRecord(
        key=key,
        body=bytes(serializer.dumps(value)),
        serializer=describe(serializer),
        created_ns=created_ns,
        expires_ns=expires_ns,
        run_id=run_id,
    )


def pack(record: ResultRecord) -> bytes:
    """Encode the record as the bytes of its file."""
    header = {
        "key": record.key,
        "serializer": record.serializer,
        "created": record.created_ns,
        "expires": record.expires_ns,
        "run_id": record.run_id,
        "location": record.location,
        "size": len(record.body),
        "crc32": zlib.crc32(record.body),
    }
    return b"".join((_MAGIC, json.dumps(header).encode(), b"\n", record.body))


def unpack(data: bytes) -> ResultRecord:
    """Decode the bytes of a file.

    Raises:
        ResultUnreadable: It is not a result, or damaged.
    """
    if not data.startswith(_MAGIC):
        raise ResultUnreadable("it is not a flowspan result")
    line, _, body = data[len(_MAGIC) :].partition(b"\n")
    try:
        header = json.loads(line)
        expires = header["expires"]
        record = ResultRecord(
            key=str(header["key"]),
            body=body,
            serializer=dict(header["serializer"]),
            created_ns=int(header["created"]),
            expires_ns=None if expires is None else int(expires),
            run_id=str(header["run_id"]),
            location=str(header["location"]),
        )
        is_whole = header["size"] == len(body) and header["crc32"] == zlib.crc32(body)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ResultUnreadable(f"its header is damaged ({type(error).__name__}: {error})") from None
    if not is_whole:
        raise ResultUnreadable("it is incomplete: its size or checksum is wrong")
    return record


def _instant(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / _NS_PER_S, UTC)
