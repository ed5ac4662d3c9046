"""The file that stores the starts of runs."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from flowspan.config import Config
from flowspan.core.events import CREATED, STATE, RunRecord
from flowspan.reporter.spool import run_starts as starts
from flowspan.reporter.spool.file import look_into
from flowspan.reporter.spool.orphans import list_spools
from flowspan.reporter.spool.run_starts import Starts
from flowspan.v1 import report_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flowspan.core.events import Event

RUN = "0190a8a0-0000-7000-8000-00000000000"


@pytest.fixture
def kept(flowspan_home: Path) -> Iterator[Starts]:
    it = Starts(Config(home=flowspan_home))
    yield it
    it.close()


def start_of(number: int = 1, *, name: str = "small") -> tuple[Event, Event]:
    run_id = f"{RUN}{number:x}" if number < 16 else f"{RUN[:-4]}{number:05x}"
    record = RunRecord(
        run_id,
        is_flow=True,
        function_name=name,
        run_name="",
        parent_run_id=None,
        root_run_id=run_id,
        flow_run_id=run_id,
    )
    running = (STATE, run_id, 1, 3, "Running", "", 10, None, None)
    return (CREATED, record, "Pending", 9), running


def paths(home: Path) -> list[Path]:
    folder = home / "spool"
    return sorted(folder.iterdir()) if folder.exists() else []


def events(home: Path) -> list[tuple[int, str, str]]:
    """Return the sequence, the kind and the run of each event in the only file."""
    (path,) = paths(home)
    found = []
    for record, batch in look_into(path)[1]:  # type: ignore[misc] # no damage here
        (event,) = report_pb2.Batch.FromString(batch).events
        kind = event.WhichOneof("event")
        found.append((record.first, kind, getattr(event, kind).run_id))
    return found


def test_it_has_the_creation_and_the_state(kept: Starts, flowspan_home: Path) -> None:
    kept.keep(*start_of(1))
    kept.keep(*start_of(2))
    expected: list[Any] = [
        (1, "run_created", RUN + "1"),
        (2, "state_entered", RUN + "1"),
        (3, "run_created", RUN + "2"),
        (4, "state_entered", RUN + "2"),
    ]
    assert events(flowspan_home) == expected


def test_it_is_its_owners_alone(kept: Starts, flowspan_home: Path) -> None:
    kept.keep(*start_of())
    (path,) = paths(flowspan_home)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list_spools(Config(home=flowspan_home)) == []


def test_it_begins_anew_once_it_is_forgotten(kept: Starts, flowspan_home: Path) -> None:
    kept.keep(*start_of(1))
    kept.forget(if_true=lambda: True)
    assert events(flowspan_home) == []
    kept.keep(*start_of(2))
    assert [each[::2] for each in events(flowspan_home)] == [(1, RUN + "2"), (2, RUN + "2")]


def test_it_is_not_forgotten_too_soon(kept: Starts, flowspan_home: Path) -> None:
    kept.keep(*start_of(1))
    kept.forget(if_true=lambda: False)
    assert len(events(flowspan_home)) == 2


def test_nothing_is_kept_between_the_question_and_the_forgetting(
    kept: Starts, flowspan_home: Path
) -> None:
    kept.keep(*start_of(1))
    thread = threading.Thread(target=kept.keep, args=start_of(2))

    def is_safe() -> bool:
        thread.start()
        time.sleep(0.1)
        return True

    kept.forget(if_true=is_safe)
    thread.join()
    assert [each[2] for each in events(flowspan_home)] == [RUN + "2"] * 2


def test_a_file_that_has_grown_begins_anew_with_the_youngest(
    kept: Starts, flowspan_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "MAX_FILE_BYTES", 64 << 10)
    for number in range(1, 1000):
        kept.keep(*start_of(number))
        (path,) = paths(flowspan_home)
        assert path.stat().st_size < (64 << 10) + 1000
    found = events(flowspan_home)
    assert [first for first, _, _ in found] == list(range(1, len(found) + 1))
    # The last ones, without a gap, in order.
    count = len(found) // 2
    assert count >= starts.MAX_YOUNG
    expected = [start_of(number)[1][1] for number in range(1000 - count, 1000)]
    assert [run_id for _, kind, run_id in found if kind == "run_created"] == expected


def test_a_folder_that_cannot_be_written_is_not_tried_at_each_start(
    flowspan_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flowspan_home.parent.mkdir(exist_ok=True)
    flowspan_home.write_text("")
    attempts = []
    monkeypatch.setattr(starts, "own_home", lambda home: attempts.append(home) or home.mkdir())
    kept = Starts(Config(home=flowspan_home))
    for number in range(5):
        kept.keep(*start_of(number))
    assert len(attempts) == 1
    kept.close()


def test_after_its_end_nothing_is_kept(kept: Starts, flowspan_home: Path) -> None:
    kept.keep(*start_of(1))
    kept.close()
    kept.keep(*start_of(2))
    kept.forget(if_true=lambda: True)
    assert paths(flowspan_home) == []


def test_an_event_that_cannot_be_encoded_is_no_trouble(kept: Starts) -> None:
    created, _ = start_of()
    kept.keep(created, (STATE, None, 1, 3, "Running", "", 10, None, None))
