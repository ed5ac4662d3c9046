"""Task runs that begin and end within one batch are reported as one event."""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.engine_events import COMPLETED, FAILED, RUNNING, entered, logged

from flowspan.config import Config
from flowspan.core.events import ARTIFACT, CREATED, STATE, FailureInfo, RunRecord
from flowspan.reporter import intake as intake_module
from flowspan.reporter.backlog import Backlog
from flowspan.reporter.encoding.single_events import expanded, single_events
from flowspan.reporter.intake import FLUSH, FlushRequest, Intake
from flowspan.reporter.spool.orphans import list_spools
from flowspan.v1 import report_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from flowspan.core.events import Event

CANCELLED, SCHEDULED = 8, 1
JOINED, CREATION, ENTRY = "run_completed", "run_created", "state_entered"


@pytest.fixture
def intake() -> Intake:
    return Intake()


@pytest.fixture
def backlog(tmp_path: Path, intake: Intake) -> Backlog:
    backlog = Backlog(Config(home=tmp_path, address="127.0.0.1:1"), str(uuid.uuid4()), intake)
    backlog.resume(0, joins=True)
    return backlog


def task(run_id: str = "", *, parent_id: str | None = None, is_flow: bool = False) -> Event:
    run_id = run_id or str(uuid.uuid4())
    record = RunRecord(
        run_id,
        is_flow=is_flow,
        function_name="census",
        run_name="census-1",
        parent_run_id=parent_id,
        root_run_id=parent_id or run_id,
        flow_run_id=parent_id,
    )
    return (CREATED, record, "Pending", 1_700_000_000_000_000_001)


def running(run_id: str) -> Event:
    return entered(run_id, RUNNING, "Running")


def completed(run_id: str) -> Event:
    return entered(run_id, COMPLETED, "Completed")


def whole(created: Event) -> list[Event]:
    run_id = created[1].id
    return [created, running(run_id), completed(run_id)]


def batches_of(backlog: Backlog) -> list[report_pb2.Batch]:
    """Return the batches of the outbox; check that their events take their sequences."""
    found = []
    for batch in backlog.outbox:
        read = report_pb2.Batch.FromString(backlog.spool.load(backlog.outbox, batch))
        assert read.first_sequence == batch.first
        assert len(list(single_events(read))) == batch.last - batch.first + 1
        found.append(read)
    return found


def kinds_of(backlog: Backlog) -> list[str | None]:
    return [event.WhichOneof("event") for read in batches_of(backlog) for event in read.events]


def built(backlog: Backlog, intake: Intake, *events: Event) -> list[str | None]:
    intake.states += events
    backlog.build()
    return kinds_of(backlog)


def test_a_task_run_within_a_batch_is_one_event(backlog: Backlog, intake: Intake) -> None:
    created = task(parent_id="f")
    run_id = created[1].id
    events = whole(created)
    assert built(backlog, intake, *events) == [JOINED]
    (read,) = batches_of(backlog)
    joined = read.events[0].run_completed
    assert joined.created.run_id == run_id
    assert joined.start_time.ToNanoseconds() == events[1][6]
    assert (joined.ended.type, joined.ended.time.ToNanoseconds()) == (COMPLETED, events[2][6])
    assert backlog.outbox.built == 3


def test_a_service_of_0_1_gets_single_events(backlog: Backlog, intake: Intake) -> None:
    backlog.resume(0)
    assert built(backlog, intake, *whole(task())) == [CREATION, ENTRY, ENTRY]


def test_the_end_may_have_any_name_message_and_failure(backlog: Backlog, intake: Intake) -> None:
    created = task()
    run_id = created[1].id
    failure = FailureInfo("ValueError", "no", "frame", FailureInfo("OSError", "gone", ""))
    end = (STATE, run_id, 1, FAILED, "TimedOut", "too slow", 5, failure, None)
    assert built(backlog, intake, created, running(run_id), end) == [JOINED]
    (read,) = batches_of(backlog)
    ended = read.events[0].run_completed.ended
    assert (ended.name, ended.message, ended.failure.cause.message) == (
        *("TimedOut", "too slow", "gone"),
    )


A, B = str(uuid.uuid4()), str(uuid.uuid4())
ANY = str(uuid.uuid4())


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # Runs of threads beside it.
        (
            [task(A), task(B), running(A), running(B), completed(A), completed(B)],
            [JOINED, JOINED],
        ),
        ([task(A), running(ANY), running(A), completed(ANY), completed(A)], [JOINED, ENTRY, ENTRY]),
        # It has not ended.
        ([task(A), running(A)], [CREATION, ENTRY]),
        ([task(A)], [CREATION]),
        ([task(A), task(B), running(A), completed(B)], [CREATION, CREATION, ENTRY, ENTRY]),
        # It began in another batch.
        ([running(A), completed(A)], [ENTRY, ENTRY]),
        # A flow run.
        (whole(task(A, is_flow=True)), [CREATION, ENTRY, ENTRY]),
        # It never ran, for example because its result was cached.
        ([task(A), completed(A)], [CREATION, ENTRY]),
        # Another name of RUNNING, a message, another attempt.
        ([task(A), entered(A, RUNNING, "Busy"), completed(A)], [CREATION, ENTRY, ENTRY]),
        (
            [task(A), (STATE, A, 1, RUNNING, "Running", "m", 5, None, None), completed(A)],
            [CREATION, ENTRY, ENTRY],
        ),
        (
            [task(A), (STATE, A, 2, RUNNING, "Running", "", 5, None, None), completed(A)],
            [CREATION, ENTRY, ENTRY],
        ),
        (
            [task(A), running(A), (STATE, A, 2, COMPLETED, "Completed", "", 5, None, None)],
            [CREATION, ENTRY, ENTRY],
        ),
        # A state in between: a retry.
        (
            [
                task(A),
                running(A),
                (STATE, A, 1, SCHEDULED, "AwaitingRetry", "", 5, None, 6),
                (STATE, A, 2, RUNNING, "Retrying", "", 7, None, None),
                (STATE, A, 2, COMPLETED, "Completed", "", 8, None, None),
            ],
            [CREATION, ENTRY, ENTRY, ENTRY, ENTRY],
        ),
        # An event after it.
        (
            [*whole(task(A)), entered(A, COMPLETED, "RolledBack")],
            [JOINED, ENTRY],
        ),
        # An artifact of it, and one of another run.
        (
            [
                task(A),
                running(A),
                (ARTIFACT, ANY, A, "", "markdown", "", b"1", 5),
                completed(A),
            ],
            [CREATION, ENTRY, "artifact_created", ENTRY],
        ),
        (
            [
                task(A),
                running(A),
                (ARTIFACT, ANY, B, "", "markdown", "", b"1", 5),
                completed(A),
            ],
            [JOINED, "artifact_created"],
        ),
        # It calls another task: its child must not come after its end.
        (
            [task(A), running(A), *whole(task(B, parent_id=A)), completed(A)],
            [CREATION, ENTRY, JOINED, ENTRY],
        ),
        (
            [task(A), running(A), *whole(task(B, parent_id=A, is_flow=True)), completed(A)],
            [CREATION, ENTRY, CREATION, ENTRY, ENTRY, ENTRY],
        ),
        # It calls one after its end (a callback, for example).
        ([*whole(task(A)), *whole(task(B, parent_id=A))], [JOINED, JOINED]),
        # The same creation twice.
        ([task(A), running(A), *whole(task(A))], [CREATION, ENTRY, JOINED]),
    ],
)
def test_events_are_joined_only_if_none_between_them_depends_on_the_order(
    backlog: Backlog, intake: Intake, events: list[Event], expected: list[str]
) -> None:
    assert built(backlog, intake, *events) == expected
    # The sequences of the single events do not depend on it.
    assert backlog.outbox.built == len(events)


def test_its_logs_follow(backlog: Backlog, intake: Intake) -> None:
    created = task()
    intake.put_log(logged(created[1].id, "from inside"))
    assert built(backlog, intake, *whole(created)) == [JOINED, "log"]


def test_a_run_that_goes_beyond_a_batch_is_not_joined(
    backlog: Backlog, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "MAX_BATCH_EVENTS", 4)
    first, second = whole(task()), whole(task())
    intake.states += [*first, *second]
    backlog.build()
    backlog.build()
    assert kinds_of(backlog) == [JOINED, CREATION, ENTRY, ENTRY]
    assert [(batch.first, batch.last) for batch in backlog.outbox] == [(1, 4), (5, 6)]


def test_large_ends_close_a_batch(backlog: Backlog, intake: Intake) -> None:
    for _ in range(200):
        created = task()
        run_id = created[1].id
        end = (STATE, run_id, 1, FAILED, "Failed", "x" * 10_000, 5, None, None)
        intake.states += [created, running(run_id), end]
    while backlog.has_unbuilt:
        backlog.build()
    for batch in backlog.outbox:
        assert batch.size < intake_module.MAX_BATCH_BYTES + 30_000
    assert kinds_of(backlog).count(JOINED) > 190
    assert backlog.outbox.built == 600


def test_a_flush_covers_the_events_before_it(backlog: Backlog, intake: Intake) -> None:
    """The event of another run stands behind the joined one, and has a greater sequence."""
    created = task(A)
    request = FlushRequest()
    intake.states += [created, running(ANY), (FLUSH, request), running(A), completed(A)]
    intake.logs.append((FLUSH, request))
    backlog.build()
    (read,) = batches_of(backlog)
    events = [event.WhichOneof("event") for event in single_events(read)]
    place = 1 + events.index(ENTRY, 3)
    assert request.target is not None
    assert request.target >= place == 4


def test_an_event_that_cannot_be_encoded_costs_no_sequence(
    backlog: Backlog, intake: Intake, caplog: pytest.LogCaptureFixture
) -> None:
    bad_end = (STATE, A, 1, COMPLETED, 7, "", 5, None, None)
    bad_start = (STATE, B, 1, RUNNING, "Running", "", "noon", None, None)
    intake.states += [task(A), running(A), bad_end, task(B), bad_start, completed(B), completed(A)]
    backlog.build()
    assert len(caplog.records) == 3
    (read,) = batches_of(backlog)
    kinds = [event.WhichOneof("event") for event in read.events]
    assert kinds == [JOINED, CREATION, None]
    assert read.events[0].run_completed.created.run_id == A


def test_what_goes_to_the_disk_suits_every_service(
    backlog: Backlog, intake: Intake, tmp_path: Path
) -> None:
    events = whole(task(A))
    intake.states += [*events, *whole(task(B))]
    backlog.build()
    assert backlog.outbox.next is not None
    backlog.outbox.sent(backlog.outbox.next)
    before = [event for read in batches_of(backlog) for event in single_events(read)]
    assert backlog.build_and_keep()
    assert kinds_of(backlog) == [CREATION, ENTRY, ENTRY] * 2
    assert [event for read in batches_of(backlog) for event in read.events] == before
    for batch in backlog.outbox:
        backlog.outbox.release(batch)
    assert kinds_of(backlog) == [CREATION, ENTRY, ENTRY] * 2, "as read from the disk"
    assert [info.is_damaged for info in list_spools(Config(home=tmp_path))] == [False]
    backlog.ack(6)
    assert backlog.outbox.sent_bytes == backlog.outbox.memory_bytes == 0


def test_without_a_connection_nothing_is_joined(backlog: Backlog, intake: Intake) -> None:
    intake.states += whole(task(A))
    assert backlog.build_and_keep()
    assert kinds_of(backlog) == [CREATION, ENTRY, ENTRY]


@pytest.mark.parametrize("acked", [0, 1, 2, 3])
def test_an_older_service_gets_what_was_under_way_as_single_events(
    backlog: Backlog, intake: Intake, acked: int
) -> None:
    assert built(backlog, intake, *whole(task(A)), *whole(task(B))) == [JOINED, JOINED]
    assert backlog.outbox.next is not None
    backlog.outbox.sent(backlog.outbox.next)
    backlog.resume(acked)
    assert kinds_of(backlog) == [CREATION, ENTRY, ENTRY] * 2
    assert [(batch.first, batch.last) for batch in backlog.outbox] == [(1, 6)]
    backlog.resume(acked, joins=True)
    assert built(backlog, intake, *whole(task())) == [*[CREATION, ENTRY, ENTRY] * 2, JOINED]


def test_a_newer_service_gets_what_was_under_way_unchanged(
    backlog: Backlog, intake: Intake
) -> None:
    built(backlog, intake, *whole(task(A)))
    backlog.resume(0, joins=True)
    assert kinds_of(backlog) == [JOINED]


@pytest.mark.parametrize(("sequence", "expected"), [(2, 0), (3, 1), (4, 2)])
def test_of_a_joined_run_only_the_refused_part_is_replaced(
    backlog: Backlog, intake: Intake, sequence: int, expected: int
) -> None:
    built(backlog, intake, running(ANY), *whole(task(A)), running(ANY))
    assert backlog.replace(sequence)
    kinds: list[str | None] = [CREATION, ENTRY, ENTRY]
    kinds[expected] = None
    assert kinds_of(backlog) == [ENTRY, *kinds, ENTRY]


@pytest.mark.parametrize("seed", range(200))
def test_random_events_arrive_in_the_order_of_each_run(
    backlog: Backlog, intake: Intake, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(intake_module, "MAX_BATCH_EVENTS", chance.randint(3, 40))
    emitted = _invented(chance)
    intake.states += emitted
    while backlog.has_unbuilt:
        backlog.build()
    sent = [event for read in batches_of(backlog) for event in single_events(read)]
    backlog.resume(0)
    assert [event for read in batches_of(backlog) for event in read.events] == sent
    alone = Backlog(Config(home=backlog.spool.path, address="127.0.0.1:1"), "s", Intake())
    alone._intake.states += emitted
    while alone.has_unbuilt:
        alone.build()
    expected = [event for read in batches_of(alone) for event in read.events]
    assert _by_run(sent) == _by_run(expected)
    _check_families(sent)


def _invented(chance: random.Random) -> list[Event]:
    """Return the events of runs on several threads, each in its order, mixed."""
    open_runs: list[tuple[Event, list[Event]]] = []
    emitted: list[Event] = []
    for _ in range(chance.randint(1, 25)):
        parent = chance.choice(open_runs)[0][1].id if open_runs and chance.random() < 0.4 else None
        created = task(parent_id=parent, is_flow=chance.random() < 0.2)
        run_id = created[1].id
        left = [running(run_id)]
        if chance.random() < 0.2:
            left.append((ARTIFACT, str(uuid.uuid4()), run_id, "", "markdown", "", b"1", 5))
        if chance.random() < 0.2:
            left.append((STATE, run_id, 1, SCHEDULED, "AwaitingRetry", "", 5, None, 6))
        if chance.random() < 0.8:
            left.append(entered(run_id, chance.choice((COMPLETED, FAILED, CANCELLED)), "End"))
        emitted.append(created)
        open_runs.append((created, left))
        while open_runs and chance.random() < 0.75:
            place = chance.randrange(len(open_runs))
            emitted.append(open_runs[place][1].pop(0))
            if not open_runs[place][1]:
                del open_runs[place]
    return emitted


def _by_run(events: list[report_pb2.Event]) -> dict[str, list[Any]]:
    found = defaultdict(list)
    for event in events:
        what = getattr(event, event.WhichOneof("event") or "")
        found[what.run_id].append(event)
    return dict(found)


def _check_families(events: list[report_pb2.Event]) -> None:
    """Check that no run is created after the end of a parent that called it in time."""
    ended: set[str] = set()
    for event in events:
        if event.HasField("run_created"):
            assert event.run_created.parent_run_id not in ended
        elif event.HasField("state_entered") and event.state_entered.state.type >= COMPLETED:
            ended.add(event.state_entered.run_id)


def test_expanding_leaves_other_events_as_they_are(backlog: Backlog, intake: Intake) -> None:
    built(backlog, intake, running(ANY), *whole(task(is_flow=True)))
    (batch,) = backlog.outbox
    data = batch.data or b""
    assert report_pb2.Batch.FromString(expanded(data)) == report_pb2.Batch.FromString(data)
