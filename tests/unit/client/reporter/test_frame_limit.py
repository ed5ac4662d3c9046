"""Division of batches that exceed the limit of a frame."""

from __future__ import annotations

import pytest

from flowspan.reporter.encoding.events import batch_bytes
from flowspan.reporter.encoding.protobuf import varint
from flowspan.reporter.frame_limit import FrameLimit
from flowspan.reporter.placeholders import PLACEHOLDER
from flowspan.v1 import report_pb2, report_service_pb2


def event(size: int, number: int = 0) -> bytes:
    """Return an event of about this size."""
    log = report_pb2.Event()
    log.log.message = f"{number}:" + "x" * size
    return log.SerializeToString()


def batch(first: int, sizes: list[int]) -> bytes:
    events = [event(size, number) for number, size in enumerate(sizes, first)]
    return batch_bytes(first, [b"\x12" + varint(len(each)) + each for each in events])


class Sent:
    """Sends a batch through a limit."""

    def __init__(self) -> None:
        self.lost: list[int] = []
        self.limit = FrameLimit(self.lost.append)

    def send(self, first: int, sizes: list[int]) -> list[report_pb2.Batch]:
        """Send, and check that the frames have all events in order."""
        data = batch(first, sizes)
        self.frames = list(self.limit.frames(data, first + len(sizes) - 1))
        batches = [report_service_pb2.ReportRequest.FromString(each).batch for each in self.frames]
        following = first
        for each in batches:
            assert each.first_sequence == following
            following += len(each.events)
            assert each.events
        assert following == first + len(sizes)
        events = [each.SerializeToString() for part in batches for each in part.events]
        whole = report_pb2.Batch.FromString(data).events
        for sequence, (given, sent) in enumerate(zip(whole, events, strict=True), first):
            assert sent == (PLACEHOLDER if sequence in self.lost else given.SerializeToString())
        return batches

    def largest(self) -> int:
        return max(map(len, self.frames))


def test_batch_within_the_limit_is_one_frame() -> None:
    sent = Sent()
    assert len(sent.send(1, [10] * 100)) == 1
    sent.limit.connected(sent.largest())
    assert len(sent.send(1, [10] * 100)) == 1
    assert sent.lost == []


def test_larger_batch_is_divided() -> None:
    sent = Sent()
    for limit in (500, 1000, 2000):
        sent.limit.connected(limit)
        sent.send(7, [10, 300, 20, 100, 400] * 20)
        assert sent.largest() <= limit
    assert len(sent.frames) < 12
    assert sent.lost == []


def test_event_that_never_fits_is_replaced_and_said_once() -> None:
    sent = Sent()
    sent.limit.connected(1000)
    for _ in range(2):
        sent.send(5, [10, 2000, 10, 3000])
        assert sent.largest() <= 1000
    assert sent.lost == [6, 8]


def test_refused_size_is_not_sent_again() -> None:
    sent = Sent()
    sent.limit.connected(0)
    assert not sent.limit.learn()
    sent.send(1, [100] * 50)
    size = sent.largest()
    assert sent.limit.learn()
    assert not sent.limit.learn()
    sent.limit.connected(1 << 20)
    sent.send(1, [100] * 50)
    assert sent.largest() <= size // 2
    assert sent.lost == []


def test_event_smaller_than_a_refused_frame_is_sent_alone() -> None:
    """The limit is somewhere below the refused size: perhaps it fits."""
    sent = Sent()
    sent.send(1, [600, 10, 600])
    assert sent.limit.learn()
    assert [len(each.events) for each in sent.send(1, [10, 900, 10])] == [1, 1, 1]
    assert sent.lost == []
    assert sent.limit.learn()
    sent.send(1, [10, 900, 10])
    assert sent.lost == [2]


def test_accepted_frames_teach_nothing() -> None:
    sent = Sent()
    sent.send(1, [1000] * 4)
    sent.send(5, [10] * 4)
    small = sent.largest()
    sent.limit.acked(4)
    assert sent.limit.learn()
    sent.send(5, [1] * 2)
    assert sent.largest() < small
    assert sent.limit.learn()


@pytest.mark.parametrize("limit", range(60, 400, 7))
@pytest.mark.parametrize("first", [1, 127, 1 << 40])
def test_no_frame_exceeds_the_limit(limit: int, first: int) -> None:
    sent = Sent()
    sent.limit.connected(limit)
    sent.send(first, [*range(0, 200, 3), *range(200, 0, -7)])
    assert sent.largest() <= limit
