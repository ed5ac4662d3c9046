"""The events of an encoded batch, one for each sequence.

The generated classes are imported late: the reporter needs them only when a service is replaced or
refuses a frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.reporter.encoding.events import batch_bytes
from flowspan.reporter.encoding.protobuf import varint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.v1 import report_pb2


def expanded(batch: bytes) -> bytes:
    """Return the batch with three events in place of each RunCompleted, for any service.

    The sequences stay the same.
    """
    from flowspan.v1 import report_pb2  # noqa: PLC0415 - see the top

    message = report_pb2.Batch.FromString(batch)
    items = [item_of(event.SerializeToString()) for event in single_events(message)]
    return batch_bytes(message.first_sequence, items)


def divided(batch: bytes, most: int) -> Iterator[tuple[int, int, bytes]]:
    """Divide a batch into ones of at most this number of events.

    Yields:
        The first and the last sequence of each, and its bytes.
    """
    from flowspan.v1 import report_pb2  # noqa: PLC0415 - see the top

    message = report_pb2.Batch.FromString(batch)
    items = [item_of(event.SerializeToString()) for event in single_events(message)]
    for start in range(0, len(items), most):
        part = items[start : start + most]
        first = message.first_sequence + start
        yield first, first + len(part) - 1, batch_bytes(first, part)


def single_events(batch: report_pb2.Batch) -> Iterator[report_pb2.Event]:
    """Yield the event of each sequence of a batch."""
    for event in batch.events:
        if event.HasField("run_completed"):
            yield from _parts(event.run_completed)
        else:
            yield event


def item_of(event: bytes) -> bytes:
    """Encode an event as an item of a batch."""
    return b"\x12" + varint(len(event)) + event


def _parts(completed: report_pb2.RunCompleted) -> Iterator[report_pb2.Event]:
    from flowspan.v1 import report_pb2, state_pb2  # noqa: PLC0415 - see the top

    run_id = completed.created.run_id
    running = state_pb2.State(
        type=state_pb2.STATE_TYPE_RUNNING, name="Running", time=completed.start_time
    )
    yield report_pb2.Event(run_created=completed.created)
    for state in (running, completed.ended):
        entered = report_pb2.StateEntered(run_id=run_id, attempt=1, state=state)
        yield report_pb2.Event(state_entered=entered)
