"""The spool file: written records stay readable, whatever happens to the rest."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from flowspan.reporter.spool import file as spool_file
from flowspan.reporter.spool.file import SpoolFile, is_owned, look_into
from flowspan.reporter.spool.format import SpoolFormatError, SpoolHeader

if TYPE_CHECKING:
    from pathlib import Path

HEADER = SpoolHeader("session-1", "127.0.0.1:4600", {"hostname": "here"}, 12.5)
BATCHES = [(1, 3, b"one"), (4, 1, b""), (5, 100, b"\0" * 5000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a spool with the batches, without an owner."""
    spool = SpoolFile.create(tmp_path / "spool", HEADER)
    for batch in BATCHES:
        spool.append(*batch)
    spool.sync()
    spool.close()
    return spool.path


def contents(path: Path) -> list[tuple[int, int, bytes]]:
    spool = SpoolFile.adopt(path)
    assert spool is not None
    try:
        return [(record.first, record.events, data) for record, data in spool.records()]
    finally:
        spool.close()


def test_what_was_written_is_read(path: Path) -> None:
    assert contents(path) == BATCHES
    assert look_into(path)[0].header == HEADER
    assert path.name == "session-1.spool"
    assert path.stat().st_mode & 0o077 == 0, "others could read the user's logs"


def test_a_record_is_read_by_its_offset(tmp_path: Path) -> None:
    spool = SpoolFile.create(tmp_path, HEADER)
    offsets = [spool.append(*batch) for batch in BATCHES]
    found = [spool.read(offset) for offset in offsets]
    assert [each and each[1] for each in found] == [data for _, _, data in BATCHES]
    assert spool.read(spool.size) is None
    spool.close()


def test_a_torn_tail_is_ignored_wherever_it_is_torn(path: Path) -> None:
    whole = path.read_bytes()
    last = len(BATCHES[2][2]) + 28
    for cut in (1, 27, 28, 29, last - 1, last):
        path.write_bytes(whole[:-cut])
        assert contents(path) == BATCHES[:2]


@pytest.mark.parametrize("data", [b"", b"flowspan", b"PK\x03\x04" + b"x" * 100])
def test_other_files_are_no_spools(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.spool"
    path.write_bytes(data)
    with pytest.raises(SpoolFormatError):
        SpoolFile.adopt(path)
    with pytest.raises(SpoolFormatError):
        look_into(path)


def test_a_spool_has_one_owner(path: Path) -> None:
    assert not is_owned(path)
    owner = SpoolFile.adopt(path)
    assert owner is not None
    assert is_owned(path)
    assert SpoolFile.adopt(path) is None
    owner.close()
    assert not is_owned(path)


def test_a_spool_that_somebody_looks_at_is_adopted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checking the owner takes a lock for a moment, which does not count as ownership."""
    with path.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        unlock = partial(fcntl.flock, looking, fcntl.LOCK_UN)
        monkeypatch.setattr(spool_file.clock, "sleep", lambda _: unlock())
        spool = SpoolFile.adopt(path)
    assert spool is not None
    spool.close()


def test_a_new_spool_is_owned_from_the_first_moment(tmp_path: Path) -> None:
    spool = SpoolFile.create(tmp_path, HEADER)
    assert is_owned(spool.path)
    assert [each.name for each in tmp_path.iterdir()] == [spool.path.name]
    spool.close()


def test_what_was_deleted_meanwhile_is_not_adopted(path: Path) -> None:
    owner = SpoolFile.adopt(path)
    assert owner is not None
    owner.delete()
    assert not path.exists()
    assert SpoolFile.adopt(path) is None


def test_an_append_that_fails_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = SpoolFile.create(tmp_path, HEADER)
    spool.append(1, 1, b"first")
    write = os.pwrite

    def half(handle: int, data: memoryview, offset: int) -> int:
        if len(data) > 10:
            return write(handle, data[:10], offset)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(OSError, match="space"):
        spool.append(2, 1, b"second")
    monkeypatch.undo()
    spool.append(2, 1, b"second again")
    assert [data for _, data in spool.records()] == [b"first", b"second again"]
    spool.close()


def _wait(started: Any, ended: Any) -> None:
    started.set()
    ended.wait()


def test_a_forked_child_does_not_own_the_parents_spool(path: Path) -> None:
    owner = SpoolFile.adopt(path)
    assert owner is not None
    context = multiprocessing.get_context("fork")
    started, ended = context.Event(), context.Event()
    child = context.Process(target=_wait, args=(started, ended))
    child.start()
    try:
        started.wait()
        owner.close()
        assert not is_owned(path)
    finally:
        ended.set()
        child.join()


def test_rewritten_spool_has_the_new_records_and_the_lock(path: Path) -> None:
    spool = SpoolFile.adopt(path)
    assert spool is not None
    old = list(spool.records())

    def fill(new: SpoolFile) -> None:
        assert list(spool.records()) == old
        assert [data for _, data in look_into(path)[1]] == [data for *_, data in BATCHES]
        new.append(7, 2, b"new")

    spool.rewrite(7, fill)
    assert is_owned(path)
    assert [data for _, data in spool.records()] == [b"new"]
    spool.append(9, 1, b"more")
    spool.close()
    assert not is_owned(path)
    assert contents(path) == [(7, 2, b"new"), (9, 1, b"more")]
    assert look_into(path)[0].header.first_sequence == 7
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_spool_stays_as_it_is_if_the_new_records_cannot_be_written(path: Path) -> None:
    spool = SpoolFile.adopt(path)
    assert spool is not None

    def fail(new: SpoolFile) -> None:
        new.append(7, 2, b"new")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        spool.rewrite(7, fail)
    assert is_owned(path)
    spool.close()
    assert contents(path) == BATCHES
    assert [each.name for each in path.parent.iterdir()] == [path.name]
