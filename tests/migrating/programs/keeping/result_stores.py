"""A result store and locks by hand, in plain code and in coroutines."""

import asyncio
import tempfile
from pathlib import Path

from prefect import flow, task
from prefect.locking.filesystem import FileSystemLockManager
from prefect.locking.memory import MemoryLockManager
from prefect.results import ResultStore
from prefect.transactions import IsolationLevel


@flow(persist_result=True)
def plain():
    store = ResultStore()
    store.write({"a": 1}, key="plain")
    return store.exists("plain"), store.read("plain").result, store.exists("other")


@flow(persist_result=True)
async def later():
    store = ResultStore()
    await store.awrite([1, 2], key="later")
    found = await store.aexists("later"), (await store.aread("later")).result
    try:
        await store.aread("other")
    except Exception:
        return *found, await store.aexists("other"), store.exists("later")


@task(persist_result=True)
async def in_task():
    store = ResultStore()
    await store.awrite("text", key="in-task")
    return (await store.aread("in-task")).result


async def locking(locks):
    print(await locks.aacquire_lock("key", holder="a", acquire_timeout=5))
    print(await locks.aacquire_lock("key", holder="b", acquire_timeout=0.01))
    print(await locks.await_for_lock("key", timeout=0.01), locks.is_lock_holder("key", "a"))
    waiting = asyncio.create_task(locks.aacquire_lock("key", holder="b", acquire_timeout=10))
    await asyncio.sleep(0.05)
    locks.release_lock("key", holder="a")
    print(await waiting, locks.is_lock_holder("key", "b"))
    locks.release_lock("key", holder="b")
    print(await locks.await_for_lock("key", timeout=5), locks.is_locked("key"))


async def store_with_locks():
    store = ResultStore(lock_manager=MemoryLockManager())
    print(await store.aacquire_lock("of-store", holder="me"), store.is_locked("of-store"))
    store.release_lock("of-store", holder="me")
    print(await store.await_for_lock("of-store"))
    print(store.supports_isolation_level(IsolationLevel.SERIALIZABLE))


print(plain(), asyncio.run(later()), asyncio.run(in_task()))
asyncio.run(locking(MemoryLockManager()))
with tempfile.TemporaryDirectory() as folder:
    asyncio.run(locking(FileSystemLockManager(lock_files_directory=Path(folder))))
asyncio.run(store_with_locks())
print(ResultStore().supports_isolation_level(IsolationLevel.SERIALIZABLE))
print(ResultStore().supports_isolation_level(IsolationLevel.READ_COMMITTED))

# prints: (True, {'a': 1}, False) (True, [1, 2], False, True) text
# prints: True
# prints: False
# prints: False True
# prints: True True
# prints: True False
# prints: True
# prints: False
# prints: False True
# prints: True True
# prints: True False
# prints: True True
# prints: True
# prints: True
# prints: False
# prints: True
