"""Damaged spools: undamaged records are read, damaged ones are counted."""

from __future__ import annotations

import json
import os
import random
import socket
import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.support.report_client import whole_run
from tests.support.spools import batches_of, flipped, write_old_spool, write_spool

from flowspan.config import Config
from flowspan.reporter import list_spools, push_spools
from flowspan.reporter.spool import drain
from flowspan.reporter.spool.file import SpoolFile, look_into
from flowspan.reporter.spool.format import (
    Damage,
    Losses,
    SpoolFormatError,
    SpoolHeader,
    entries,
    read_opening,
    record_of,
    start_of,
)
from flowspan.reporter.spool.orphans import adopt_spools

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SESSION_ID = str(uuid.UUID(int=0xABCDEF0123456789))
RUNS = [str(uuid.UUID(int=number)) for number in range(4)]
BATCHES = batches_of([event for run_id in RUNS for event in whole_run(run_id)])
ADDRESS = "127.0.0.1:4600"


class Reading(NamedTuple):
    """The contents read from a spool."""

    header: SpoolHeader
    firsts: list[int]
    damaged: bool
    missing: int
    is_exact: bool


def reading_of(data: bytes) -> Reading:
    def pread(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    opening = read_opening(pread, SESSION_ID)
    losses = Losses(opening.header.first_sequence)
    firsts, damaged = [], not opening.is_whole
    for entry in entries(opening, pread, len(data)):
        if isinstance(entry, Damage):
            damaged = True
            losses.damage(entry)
        else:
            record, batch = entry
            assert (record.first, record.events, batch) in BATCHES
            losses.record(record)
            firsts.append(record.first)
    losses.end()
    return Reading(opening.header, firsts, damaged, losses.events, losses.is_exact)


def borders(path: Path) -> list[tuple[int, int, int]]:
    """Return the offsets at which each record begins and ends, and its first sequence."""
    spool = SpoolFile.adopt(path)
    assert spool is not None
    try:
        return [(record.offset, record.end, record.first) for record, _ in spool.records()]
    finally:
        spool.close()


WRITERS = {"now": write_spool, "old": write_old_spool}


@pytest.fixture(params=WRITERS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a spool of four records."""
    return WRITERS[request.param](tmp_path / "spool", SESSION_ID, BATCHES, address=ADDRESS)


def test_a_byte_that_is_wrong_costs_one_record_at_most(path: Path) -> None:
    data, places = path.read_bytes(), borders(path)
    all_firsts = [first for _, _, first in places]
    for position, changed in flipped(data):
        hit = [first for start, end, first in places if start <= position < end]
        reading = reading_of(changed)
        assert set(reading.firsts) >= set(all_firsts) - set(hit), position
        lost = set(all_firsts) - set(reading.firsts)
        assert reading.damaged or not lost, position
        if lost:
            assert reading.missing == 3 or not reading.is_exact, position
        else:
            assert reading.missing == 0, position
        assert reading.header.session_id == SESSION_ID, position


def test_a_wrong_byte_in_a_header_costs_nothing(tmp_path: Path) -> None:
    path = write_spool(tmp_path, SESSION_ID, BATCHES, address=ADDRESS)
    end_of_header = borders(path)[0][0]
    whole = reading_of(path.read_bytes())
    for position, changed in flipped(path.read_bytes()):
        if position < end_of_header:
            assert reading_of(changed) == whole._replace(damaged=True), position
        else:
            assert reading_of(changed).damaged, position


def test_a_cut_costs_what_is_cut_off(path: Path) -> None:
    data, places = path.read_bytes(), borders(path)
    start = places[0][0]
    for length in range(len(data)):
        whole = [first for _, end, first in places if end <= length]
        try:
            reading = reading_of(data[:length])
        except SpoolFormatError:
            assert length < start
        else:
            assert reading.firsts == whole
            assert reading.damaged == (length not in {start, *(end for _, end, _ in places)})


def test_bytes_that_were_taken_out_or_put_in_cost_the_records_around_them(path: Path) -> None:
    data, places = path.read_bytes(), borders(path)
    chance = random.Random(7)
    for _ in range(300):
        start = chance.randrange(places[0][0], len(data))
        end = min(len(data), start + chance.randrange(1, 300))
        for changed in (
            data[:start] + data[end:],
            data[:start] + chance.randbytes(end - start) + data[start:],
            data[:start] + bytes(end - start) + data[end:],
        ):
            hit = {first for begin, stop, first in places if begin < end and start < stop}
            assert set(reading_of(changed).firsts) >= {first for *_, first in places} - hit


def test_a_record_in_a_log_message_is_none() -> None:
    """After damage to a record's header, the scan for the next record must skip its contents."""
    inner = record_of("another session", 99, 3, BATCHES[0][2])
    outer = record_of(SESSION_ID, 1, 3, BATCHES[0][2] + inner)
    damaged = bytes([outer[0] ^ 1]) + outer[1:]
    start = start_of(SpoolHeader(SESSION_ID, ADDRESS, {}, 12.5, 1))
    following = record_of(SESSION_ID, *BATCHES[1])
    assert reading_of(start + damaged + following).firsts == [4]


def test_a_spool_whose_headers_are_both_lost_is_known_by_its_name(path: Path) -> None:
    data, start = path.read_bytes(), borders(path)[0][0]
    for beginning in (bytes(start), os.urandom(start), b"", b"flowspan spool 7\n"):
        reading = reading_of(beginning + data[start:])
        assert reading.firsts == [first for first, _, _ in BATCHES]
        assert (reading.header.session_id, reading.header.address) == (SESSION_ID, None)


def test_a_spool_of_a_newer_version_is_left_alone(flowspan_home: Path) -> None:
    path = flowspan_home / "spool" / f"{SESSION_ID}.spool"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"flowspan spool 3\n" + bytes(100))
    (result,) = push_spools(Config(home=flowspan_home, address=ADDRESS))
    assert "upgrade" in result.problem
    assert result.damaged_path is None
    assert path.exists()


HEADERS = [
    {"created_at": float("nan")},
    {"created_at": 1e300},
    {"created_at": None},
    {"client": {"process_id": "²"}},
    {"client": {"process_id": "9" * 200, "secret": "x"}},
    {"client": {"hostname": "\ud800"}},
    {"client": []},
    {"session_id": "\udfff"},
    {"first_sequence": -1},
    {"first_sequence": "x"},
]


@pytest.mark.parametrize("values", HEADERS, ids=repr)
def test_a_header_that_makes_no_sense_is_one_spools_trouble(
    values: dict[str, object], flowspan_home: Path
) -> None:
    usual = {"session_id": SESSION_ID, "address": "", "client": {}, "created_at": 12.5}
    text = json.dumps({**usual, **values}).encode()
    data = b"flowspan spool 1\n" + len(text).to_bytes(4, "big") + text
    assert_is_one_spools_trouble(flowspan_home, lambda path: path.write_bytes(data))


def deep(path: Path) -> None:
    text = b"[" * 60_000
    path.write_bytes(b"flowspan spool 1\n" + len(text).to_bytes(4, "big") + text)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


STRANGERS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "garbage": lambda path: path.write_bytes(random.Random(1).randbytes(5000)),
    "magic": lambda path: path.write_bytes(b"\xf5FSH\xf5FSR" * 5000),
    "text": lambda path: path.write_text("no spool"),
    "deep": deep,
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "socket": listening,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "endless link": lambda path: path.symlink_to(path),
    "link to a file": lambda path: path.symlink_to("/etc/passwd"),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("make", STRANGERS.values(), ids=STRANGERS)
def test_whatever_is_called_a_spool_is_its_own_trouble(
    make: Callable[[Path], object], flowspan_home: Path
) -> None:
    assert_is_one_spools_trouble(flowspan_home, make)


def assert_is_one_spools_trouble(home: Path, make: Callable[[Path], object]) -> None:
    """Check that a bad spool does not stop the spools before and after it."""
    folder = home / "spool"
    folder.mkdir(parents=True)
    make(folder / f"{uuid.UUID(int=5)}.spool")
    sessions = [str(uuid.UUID(int=number)) for number in (1, 9)]
    for session_id in sessions:
        write_spool(folder, session_id, BATCHES)
    config = Config(home=home)
    listed = list_spools(config)
    assert len(listed) == 3
    tried: list[str] = []

    class NoDrain:
        def __init__(self, spool: SpoolFile, *_: object) -> None:
            tried.append(spool.header.session_id)

        def run(self) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flowspan.reporter.spool.orphans.Drain", NoDrain)
        patch.setattr("flowspan.reporter.spool.orphans.resolve_address", lambda _: None)
        adopt_spools(config, None)  # type: ignore[arg-type] # unused by the fake
        assert [each for each in tried if each in sessions] == sessions
        tried.clear()
        results = push_spools(config)
    assert [each for each in tried if each in sessions] == sessions
    assert len([each for each in results if each.session_id in sessions]) == 2


def test_a_folder_that_cannot_be_read_is_told_of(flowspan_home: Path) -> None:
    flowspan_home.mkdir()
    (flowspan_home / "spool").write_text("not a folder")
    (info,) = list_spools(Config(home=flowspan_home))
    assert "cannot be read" in info.problem
    below = Config(home=flowspan_home / "spool" / "home")
    assert list_spools(below) == push_spools(below) == []


def test_what_is_set_aside_is_listed_and_not_sent_again(flowspan_home: Path) -> None:
    folder = flowspan_home / "spool"
    config = Config(home=flowspan_home, address=ADDRESS)
    for _ in range(2):
        path = write_old_spool(folder, SESSION_ID, BATCHES)
        path.write_bytes(b"")
        (result,) = push_spools(config)
        assert result.damaged_path is not None
        assert result.damaged_path.exists()
        assert not path.exists()
        assert push_spools(config) == []
    assert [info.is_set_aside for info in list_spools(config)] == [True, True]


def test_what_is_missing_is_said_as_it_is_known() -> None:
    assert drain.missing_phrase(0, is_exact=True) == "nothing is missing"
    assert drain.missing_phrase(1, is_exact=True) == "1 event is missing"
    assert drain.missing_phrase(2, is_exact=False) == "at least 2 events are missing"
    assert "number is unknown" in drain.missing_phrase(0, is_exact=False)


def test_a_spool_is_read_without_its_owner(path: Path) -> None:
    opening, found = look_into(path)
    assert opening.header.session_id == SESSION_ID
    assert len(list(found)) == len(BATCHES)
