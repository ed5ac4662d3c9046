from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowspan.exceptions import MissingResult, ResultUnreadable
from flowspan.locking.memory import MemoryLockManager
from flowspan.results import ResultStore
from flowspan.results.record import ResultRecord, pack, unpack
from flowspan.results.reference import load_reference
from flowspan.results.storage import RemoteFolder, file_name, open_folder
from flowspan.transactions import IsolationLevel

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["path", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Return a store's folder, as a path, a file URL, or a URL that only fsspec knows."""
    where: Any = {
        "path": tmp_path / "results",
        "file": (tmp_path / "a b").as_uri(),
        "memory": f"memory://{tmp_path.name}/results",
    }
    yield where[request.param]
    fsspec.filesystem("memory").store.clear()


def test_what_is_written_is_found(folder: Any) -> None:
    store = ResultStore(folder, serializer="json")
    assert store.find("k") is None
    with pytest.raises(MissingResult, match="'k'"):
        store.read("k")
    written = store.write({"a": 1}, key="k", run_id="r")
    found = ResultStore(folder).find("k")
    assert found == written
    assert found is not None
    assert (found.result, found.run_id, found.expiration) == ({"a": 1}, "r", None)
    assert store.exists("k")
    store.write("new", key="k")
    assert store.read("k").result == "new"


def test_coroutines_read_and_write(folder: Any) -> None:
    async def main() -> None:
        store = ResultStore(folder, lock_manager=MemoryLockManager())
        assert not await store.aexists("k")
        with pytest.raises(MissingResult, match="'k'"):
            await store.aread("k")
        written = await store.awrite([1], key="k", run_id="r")
        assert await store.aexists("k")
        assert await store.aread("k") == store.read("k") == written
        assert await store.aacquire_lock(str(folder), "a")
        assert not await store.aacquire_lock(str(folder), "b", timeout=0)
        assert not await store.await_for_lock(str(folder), timeout=0)
        store.release_lock(str(folder), "a")
        assert await store.await_for_lock(str(folder))

    asyncio.run(main())


def test_isolation_levels(folder: Any) -> None:
    for level, with_locks, without in (
        (IsolationLevel.READ_COMMITTED, True, True),
        (IsolationLevel.SERIALIZABLE, True, False),
    ):
        locking = ResultStore(folder, lock_manager=MemoryLockManager())
        assert locking.supports_isolation_level(level) is with_locks
        assert ResultStore(folder).supports_isolation_level(level) is without
    with pytest.raises(ValueError, match="'no' is not an isolation level"):
        ResultStore(folder).supports_isolation_level("no")


def test_what_has_expired_is_not_found(folder: Any) -> None:
    store = ResultStore(folder)
    now = datetime.now(UTC)  # noqa: TID251 - the store uses the real clock
    store.write(1, key="old", expiration=now - timedelta(seconds=1))
    store.write(2, key="new", expiration=now + timedelta(hours=1))
    assert not store.exists("old")
    assert store.read("old").result == 1
    assert store.exists("new")


def test_a_reference_leads_to_the_result(folder: Any) -> None:
    store = ResultStore(folder, serializer="compressed/json")
    store.write([1, 2], key="a/b c?%#é")
    reference = store.reference("a/b c?%#é")
    assert reference["serializer"] == "compressed/json"
    assert load_reference(json.dumps(reference).encode()) == [1, 2]
    with pytest.raises(MissingResult, match="as seen from this machine"):
        load_reference(json.dumps(store.reference("other")).encode())
    with pytest.raises(ResultUnreadable, match="not a reference"):
        load_reference(b"{}")


def test_keys_may_have_a_folder_of_their_own(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results", metadata_storage=tmp_path / "keys")
    store.write("value", key="k")
    assert {path.name for path in tmp_path.glob("*/k")} == {"k"}
    assert ResultStore(tmp_path / "elsewhere", metadata_storage=tmp_path / "keys").exists("k")
    assert store.read("k").result == "value"
    (tmp_path / "results" / "k").unlink()
    assert not store.exists("k")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"something else",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data.replace(b'"size"', b'"sighs"'),
        lambda data: data.replace(b'"key": "k"', b'"key": "j"'),
    ],
    ids=["empty", "foreign", "short", "half", "flipped", "header", "other-key"],
)
def test_what_is_damaged_is_passed_over(
    damage: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ResultStore(tmp_path)
    store.write("value", key="k")
    path = tmp_path / "k"
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING, "flowspan.results"):
        assert store.find("k") is None
    assert "is ignored" in caplog.text
    with pytest.raises(ResultUnreadable):
        store.read("k")


def test_nobody_sees_half_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path)
    store.write("old", key="k")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        store.write("new", key="k")
    assert store.read("k").result == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_where_files_are_seen_half_they_are_renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    moved: list[tuple[str, str]] = []
    move = memory.mv
    monkeypatch.setattr(type(memory), "mv", lambda self, a, b: (moved.append((a, b)), move(a, b)))
    folder = RemoteFolder("memory://renamed")
    folder._renames = True
    folder.write("k", b"data")
    assert folder.read("k") == b"data"
    ((before, after),) = moved
    assert before.endswith(".part")
    assert after.endswith("/k")
    folder.delete("k")
    folder.delete("k")
    assert folder.read("k") is None


@given(key=st.text(min_size=1))
def test_any_key_is_the_name_of_a_file_inside(key: str) -> None:
    name = file_name(key)
    inside = Path("/folder") / name
    assert len(name.encode()) < 200
    assert "\0" not in name
    assert inside.parts[: len(Path("/folder").parts)] == ("/", "folder")
    assert ".." not in inside.parts


@given(keys=st.lists(st.text(alphabet="ab./_ é", min_size=1, max_size=4), unique=True, min_size=2))
def test_two_keys_have_two_files(keys: list[str]) -> None:
    assert len({file_name(key) for key in keys}) == len(keys)


@given(body=st.binary(), key=st.text(), run_id=st.text(), expires=st.none() | st.integers())
def test_a_record_is_read_as_it_was_written(
    body: bytes, key: str, run_id: str, expires: int | None
) -> None:
    record = ResultRecord(
        key=key,
        body=body,
        serializer={"type": "json"},
        created_ns=5,
        expires_ns=expires,
        run_id=run_id,
    )
    assert unpack(pack(record)) == record


@given(data=st.binary())
def test_nothing_foreign_is_read(data: bytes) -> None:
    with pytest.raises(ResultUnreadable):
        unpack(data)
    with pytest.raises(ResultUnreadable):
        unpack(b"flowspan-result/1\n" + data)


def test_an_unknown_kind_of_url() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        open_folder("nowhere://x")
