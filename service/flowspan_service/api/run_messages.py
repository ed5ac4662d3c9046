"""A cache of the encoded messages of runs.

Lists are requested repeatedly, and most runs in them have ended. Reading and encoding a run takes
fifty times as long as a hit in the cache.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from flowspan_service.api import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.app.ports import Store
    from flowspan_service.app.ports.runs import RunKey, RunQuery
    from flowspan_service.domain.runs import Run

KEPT_BYTES = 16 * limits.MIB
LARGEST_KEPT = 64 * limits.KIB
_OVERHEAD_BYTES = 400
"""The memory of an entry besides its message."""
_FIRST_FIELD = b"\x0a"
"""The tag of field 1 with a length: the runs in the responses of both lists."""


class RunMessages:
    """Pages of runs of one kind, as the bytes of field 1 of a response. Thread-safe.

    Args:
        store: The store of the runs.
        make: Makes the message of a run.
    """

    def __init__(self, store: Store, make: Callable[[Run], Any]) -> None:
        self._store = store
        self._make = make
        self._kept: dict[RunKey, bytes] = {}
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def page(self, query: RunQuery) -> tuple[bytes, str | None]:
        """Return the runs of a page, and the id of the last one; None on the last page.

        A page ends early if its message would become too large.
        """
        keys = self._store.runs.list_keys(query)
        parts: list[bytes] = []
        size = 0
        last_id: str | None = None
        for start in range(0, len(keys.items), limits.RUNS_AT_ONCE):
            chunk = keys.items[start : start + limits.RUNS_AT_ONCE]
            for key, part in zip(chunk, self._encoded(chunk), strict=True):
                if parts and size + len(part) > limits.PAGE_MESSAGE:
                    return b"".join(parts), last_id
                parts.append(part)
                size += len(part)
                last_id = key.id
        return b"".join(parts), last_id if parts and keys.has_more else None

    def _encoded(self, keys: list[RunKey]) -> list[bytes]:
        """Return the field of each run; empty for a run that was deleted in the meantime."""
        found = list(map(self._kept.get, keys))
        missing = [key.id for key, part in zip(keys, found, strict=True) if part is None]
        if not missing:
            return found  # type: ignore[return-value] # none of them is None
        runs = self._store.runs.load(missing)
        made = {run.id: self._encode(run) for run in runs}
        settled = {run.id for run in runs if not _awaits_parent(run)}
        parts = [part or made.get(key.id, b"") for key, part in zip(keys, found, strict=True)]
        self._keep({key: part for key, part in zip(keys, parts, strict=True) if key.id in settled})
        return parts

    def _encode(self, run: Run) -> bytes:
        data: bytes = self._make(run).SerializeToString()
        return _FIRST_FIELD + _varint(len(data)) + data

    def _keep(self, parts: dict[RunKey, bytes]) -> None:
        with self._lock:
            for key, part in parts.items():
                if len(part) > LARGEST_KEPT or key in self._kept:
                    continue
                self._kept[key] = part
                self._kept_bytes += len(part) + _OVERHEAD_BYTES
            while self._kept_bytes > KEPT_BYTES:
                oldest = next(iter(self._kept))
                self._kept_bytes -= len(self._kept.pop(oldest)) + _OVERHEAD_BYTES


def _awaits_parent(run: Run) -> bool:
    """Return True if the derived trace context of a run may change when its parent arrives."""
    trace = run.trace
    if trace is None or not trace.exported_by_service or run.parent_run_id is None:
        return False
    return not trace.parent_span_id


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
