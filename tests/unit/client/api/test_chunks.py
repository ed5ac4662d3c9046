from __future__ import annotations

from flowspan.api.chunks import BackwardJoiner, ChunkJoiner
from flowspan.v1 import log_pb2

RUN_A = "01a202d9-d289-7000-80f1-12b060cb7443"
RUN_B = "01a202d9-d289-7000-80f1-12b060cb7444"


def record(position, message, *, run_id=RUN_A, index=0, count=1, seconds=5):
    made = log_pb2.LogRecord(
        position=position, run_id=run_id, message=message, chunk_index=index, chunk_count=count
    )
    made.time.seconds = seconds
    return made


def messages(records):
    return [made.message for made in records]


def test_records_in_one_piece_go_through():
    joiner = ChunkJoiner()
    assert messages(joiner.join([record(1, "a", count=0), record(2, "b", count=1)])) == ["a", "b"]


def test_pieces_of_records_that_are_mixed_find_their_own():
    joiner = ChunkJoiner()
    mixed = [
        record(1, "a0", index=0, count=2),
        record(2, "b0", run_id=RUN_B, index=0, count=2),
        record(3, "between"),
        record(4, "b1", run_id=RUN_B, index=1, count=2),
        record(5, "a1", index=1, count=2),
    ]
    assert messages(joiner.join(mixed)) == ["between", "b0b1", "a0a1"]
    assert not list(joiner.rest())


def test_pieces_may_come_in_several_pages():
    joiner = ChunkJoiner()
    assert messages(joiner.join([record(1, "x", index=0, count=3)])) == []
    assert messages(joiner.join([record(2, "y", index=1, count=3)])) == []
    assert messages(joiner.join([record(3, "z", index=2, count=3)])) == ["xyz"]


def test_two_long_records_of_a_run_stay_two():
    joiner = ChunkJoiner()
    pieces = [
        record(1, "a", index=0, count=2, seconds=5),
        record(2, "b", index=1, count=2, seconds=5),
        record(3, "c", index=0, count=2, seconds=6),
        record(4, "d", index=1, count=2, seconds=6),
    ]
    assert messages(joiner.join(pieces)) == ["ab", "cd"]


def test_what_never_became_whole_is_not_lost():
    joiner = ChunkJoiner()
    assert messages(joiner.join([record(1, "half", index=0, count=2)])) == []
    assert messages(joiner.rest()) == ["half"]
    assert messages(joiner.rest()) == []


def test_backward_the_last_piece_comes_first():
    joiner = BackwardJoiner()
    mixed = [
        record(1, "a0", index=0, count=2),
        record(2, "b0", run_id=RUN_B, index=0, count=2),
        record(3, "between"),
        record(4, "b1", run_id=RUN_B, index=1, count=2),
        record(5, "a1", index=1, count=2),
    ]
    newest_first = mixed[::-1]
    assert messages(joiner.join(newest_first[:3])) == ["between"]
    assert joiner.is_waiting
    whole = list(joiner.join(newest_first[3:]))
    assert [(made.position, made.message) for made in whole] == [(4, "b0b1"), (5, "a0a1")]
    assert not joiner.is_waiting
    assert joiner.unfinished == []


def test_backward_records_that_are_not_whole():
    joiner = BackwardJoiner()
    no_end = [record(1, "a0", index=0, count=3), record(2, "a1", index=1, count=3)]
    no_beginning = record(3, "b2", run_id=RUN_B, index=2, count=3)
    assert not list(joiner.join([no_beginning, *no_end[::-1]]))
    assert joiner.unfinished == no_end
    assert messages(joiner.rest()) == ["b2"]
    forward = ChunkJoiner()
    forward.resume(joiner.unfinished)
    assert messages(forward.join([record(4, "a2", index=2, count=3)])) == ["a0a1a2"]
