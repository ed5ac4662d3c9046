"""The backlog without thread and network: built, spooled, acked and lost events."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.engine_events import RUNNING, created, entered, flow_record, logged

from flowspan.config import Config
from flowspan.core.events import ARTIFACT, ARTIFACT_CHANGE
from flowspan.reporter.backlog import MAX_SENT_BYTES, Backlog
from flowspan.reporter.frame_limit import FrameLimit
from flowspan.reporter.intake import (
    FLUSH,
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    Builder,
    FlushRequest,
    Intake,
)
from flowspan.reporter.spool import spool as spool_module
from flowspan.reporter.spool.file import SpoolFile
from flowspan.reporter.spool.orphans import list_spools
from flowspan.v1 import report_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowspan.reporter.outbox import Outbox

RUN_ID = str(uuid.uuid4())
SESSION_ID = str(uuid.uuid4())
STARTED = entered(RUN_ID, RUNNING, "Running")


@pytest.fixture
def intake() -> Intake:
    return Intake()


@pytest.fixture
def make_backlog(tmp_path: Path, intake: Intake) -> Callable[..., Backlog]:
    def make(**settings: Any) -> Backlog:
        config = Config(home=tmp_path, address="127.0.0.1:1", **settings)
        return Backlog(config, SESSION_ID, intake)

    return make


@pytest.fixture
def backlog(make_backlog: Callable[..., Backlog]) -> Backlog:
    return make_backlog()


def events_of(backlog: Backlog) -> list[Any]:
    """Return all unacknowledged events; check their sequences."""
    events: list[Any] = []
    for batch in backlog.outbox:
        read = report_pb2.Batch.FromString(backlog.spool.load(backlog.outbox, batch))
        assert read.first_sequence == batch.first == backlog.outbox.acked + len(events) + 1
        assert len(read.events) == batch.last - batch.first + 1
        events += read.events
    return events


def kinds_of(backlog: Backlog) -> list[str | None]:
    return [event.WhichOneof("event") for event in events_of(backlog)]


def ask_for_flush(intake: Intake) -> FlushRequest:
    request = FlushRequest()
    intake.states.append((FLUSH, request))
    intake.logs.append((FLUSH, request))
    return request


def send_all(backlog: Backlog) -> None:
    while (batch := backlog.outbox.next) is not None:
        backlog.outbox.sent(batch)


def test_states_overtake_logs(backlog: Backlog, intake: Intake) -> None:
    intake.put_log(logged(RUN_ID, "early"))
    intake.states += [created(flow_record(RUN_ID)), STARTED]
    backlog.build()
    assert kinds_of(backlog) == ["run_created", "state_entered", "log"]


def test_a_flood_of_logs_fills_one_batch_before_the_next_state(
    backlog: Backlog, intake: Intake
) -> None:
    for _ in range(20):
        intake.put_log(logged(RUN_ID, "x" * 100_000))
    backlog.build()
    intake.states.append(STARTED)
    backlog.build()
    first, second = backlog.outbox
    assert MAX_BATCH_BYTES <= first.size < MAX_BATCH_BYTES + 110_000
    read = report_pb2.Batch.FromString(second.data or b"")
    assert read.events[0].WhichOneof("event") == "state_entered"


def test_the_pieces_of_a_long_log_go_on_in_the_next_batch(backlog: Backlog, intake: Intake) -> None:
    intake.put_log(logged(RUN_ID, "y" * (5 << 18)))
    assert intake.large_bytes == 5 << 18
    backlog.build()
    assert intake.large_bytes == 0
    assert backlog.has_unbuilt
    intake.states.append(STARTED)
    while backlog.has_unbuilt:
        backlog.build()
    kinds = kinds_of(backlog)
    assert kinds.count("log") == 5
    assert kinds.index("state_entered") < 4, "the state event had to wait for the whole log"
    indexes = [e.log.chunk_index for e in events_of(backlog) if e.WhichOneof("event") == "log"]
    assert indexes == [0, 1, 2, 3, 4]


def test_artifacts_stand_among_the_states_and_count_as_large(
    backlog: Backlog, intake: Intake
) -> None:
    run = flow_record(RUN_ID)
    data = b"1" * (1 << 20)
    intake.states.append(created(run))
    intake.put_artifact((ARTIFACT, run.id, run.id, "", "table", "d", data, 5))
    intake.put_artifact((ARTIFACT_CHANGE, run.id, None, b"2", 6))
    intake.put_artifact((ARTIFACT_CHANGE, run.id, "text", None, 7))
    intake.states.append(STARTED)
    assert intake.large_bytes == (1 << 20) + 1
    while backlog.has_unbuilt:
        backlog.build()
    assert intake.large_bytes == 0
    assert kinds_of(backlog) == [
        *("run_created", "artifact_created", "artifact_changed", "artifact_changed"),
        "state_entered",
    ]


def test_artifacts_that_are_thrown_away_are_not_counted_any_more(intake: Intake) -> None:
    intake.put_artifact((ARTIFACT, "a", "", "", "table", "d", b"1" * 2000, 5))
    assert intake.large_bytes == 2001
    builder = Builder(intake, lambda _event, error: pytest.fail(str(error)))
    assert builder.discard_states(0) == (1, [])
    assert intake.large_bytes == 0


def test_a_flush_waits_for_both_queues(backlog: Backlog, intake: Intake) -> None:
    intake.put_log(logged(RUN_ID, "before"))
    intake.states.append(STARTED)
    request = ask_for_flush(intake)
    backlog.flushes_asked += 1
    intake.put_log(logged(RUN_ID, "after"))
    assert backlog.is_flush_wanted
    backlog.build()
    assert not backlog.is_flush_wanted
    assert request.target == 2
    send_all(backlog)
    backlog.ack(1)
    backlog.resolve_flushes()
    assert not request.done.is_set()
    backlog.ack(2)
    backlog.resolve_flushes()
    assert request.done.is_set()
    assert request.is_acked


def test_an_event_that_cannot_be_encoded_is_left_out(
    backlog: Backlog, intake: Intake, caplog: pytest.LogCaptureFixture
) -> None:
    intake.states += [(1, None), STARTED, (77, "what is this?")]
    intake.put_log(logged(None, "of no run"))  # type: ignore[arg-type] # invalid on purpose
    intake.put_log(logged(RUN_ID, "fine"))
    backlog.build()
    assert kinds_of(backlog) == ["state_entered", "log"]
    assert len(caplog.records) == 3


def test_building_stops_when_the_service_has_enough(backlog: Backlog, intake: Intake) -> None:
    assert backlog.may_build
    for _ in range(2 * MAX_SENT_BYTES // 200_000):
        intake.put_log(logged(RUN_ID, "z" * 200_000))
    while backlog.may_build:
        backlog.build()
        send_all(backlog)
    assert MAX_SENT_BYTES <= backlog.outbox.memory_bytes < MAX_SENT_BYTES + 2 * MAX_BATCH_BYTES
    assert backlog.has_unbuilt
    backlog.ack(backlog.outbox.built)
    assert backlog.may_build
    assert backlog.outbox.memory_bytes == backlog.outbox.sent_bytes == 0


def test_what_was_under_way_is_sent_again_from_where_the_service_is(
    backlog: Backlog, intake: Intake
) -> None:
    for _ in range(4):
        intake.states.append(STARTED)
        backlog.build()
    send_all(backlog)
    backlog.ack(1)
    backlog.resume(3)
    assert backlog.outbox.acked == 3
    assert [(batch.first, batch.last) for batch in backlog.outbox] == [(4, 4)]
    assert backlog.outbox.next is not None
    assert backlog.outbox.unacked_events == 0


def test_all_is_on_disk_while_there_is_no_connection(
    backlog: Backlog, intake: Intake, tmp_path: Path
) -> None:
    intake.states.append(STARTED)
    backlog.build()
    send_all(backlog)
    backlog.outbox.rewind()
    intake.put_log(logged(RUN_ID, "later"))
    assert backlog.build_and_keep()
    (spool,) = list_spools(Config(home=tmp_path))
    assert (spool.session_id, spool.address) == (SESSION_ID, "127.0.0.1:1")
    assert kinds_of(backlog) == ["state_entered", "log"]
    send_all(backlog)
    backlog.ack(1)
    assert list_spools(Config(home=tmp_path)) != []
    backlog.ack(2)
    assert list_spools(Config(home=tmp_path)) == []


def test_what_is_on_disk_does_not_stay_in_memory(backlog: Backlog, intake: Intake) -> None:
    for number in range(300):
        intake.put_log(logged(RUN_ID, f"{number} " + "x" * 100_000))
    assert backlog.build_and_keep()
    assert backlog.outbox.memory_bytes < 10 << 20
    texts = [event.log.message for event in events_of(backlog)]
    assert [text.split()[0] for text in texts] == [str(number) for number in range(300)]


def test_many_small_batches_on_disk_are_remembered_and_sent_as_few(
    backlog: Backlog, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_RELEASE_ABOVE_BYTES", 0)
    for number in range(9000):
        intake.put_log(logged(RUN_ID, f"{number}"))
        assert backlog.build_and_keep()
    assert len(list(backlog.outbox)) == 3
    assert backlog.outbox.memory_bytes == 0
    assert [event.log.message for event in events_of(backlog)] == [str(n) for n in range(9000)]
    backlog.resume(5000)
    assert backlog.outbox.next is not None
    assert backlog.outbox.next.first == 4001
    send_all(backlog)
    backlog.ack(9000)
    assert backlog.is_empty
    assert backlog.outbox.memory_bytes == backlog.outbox.sent_bytes == 0
    assert not backlog.spool.path.exists()


def test_a_full_spool_keeps_a_reserve_for_states_and_says_what_is_lost(
    make_backlog: Callable[..., Backlog], intake: Intake, caplog: pytest.LogCaptureFixture
) -> None:
    backlog = make_backlog(spool_max_bytes=2 << 20)
    for _ in range(40):
        intake.put_log(logged(RUN_ID, "x" * 100_000))
        backlog.build_and_keep()
    assert 15 < backlog.lost_logs < 30
    (record,) = caplog.records
    assert "FLOWSPAN_SPOOL_MAX_BYTES" in record.getMessage()
    for _ in range(100):
        intake.states.append(STARTED)
        assert backlog.build_and_keep()
    assert backlog.lost_states == 0
    kinds = kinds_of(backlog)
    assert kinds.count("state_entered") == 100
    assert kinds.count("log") == 40 - backlog.lost_logs


@pytest.mark.parametrize("spool_max_bytes", [1 << 30, 1], ids=["room", "no room"])
@pytest.mark.parametrize("flood", ["logs", "states"])
def test_keeping_comes_to_an_end_though_more_comes_all_the_time(
    make_backlog: Callable[..., Backlog],
    intake: Intake,
    monkeypatch: pytest.MonkeyPatch,
    flood: str,
    spool_max_bytes: int,
) -> None:
    backlog = make_backlog(spool_max_bytes=spool_max_bytes)
    persist, times = backlog.spool.persist, [0]

    def come() -> None:
        for _ in range(MAX_BATCH_EVENTS):
            if flood == "logs":
                intake.put_log(logged(RUN_ID, "more"))
            else:
                intake.states.append(STARTED)

    def persist_while_more_comes(outbox: Outbox) -> bool:
        times[0] += 1
        assert times[0] < 100, "the loop does not end"
        come()
        return persist(outbox)

    monkeypatch.setattr(backlog.spool, "persist", persist_while_more_comes)
    for _ in range(3):
        come()
    intake.put_log(logged(RUN_ID, "of the first"))
    request = ask_for_flush(intake)
    request.to_spool = True
    backlog.build_and_keep()
    assert backlog.has_unbuilt
    # Every event queued before the start is spooled, or counted as lost.
    backlog.resolve_flushes()
    assert request.done.is_set()


def test_a_flush_passes_though_its_logs_are_lost(
    make_backlog: Callable[..., Backlog], intake: Intake
) -> None:
    backlog = make_backlog(spool_max_bytes=1)
    intake.put_log(logged(RUN_ID, "no place for this"))
    intake.states.append(STARTED)
    request = ask_for_flush(intake)
    request.to_spool = True
    backlog.build_and_keep()
    backlog.resolve_flushes()
    assert request.done.is_set()
    assert not request.is_spooled


def test_a_folder_that_cannot_be_written_leaves_it_in_memory_up_to_a_limit(
    make_backlog: Callable[..., Backlog],
    intake: Intake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "spool").write_text("a file where a folder should be")
    monkeypatch.setattr(spool_module, "_MEMORY_BYTES", 1 << 20)
    monkeypatch.setattr(spool_module, "_MEMORY_RESERVE_BYTES", 150_000)
    backlog = make_backlog()
    intake.states.append(STARTED)
    assert not backlog.build_and_keep()
    assert "cannot be written" in backlog.spool.problem
    assert "FLOWSPAN_HOME" in backlog.spool.problem
    assert backlog.whereabouts().startswith("in memory only")
    for _ in range(30):
        intake.put_log(logged(RUN_ID, "x" * 100_000))
        backlog.build_and_keep()
    assert 15 < backlog.lost_logs < 25
    for _ in range(3000):
        intake.states.append(STARTED)
        backlog.build_and_keep()
    assert 0 < backlog.lost_states < 3000
    assert backlog.outbox.memory_bytes < 2 << 20
    # The spooled events have no gap in their sequences.
    assert kinds_of(backlog)[0] == "state_entered"


def test_it_goes_to_the_disk_when_that_works_again(
    backlog: Backlog, intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_RETRY_S", 0.0)
    (tmp_path / "spool").write_text("in the way")
    intake.states.append(STARTED)
    assert not backlog.build_and_keep()
    (tmp_path / "spool").unlink()
    assert backlog.build_and_keep()
    assert len(list_spools(Config(home=tmp_path))) == 1


def test_a_damaged_spool_costs_what_is_damaged_and_no_more(
    backlog: Backlog, intake: Intake, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        intake.states.append(STARTED)
        backlog.build_and_keep()
    damaged = list(backlog.outbox)[1]
    for batch in backlog.outbox:
        backlog.outbox.release(batch)
    data = bytearray(backlog.spool.path.read_bytes())
    assert damaged.offset is not None
    data[damaged.offset + 30] ^= 1
    backlog.spool.path.write_bytes(data)
    assert kinds_of(backlog) == ["state_entered", None, "state_entered"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_service_that_forgot_the_session_gets_placeholders(
    backlog: Backlog, intake: Intake, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        intake.states.append(STARTED)
        backlog.build()
    send_all(backlog)
    backlog.ack(2)
    backlog.resume(0)
    assert kinds_of(backlog) == [None, None, "state_entered"]
    assert "database" in caplog.text


def test_an_event_that_the_service_refuses_is_replaced(backlog: Backlog, intake: Intake) -> None:
    intake.states += [STARTED, STARTED, STARTED]
    backlog.build()
    assert backlog.replace(2)
    assert kinds_of(backlog) == ["state_entered", None, "state_entered"]
    assert not backlog.replace(4)
    send_all(backlog)
    backlog.ack(3)
    assert backlog.outbox.memory_bytes == 0


def limit_of(max_frame_bytes: int) -> FrameLimit:
    limit = FrameLimit(lambda sequence: pytest.fail(f"{sequence} is lost"))
    limit.connected(max_frame_bytes)
    return limit


def text_of(backlog: Backlog) -> str:
    return "".join(event.log.message for event in events_of(backlog) if event.HasField("log"))


def test_next_batch_is_divided(backlog: Backlog, intake: Intake) -> None:
    for number in range(25):
        intake.put_log(logged(RUN_ID, str(number)))
    backlog.build()
    before = events_of(backlog)
    backlog.divide_next(10)
    assert [(batch.first, batch.last) for batch in backlog.outbox] == [(1, 10), (11, 20), (21, 25)]
    assert events_of(backlog) == before
    assert backlog.outbox.memory_bytes == sum(batch.size for batch in backlog.outbox)
    send_all(backlog)
    assert backlog.outbox.unacked_events == 25
    backlog.ack(25)
    assert backlog.is_empty
    assert backlog.outbox.memory_bytes == backlog.outbox.sent_bytes == 0


def test_stored_parts_of_a_divided_batch_are_dropped(backlog: Backlog, intake: Intake) -> None:
    for number in range(25):
        intake.put_log(logged(RUN_ID, str(number)))
    backlog.build()
    backlog.resume(15)
    backlog.divide_next(10)
    assert [(batch.first, batch.last) for batch in backlog.outbox] == [(11, 20), (21, 25)]
    assert backlog.outbox.memory_bytes == sum(batch.size for batch in backlog.outbox)


def test_parts_of_a_spooled_batch_stay_in_the_spool(backlog: Backlog, intake: Intake) -> None:
    for number in range(25):
        intake.put_log(logged(RUN_ID, str(number)))
    assert backlog.build_and_keep()
    backlog.divide_next(10)
    assert backlog.outbox.is_on_disk
    assert backlog.outbox.not_on_disk() == []
    assert len(events_of(backlog)) == 25
    backlog.ack(20)
    assert backlog.spool.path.exists()
    backlog.ack(25)
    assert not backlog.spool.path.exists()


@pytest.mark.parametrize("is_spooled", [False, True])
def test_long_log_is_divided_for_a_service_with_small_frames(
    backlog: Backlog, intake: Intake, *, is_spooled: bool
) -> None:
    long = "0123456789abcdef" * 40_000
    intake.states.append(created(flow_record(RUN_ID)))
    for text in ("before", long, "after"):
        intake.put_log(logged(RUN_ID, text))
    request = ask_for_flush(intake)
    later = ask_for_flush(intake)
    if is_spooled:
        assert backlog.build_and_keep()
    else:
        while backlog.has_unbuilt:
            backlog.build()
    backlog.fit_logs(limit_of(1 << 20))
    assert len(events_of(backlog)) == 1 + 2 + 3
    backlog.fit_logs(limit_of(64 << 10))
    count = len(events_of(backlog))
    assert count > 12
    assert text_of(backlog) == f"before{long}after"
    assert request.target == later.target == count == backlog.outbox.built
    assert backlog.outbox.is_on_disk is is_spooled
    assert backlog.is_safe() is is_spooled
    intake.put_log(logged(RUN_ID, long))
    backlog.build()
    sizes = [len(event.log.message) for event in events_of(backlog)[count:]]
    assert max(sizes) < 64 << 10


def test_large_spool_is_rewritten_and_not_held_in_memory(backlog: Backlog, intake: Intake) -> None:
    texts = [f"{number}:" + "x" * 300_000 for number in range(80)]
    for text in texts:
        intake.put_log(logged(RUN_ID, text))
    assert backlog.build_and_keep()
    in_memory = backlog.outbox.memory_bytes
    assert in_memory < 10 << 20
    backlog.fit_logs(limit_of(128 << 10))
    assert backlog.is_safe()
    assert backlog.outbox.memory_bytes < in_memory + (1 << 20)
    assert text_of(backlog) == "".join(texts)


def test_rewritten_spool_is_delivered_by_another_process(
    backlog: Backlog, intake: Intake, tmp_path: Path
) -> None:
    intake.states.append(created(flow_record(RUN_ID)))
    intake.put_log(logged(RUN_ID, "stored"))
    intake.put_log(logged(RUN_ID, "z" * 600_000))
    assert backlog.build_and_keep()
    backlog.ack(1)
    backlog.fit_logs(limit_of(64 << 10))
    count, whole = backlog.outbox.built, [batch.data for batch in backlog.outbox]
    backlog.spool.close()
    (info,) = list_spools(Config(home=tmp_path))
    assert not info.is_damaged
    assert (info.missing_events, info.problem) == (0, "")
    spool = SpoolFile.adopt(info.path)
    assert spool is not None
    records = list(spool.records())
    spool.close()
    assert records[-1][0].last == count
    assert [data for _, data in records] == whole


def test_log_that_cannot_be_divided_on_a_full_disk_is_told(
    backlog: Backlog, intake: Intake, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    intake.put_log(logged(RUN_ID, "z" * 300_000))
    assert backlog.build_and_keep()
    before = events_of(backlog)
    monkeypatch.setattr(SpoolFile, "rewrite", full)
    backlog.fit_logs(limit_of(64 << 10))
    assert events_of(backlog) == before
    assert "No space left on device" in caplog.text
