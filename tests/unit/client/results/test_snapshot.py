from __future__ import annotations

import io
import itertools
import tempfile
import threading
import weakref
from functools import partial
from typing import Any

import numpy as np
import pytest

from flowspan.results.snapshot import Snapshot


class Store:
    def __init__(self, **things: Any) -> None:
        self.__dict__.update(things)


class Closing:
    """Releases a resource when it is deleted."""

    closed: list[Any] = []  # noqa: RUF012 - of the class

    def __init__(self) -> None:
        self.rows = [1]

    def __del__(self) -> None:
        self.closed.append(self.rows)


class Uploading(io.BytesIO):
    """Has a side effect in `close`."""

    uploaded: list[bytes] = []  # noqa: RUF012 - of the class

    def close(self) -> None:
        self.uploaded.append(self.getvalue())


class Hostile:
    def __reduce_ex__(self, _protocol: Any) -> Any:
        raise RuntimeError("not today")


def local_object() -> Any:
    class Local:
        pass

    found = Local()
    found.rows = [1]  # type: ignore[attr-defined] # a plain object
    return found


@pytest.mark.parametrize(
    "value",
    [
        *([1, [2]], {"a": [1]}, {1: {2}}, ([1],), bytearray(b"a"), Store(rows=[1]), local_object()),
        *(np.arange(3), partial(len, [1]), ValueError([1]), io.BytesIO(b"a"), io.StringIO("a")),
    ],
    ids=range(12),
)
def test_each_copy_is_a_new_one(value: Any) -> None:
    snapshot = Snapshot(value)
    first, second = snapshot.load(), snapshot.load()
    assert len({id(value), id(first), id(second)}) == 3
    assert type(first) is type(value)


@pytest.mark.parametrize("value", [1, "a", None, b"a", (1, "a"), 1.5, range(3), int], ids=str)
def test_what_cannot_be_changed_is_not_copied(value: Any) -> None:
    assert Snapshot(value).load() is value


@pytest.mark.parametrize(
    "value",
    [
        *(threading.Lock(), object(), Hostile(), lambda: 1, (each for each in ()), Store),
        *(weakref.ref, itertools.count(), itertools.cycle([1])),
    ],
    ids=range(9),
)
def test_what_cannot_be_copied_is_the_thing_itself(value: Any) -> None:
    assert Snapshot(value).load() is value
    around = {"it": value, "rows": [1]}
    copied = Snapshot(around).load()
    assert copied["it"] is value
    assert copied["rows"] is not around["rows"]


@pytest.mark.parametrize(
    "make", [lambda: io.BytesIO(b"abc"), lambda: io.StringIO("abc")], ids=["bytes", "text"]
)
def test_a_file_in_memory_is_where_it_was(make: Any) -> None:
    file = make()
    file.read(1)
    file.note = "kept"
    snapshot = Snapshot({"of": [file, file]})
    assert len(file.read()) == 2
    file.close()
    for _ in range(2):
        first, second = snapshot.load()["of"]
        assert first is second
        assert (first.note, first.tell(), len(first.read())) == ("kept", 1, 2)


@pytest.mark.parametrize(
    "make",
    [
        *(lambda: Uploading(b"a"), lambda: io.TextIOWrapper(io.BytesIO(b"a"))),
        *(lambda: io.BufferedReader(io.BytesIO(b"a")), tempfile.TemporaryFile),  # type: ignore[arg-type, return-value]
    ],
    ids=["subclass", "text", "buffered", "on disk"],
)
def test_other_files_are_not_copied(make: Any) -> None:
    with make() as file:
        assert Snapshot([file]).load()[0] is file


def test_parts_that_are_one_stay_one() -> None:
    rows, lock = [1], threading.Lock()
    copied = Snapshot([rows, rows, lock, lock]).load()
    assert copied[0] is copied[1]
    assert copied[2] is copied[3] is lock


def test_nothing_is_let_go_of_before_the_copies_are() -> None:
    snapshot = Snapshot([Closing()])
    copied = snapshot.load()
    assert copied[0].rows == [1]
    assert not Closing.closed
    folder = tempfile.TemporaryDirectory()
    kept = Snapshot(folder)
    copied = kept.load()
    assert copied.name == folder.name
    folder.cleanup()


def test_depth_is_no_matter() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert Snapshot(deep).load() is deep
    while deep:  # Python itself would deallocate it recursively.
        deep = deep[0]
