from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from flowspan.locking.filesystem import FileSystemLockManager
from flowspan.locking.memory import MemoryLockManager

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["memory", "files"])
def locks(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return a lock manager of either kind."""
    return MemoryLockManager() if request.param == "memory" else FileSystemLockManager(tmp_path)


@pytest.fixture
def key(tmp_path: Path) -> str:
    """Return a key that no other test uses."""
    return str(tmp_path)


def test_one_holder_at_a_time(locks: Any, key: str) -> None:
    assert not locks.is_locked(key)
    assert locks.acquire_lock(key, "a", acquire_timeout=0)
    assert locks.acquire_lock(key, "a", acquire_timeout=0)
    assert not locks.acquire_lock(key, "b", acquire_timeout=0)
    assert not locks.acquire_lock(key, "b", acquire_timeout=0.01)
    assert locks.is_locked(key)
    assert locks.is_lock_holder(key, "a")
    assert not locks.is_lock_holder(key, "b")
    assert locks.acquire_lock(f"{key}-other", "b", acquire_timeout=0)
    assert not locks.wait_for_lock(key, timeout=0.01)
    with pytest.raises(ValueError, match="'b' has not locked"):
        locks.release_lock(key, "b")
    locks.release_lock(key, "a")
    with pytest.raises(ValueError, match="'a' has not locked"):
        locks.release_lock(key, "a")
    assert locks.wait_for_lock(key)
    assert locks.acquire_lock(key, "b", acquire_timeout=0)
    locks.release_lock(key, "b")
    locks.release_lock(f"{key}-other", "b")


def test_coroutines_wait_without_blocking_their_loop(locks: Any, key: str) -> None:
    async def main() -> None:
        assert await locks.aacquire_lock(key, "a", acquire_timeout=0)
        assert await locks.await_for_lock(f"{key}-other")
        assert not await locks.aacquire_lock(key, "b", acquire_timeout=0)
        assert not await locks.await_for_lock(key, timeout=0)
        waiting = asyncio.create_task(locks.aacquire_lock(key, "b"))
        cancelled = asyncio.create_task(locks.aacquire_lock(key, "c"))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        locks.release_lock(key, "a")
        assert await waiting
        assert locks.is_lock_holder(key, "b")
        locks.release_lock(key, "b")
        assert await locks.await_for_lock(key)
        assert not locks.is_locked(key)

    asyncio.run(main())


def test_who_waits_gets_it(locks: Any, key: str) -> None:
    inside: list[str] = []
    most: list[int] = []

    def work(holder: str) -> None:
        for _ in range(5):
            assert locks.acquire_lock(key, holder)
            inside.append(holder)
            most.append(len(inside))
            inside.remove(holder)
            locks.release_lock(key, holder)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 20
    assert not locks.is_locked(key)


def test_a_lock_may_end_by_itself(locks: Any, key: str) -> None:
    assert locks.acquire_lock(key, "a", hold_timeout=0.01)
    assert locks.wait_for_lock(key, timeout=60)
    assert locks.acquire_lock(key, "b", acquire_timeout=60)
    locks.release_lock(key, "b")


HOLDS = """
import sys
from flowspan.locking.filesystem import FileSystemLockManager
assert FileSystemLockManager(sys.argv[1]).acquire_lock("k", "a", acquire_timeout=0)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_holder_that_dies_holds_nothing(tmp_path: Path) -> None:
    locks = FileSystemLockManager(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        assert locks.is_locked("k")
        assert not locks.acquire_lock("k", "b", acquire_timeout=0)
        holder.send_signal(signal.SIGKILL)
        assert locks.acquire_lock("k", "b", acquire_timeout=60)
    locks.release_lock("k", "b")
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_has_no_lock(locks: Any, key: str) -> None:
    assert locks.acquire_lock(key, "a", acquire_timeout=0)
    child = os.fork()
    if not child:  # The child must not run any test code.
        os._exit(int(locks.is_lock_holder(key, "a")))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert locks.is_lock_holder(key, "a")
    assert not locks.acquire_lock(key, "b", acquire_timeout=0)
    locks.release_lock(key, "a")
