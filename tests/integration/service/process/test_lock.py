"""One service per SQLite file."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from flowspan_service.process.errors import DatabaseLockError
from flowspan_service.process.lock import (
    DatabaseLock,
    DatabaseLockedError,
    lock_holder,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_the_second_is_told_of_the_first(tmp_path: Path) -> None:
    database = tmp_path / "flowspan.db"
    with DatabaseLock(database, embedded=True) as lock:
        lock.announce("127.0.0.1:4600")
        with pytest.raises(DatabaseLockedError) as caught:
            DatabaseLock(database, embedded=False)
        holder = caught.value.holder
        assert holder is not None
        assert (holder.pid, holder.embedded) == (os.getpid(), True)
        assert "the local service at 127.0.0.1:4600" in str(caught.value)
        assert lock_holder(database) == holder
    assert lock_holder(database) is None
    DatabaseLock(database, embedded=False).release()


def test_databases_in_one_folder_have_locks_of_their_own(tmp_path: Path) -> None:
    one = DatabaseLock(tmp_path / "one.db", embedded=False)
    two = DatabaseLock(tmp_path / "two.db", embedded=False)
    one.release()
    one.release()
    assert lock_holder(tmp_path / "one.db") is None
    assert lock_holder(tmp_path / "two.db") is not None
    two.release()
    assert lock_holder(tmp_path / "two.db") is None


def test_the_lock_ends_with_its_process_however_it_ends(tmp_path: Path) -> None:
    database = tmp_path / "flowspan.db"
    program = (
        "import pathlib, sys, time\n"
        "from flowspan_service.process.lock import DatabaseLock\n"
        "lock = DatabaseLock(pathlib.Path(sys.argv[1]), embedded=False)\n"
        "print('held', flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(database)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        holder = lock_holder(database)
        assert holder is not None
        assert (holder.pid, holder.embedded) == (process.pid, False)
        with pytest.raises(DatabaseLockedError, match=f"process {process.pid}"):
            DatabaseLock(database, embedded=False)
        process.kill()
    assert lock_holder(database) is None
    DatabaseLock(database, embedded=False).release()


def test_a_lock_with_strange_content_is_still_a_lock(tmp_path: Path) -> None:
    database = tmp_path / "flowspan.db"
    with DatabaseLock(database, embedded=False):
        for content in ("", "{", "[]", '{"pid": "x"}'):
            (tmp_path / "flowspan.db.lock").write_text(content)
            with pytest.raises(DatabaseLockedError, match="another flowspan service"):
                DatabaseLock(database, embedded=False)


def test_a_folder_that_is_not_there_is_explained(tmp_path: Path) -> None:
    assert lock_holder(tmp_path / "no" / "flowspan.db") is None
    with pytest.raises(DatabaseLockError, match="cannot be created"):
        DatabaseLock(tmp_path / "no" / "flowspan.db", embedded=False)
