"""Division of log records that are larger than a frame: whole messages, contiguous sequences."""

from __future__ import annotations

import random

import pytest

from flowspan.reporter.encoding.events import batch_bytes, batch_frame
from flowspan.reporter.encoding.single_events import item_of
from flowspan.reporter.log_division import LogDivision
from flowspan.reporter.outbox import Batch
from flowspan.v1 import report_pb2

LIMIT = 1024
WIDE = "aß東🌍"


def log(message: str, index: int = 0, count: int = 0, *, run: str = "run") -> report_pb2.Event:
    event = report_pb2.Event()
    event.log.run_id, event.log.message = run, message
    event.log.chunk_index, event.log.chunk_count = index, count
    return event


def state(number: int = 1) -> report_pb2.Event:
    event = report_pb2.Event()
    event.state_entered.run_id, event.state_entered.attempt = "run", number
    return event


def pieces(message: str, size: int) -> list[report_pb2.Event]:
    texts = [message[start : start + size] for start in range(0, len(message), size)]
    return [log(text, index, len(texts)) for index, text in enumerate(texts)]


def batches_of(*groups: list[report_pb2.Event]) -> list[Batch]:
    batches, first = [], 1
    for group in groups:
        data = batch_bytes(first, [item_of(event.SerializeToString()) for event in group])
        batches.append(Batch(first, first + len(group) - 1, data))
        first += len(group)
    return batches


def divide(
    batches: list[Batch], *, after: int = 0, largest: int = LIMIT, target: int = LIMIT
) -> tuple[LogDivision, list[Batch]]:
    division = LogDivision(after=after, largest=largest, target=target)
    for batch in batches:
        division.look(batch.data or b"")
    return division, [division.divided(batch, batch.data or b"") for batch in batches]


def events_of(batches: list[Batch]) -> list[report_pb2.Event]:
    """Return the events; check that the sequences are contiguous."""
    events: list[report_pb2.Event] = []
    for batch in batches:
        read = report_pb2.Batch.FromString(batch.data or b"")
        assert read.first_sequence == batch.first == len(events) + 1
        assert len(read.events) == batch.last - batch.first + 1
        assert batch.size == len(batch.data or b"")
        events += read.events
    return events


def messages_of(events: list[report_pb2.Event]) -> list[str]:
    """Return the messages of the logs, joined; check the numbers of their pieces."""
    messages: list[str] = []
    following, count = 0, 0
    for event in events:
        if event.HasField("log"):
            record = event.log
            assert record.chunk_index == following
            if following == 0:
                messages.append("")
                count = max(record.chunk_count, 1)
            assert max(record.chunk_count, 1) == count
            messages[-1] += record.message
            following = (following + 1) % count
    assert following == 0, "a message is not complete"
    return messages


def attempts(events: list[report_pb2.Event]) -> list[int]:
    """Return the attempts of the states, which number them here."""
    return [each.state_entered.attempt for each in events if each.HasField("state_entered")]


def frames_of(events: list[report_pb2.Event]) -> list[int]:
    items = (item_of(event.SerializeToString()) for event in events)
    return [len(batch_frame(batch_bytes(1 << 40, [item]))) for item in items]


def test_records_that_fit_are_left_as_they_are() -> None:
    batches = batches_of([state(), log("short")], pieces("y" * 900, 300))
    division, same = divide(batches)
    assert not division.is_needed
    assert [batch.data for batch in same] == [batch.data for batch in batches]
    assert division.moved(5) == 5


def test_piece_is_divided_and_all_pieces_are_numbered_anew() -> None:
    message = "".join(map(str, range(1500)))
    batches = batches_of([log("before"), *pieces(message, 2000)], [log("after"), state()])
    division, made = divide(batches)
    assert division.is_needed
    events = events_of(made)
    assert messages_of(events) == ["before", message, "after"]
    assert max(frames_of(events)) <= LIMIT
    assert events[-1] == state()


@pytest.mark.parametrize("seed", range(20))
def test_no_order_of_batches_loses_anything(seed: int) -> None:
    choice = random.Random(seed)
    messages, groups = [], [[state()]]
    for number in range(choice.randint(1, 6)):
        message = "".join(choice.choices(WIDE, k=choice.choice([3, 200, 700, 5000])))
        messages.append(message)
        for piece in pieces(message, choice.choice([150, 900, 2000])):
            if choice.random() < 0.4:
                groups.append([state(number)])
            groups[-1].append(piece)
    batches = batches_of(*groups)
    division, made = divide(batches)
    events = events_of(made)
    assert messages_of(events) == messages
    assert max(frames_of(events)) <= LIMIT
    given = [event for group in groups for event in group]
    assert attempts(events) == attempts(given)
    last = sum(map(len, groups))
    assert division.moved(last) == len(events)


def test_new_pieces_have_the_target_and_others_only_the_limit() -> None:
    message = "z" * 3000
    division, made = divide(batches_of([log("x" * 800), log(message)]), largest=1000, target=500)
    assert division.is_needed
    sizes = frames_of(events_of(made))
    assert 800 < sizes[0] <= 1000
    assert max(sizes[1:]) <= 500


def test_stored_pieces_are_not_numbered_anew() -> None:
    """The rest of such a message is a message of its own; nothing is lost."""
    given = pieces("a" * 2000 + "b" * 2000 + "c" * 2000, 2000)
    division, (made,) = divide(batches_of(given), after=1)
    assert division.is_needed
    stored, *rest = report_pb2.Batch.FromString(made.data or b"").events
    assert stored == given[0]
    assert messages_of(rest) == ["b" * 2000 + "c" * 2000]


def test_sequences_are_moved_behind_divided_records() -> None:
    given = [state(), log("x" * 3000), state(), log("y" * 1500), state()]
    division, (made,) = divide(batches_of(given))
    events = report_pb2.Batch.FromString(made.data or b"").events
    assert division.moved(1) == 1
    assert division.moved(0) == 0
    for former in (3, 5):
        assert events[division.moved(former) - 1] == state()
    assert events[division.moved(2) - 1].log.chunk_index + 1 == events[1].log.chunk_count


def test_record_whose_other_fields_are_too_large_is_left() -> None:
    event = log("x" * 300, run="r" * 1000)
    division, made = divide(batches_of([event]))
    assert not division.is_needed
    assert events_of(made) == [event]


def test_batch_of_short_runs_without_large_records_stays_joined() -> None:
    joined = report_pb2.Event()
    joined.run_completed.created.run_id = "short"
    first = batches_of([log("x" * 3000)])[0]
    second = Batch(2, 4, batch_bytes(2, [item_of(joined.SerializeToString())]))
    second.has_short_runs = True
    _, made = divide([first, second])
    assert made[1].has_short_runs
    assert (made[1].first, made[1].last) == (made[0].last + 1, made[0].last + 3)
    read = report_pb2.Batch.FromString(made[1].data or b"")
    assert (read.first_sequence, list(read.events)) == (made[1].first, [joined])
