"""Placeholders for events that cannot be sent: the sequences of a session may have no gaps.

A placeholder is an event of a kind that no service knows. By the protocol, the service answers it
with REJECTED and skips it.
"""

from __future__ import annotations

from flowspan.reporter.encoding.events import batch_bytes
from flowspan.reporter.encoding.single_events import item_of, single_events

PLACEHOLDER = b"\xc2\x3e\x00"
"""A flowspan.v1.Event that contains only an empty message as field 1000."""

_ITEM = item_of(PLACEHOLDER)


def placeholder_items(count: int) -> bytes:
    """Return this number of placeholders, for a batch that also has other events."""
    return _ITEM * count


def placeholder_batch(first: int, count: int) -> bytes:
    """Return a batch of placeholders only."""
    return batch_bytes(first, [placeholder_items(count)])


def without_event(batch: bytes, sequence: int) -> bytes | None:
    """Return the batch with a placeholder for one event; None if the event is not in it."""
    from flowspan.v1 import report_pb2  # noqa: PLC0415 - rarely needed

    message = report_pb2.Batch.FromString(batch)
    index = sequence - message.first_sequence
    items = [item_of(event.SerializeToString()) for event in single_events(message)]
    if not 0 <= index < len(items):
        return None
    items[index] = _ITEM
    return batch_bytes(message.first_sequence, items)
