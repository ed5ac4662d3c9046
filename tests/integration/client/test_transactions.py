"""Transactions: what they commit and roll back, in which order, and the states of their runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.sync_and_async import ASYNC, PLAIN, Kind, ended

from flowspan.cache_policies import INPUTS
from flowspan.core.transactions import TransactionState
from flowspan.exceptions import CancelRun, ConfigError
from flowspan.locking.filesystem import FileSystemLockManager
from flowspan.locking.memory import MemoryLockManager
from flowspan.results import ResultStore
from flowspan.transactions import (
    AsyncTransaction,
    CommitMode,
    IsolationLevel,
    Transaction,
    atransaction,
    get_transaction,
    transaction,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.recorder import Recorder


class Both:
    """A transaction of either kind behind `async with`."""

    def __init__(self, kind: Kind, *args: Any, **options: Any) -> None:
        self.block: Any = (atransaction if kind.is_async else transaction)(*args, **options)
        self.is_async = kind.is_async

    async def __aenter__(self) -> Any:
        return await self.block.__aenter__() if self.is_async else self.block.__enter__()

    async def __aexit__(self, *error: Any) -> None:
        if self.is_async:
            await self.block.__aexit__(*error)
        else:
            self.block.__exit__(*error)


@pytest.fixture(params=[PLAIN, ASYNC], ids=repr)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def results(flowspan_home: Path) -> Path:
    return flowspan_home / "results"


class Told:
    """Tasks that record their calls, commits and rollbacks."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.lines: list[Any] = []

    def task(self, name: str, **options: Any) -> Any:
        async def step(x: int = 0) -> str:
            self.lines.append(name)
            transaction = get_transaction()
            assert transaction is not None
            transaction.set("made by", name)
            return name

        step.__name__ = step.__qualname__ = name
        made = self.kind.task(step, **options)

        @made.on_commit
        def committed(transaction: Any) -> None:
            self.lines.append(f"commit {transaction.get('made by')}")

        if self.kind.is_async:

            @made.on_rollback
            async def rolled_back_later(transaction: Any) -> None:
                await asyncio.sleep(0)
                self.lines.append(f"undo {transaction.get('made by')}")
        else:

            @made.on_rollback
            def rolled_back(transaction: Any) -> None:
                self.lines.append(f"undo {transaction.get('made by')}")

        return made

    def failing(self) -> Any:
        async def fails() -> None:
            raise ValueError("no")

        return self.kind.task(fails)


def last_names(recorder: Recorder) -> dict[str, str]:
    return {run.function_name: recorder.end(run)[1] for run in recorder.runs if not run.is_flow}


def test_a_block_that_ends_well_is_committed(kind: Kind, recorder: Recorder, results: Path) -> None:
    told = Told(kind)
    a, b = told.task("a", persist_result=True), told.task("b")

    @kind.flow
    async def outer() -> Any:
        async with Both(kind) as block:
            await ended(a())
            await ended(b())
            assert told.lines == ["a", "b"]
            assert not results.exists()  # noqa: ASYNC240 - the loop has nothing else to run
        return block.state

    assert kind.run(outer) is TransactionState.COMMITTED
    assert told.lines == ["a", "b", "commit a", "commit b"]
    assert last_names(recorder) == {"a": "Completed", "b": "Completed"}
    assert len(list(results.iterdir())) == 1


def test_a_block_that_fails_is_rolled_back_in_reverse(
    kind: Kind, recorder: Recorder, results: Path
) -> None:
    told = Told(kind)
    a, b = told.task("a", persist_result=True), told.task("b")

    @kind.flow
    async def outer() -> None:
        async with Both(kind):
            await ended(a())
            await ended(b())
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kind.run(outer)
    assert told.lines == ["a", "b", "undo b", "undo a"]
    assert [recorder.states(name) for name in ("a", "b")] == [
        [("Running", 1), ("Completed", 1), ("RolledBack", 1)]
    ] * 2
    assert not results.exists()
    assert recorder.end("outer")[1] == "Failed"


def test_a_failed_task_rolls_back_even_if_its_error_is_caught(
    kind: Kind, recorder: Recorder
) -> None:
    told = Told(kind)
    a, b, fails = told.task("a"), told.task("b"), told.failing()

    @kind.flow
    async def outer() -> Any:
        async with Both(kind) as block:
            await ended(a())
            with suppress(ValueError):
                await ended(fails())
            assert block.is_rolled_back()
            await ended(b())
        return block.state

    assert kind.run(outer) is TransactionState.ROLLED_BACK
    assert told.lines == ["a", "undo a", "b", "undo b"]
    assert last_names(recorder) == {"a": "RolledBack", "b": "RolledBack", "fails": "Failed"}


def test_only_the_last_failure_of_a_task_rolls_back(kind: Kind, recorder: Recorder) -> None:
    told = Told(kind)
    a = told.task("a")
    calls: list[int] = []

    @kind.task(retries=1)
    async def flaky() -> None:
        calls.append(1)
        await ended(told.task("inner")())
        if len(calls) == 1:
            raise ValueError

    @kind.flow
    async def outer() -> None:
        async with Both(kind):
            await ended(a())
            await ended(flaky())

    kind.run(outer)
    # Only the work of the first attempt inside the transaction is undone.
    assert told.lines == ["a", "inner", "undo inner", "inner", "commit a", "commit inner"]


def test_nested_blocks_wait_for_the_outer_one(kind: Kind, recorder: Recorder) -> None:
    told = Told(kind)
    a, b, c = told.task("a"), told.task("b"), told.task("c")

    async def blocks(*, fail: bool) -> None:
        async with Both(kind) as outside:
            outside.set("x", 1)
            await ended(a())
            async with Both(kind) as inside:
                assert get_transaction() is inside
                assert inside.get("x") == 1
                assert inside.get("y", 2) == 2
                with pytest.raises(ValueError, match="no value 'y'"):
                    inside.get("y")
                await ended(b())
                await ended(c())
            assert inside.is_active()
            if fail:
                raise ValueError

    @kind.flow
    async def outer(fail: bool) -> None:
        await blocks(fail=fail)

    kind.run(outer, fail=False)
    assert told.lines == ["a", "b", "c", "commit a", "commit b", "commit c"]
    told.lines.clear()
    kind.run(outer, fail=True, return_state=True)
    assert told.lines == ["a", "b", "c", "undo c", "undo b", "undo a"]


def test_tasks_in_tasks_and_in_subflows_belong_to_it(kind: Kind, recorder: Recorder) -> None:
    told = Told(kind)
    leaf, bare_leaf = told.task("leaf"), kind.task(ended, name="bare-leaf")

    @kind.task
    async def middle() -> None:
        await ended(leaf())
        await ended(bare_leaf(1))

    @kind.flow
    async def inner() -> None:
        await ended(middle())

    @kind.flow
    async def outer() -> None:
        async with Both(kind):
            await ended(inner())
            raise ValueError

    kind.run(outer, return_state=True)
    assert told.lines == ["leaf", "undo leaf"]
    assert last_names(recorder) == dict.fromkeys(["middle", "leaf", "bare-leaf"], "RolledBack")


def test_without_a_block_a_task_is_its_own_transaction(kind: Kind, recorder: Recorder) -> None:
    told = Told(kind)
    leaf = told.task("leaf")

    @kind.task
    async def middle(fail: bool) -> None:
        await ended(leaf())
        if fail:
            raise ValueError

    @kind.flow
    async def outer(fail: bool) -> None:
        await ended(middle(fail))

    kind.run(outer, False)
    assert told.lines == ["leaf", "commit leaf"]
    told.lines.clear()
    kind.run(outer, True, return_state=True)
    assert told.lines == ["leaf", "undo leaf"]


@pytest.mark.parametrize("mode", CommitMode)
def test_commit_modes(mode: CommitMode, kind: Kind, recorder: Recorder) -> None:
    told = Told(kind)
    a = told.task("a")

    @kind.flow
    async def outer() -> None:
        async with Both(kind, commit_mode=mode) as block:
            await ended(a())
            told.lines.append("end of block")
        assert block.has_ended

    kind.run(outer)
    expected = {
        CommitMode.EAGER: ["a", "commit a", "end of block"],
        CommitMode.LAZY: ["a", "end of block", "commit a"],
        CommitMode.OFF: ["a", "end of block", "undo a"],
    }
    assert told.lines == expected[mode]


def test_off_is_committed_by_hand(kind: Kind, recorder: Recorder) -> None:
    told = Told(kind)
    a = told.task("a")

    @kind.flow
    async def outer() -> None:
        async with Both(kind, commit_mode="OFF") as block:
            await ended(a())
            assert await ended(block.commit())
            assert not await ended(block.rollback())

    kind.run(outer)
    assert told.lines == ["a", "commit a"]


def test_a_commit_hook_that_raises_rolls_its_task_back(kind: Kind, recorder: Recorder) -> None:
    told = Told(kind)
    a, b = told.task("a"), told.task("b")

    @a.on_commit
    def refuses(transaction: Any) -> None:
        raise RuntimeError("not this one")

    @kind.flow
    async def outer() -> None:
        async with Both(kind):
            await ended(a())
            await ended(b())
        assert await ended(a()) == "a"

    kind.run(outer)
    assert told.lines == ["a", "b", "commit a", "undo a", "commit b", "a", "commit a", "undo a"]
    first, second = (run for run in recorder.runs if run.function_name == "a")
    assert recorder.states(first)[-2:] == [("Completed", 1), ("RolledBack", 1)]
    assert recorder.states(second) == [("Running", 1), ("RolledBack", 1)]
    assert "could not be committed" in recorder.logs(first, logging.ERROR)[0]


def test_a_rollback_hook_that_raises_does_not_stop_the_others(
    kind: Kind, recorder: Recorder
) -> None:
    told = Told(kind)
    a, b = told.task("a"), told.task("b")

    @b.on_rollback
    def breaks(transaction: Any) -> None:
        raise RuntimeError("cannot be undone")

    @kind.flow
    async def outer() -> None:
        async with Both(kind):
            await ended(a())
            await ended(b())
            raise ValueError

    kind.run(outer, return_state=True)
    assert told.lines == ["a", "b", "undo b", "undo a"]
    (line,) = recorder.logs("b", logging.ERROR)
    assert "'breaks' raised" in line


def test_a_key_is_a_checkpoint(kind: Kind, recorder: Recorder, results: Path) -> None:
    def work(*, fail: bool, **options: Any) -> Any:
        @kind.flow
        async def outer() -> Any:
            async with Both(kind, "daily", **options) as block:
                if block.is_committed():
                    return (await ended(block.read())).result
                block.stage({"made": True})
                assert block.is_staged()
                if fail:
                    raise ValueError
            assert block.is_committed()
            return "made"

        return kind.run(outer, return_state=fail)

    assert work(fail=True).is_failed()
    assert not (results / "daily").exists()
    assert work(fail=False) == "made"
    assert work(fail=False) == {"made": True}
    assert work(fail=False, overwrite=True) == "made"
    store = ResultStore(results.parent / "other")
    assert work(fail=False, store=store, write_on_commit=False) == "made"
    assert not store.exists("daily")


def test_cached_tasks_are_not_rolled_back(kind: Kind, recorder: Recorder) -> None:
    told = Told(kind)
    a = told.task("a", cache_policy=INPUTS)

    @kind.flow
    async def outer() -> None:
        await ended(a())
        async with Both(kind):
            await ended(a())
            raise ValueError

    kind.run(outer, return_state=True)
    assert told.lines == ["a", "commit a"]
    assert recorder.end(recorder.runs[2])[1] == "Cached"


def test_what_was_rolled_back_is_not_cached_nor_kept(kind: Kind, recorder: Recorder) -> None:
    told = Told(kind)
    cached, kept = told.task("cached", cache_policy=INPUTS), told.task("kept")
    attempts: list[int] = []

    @kind.flow(retries=1)
    async def outer() -> None:
        attempts.append(1)
        async with Both(kind):
            await ended(cached())
            await ended(kept())
            if len(attempts) == 1:
                raise ValueError

    kind.run(outer)
    done = ["cached", "kept", "undo kept", "undo cached"]
    assert told.lines == [*done, "cached", "kept", "commit cached", "commit kept"]


def test_submitted_tasks_belong_to_the_block(kind: Kind, recorder: Recorder) -> None:
    told = Told(kind)
    a = told.task("a")

    @kind.flow
    async def outer() -> None:
        async with Both(kind):
            futures = a.map([1, 2])
            if kind.is_async:
                [await future for future in futures]
            else:
                futures.wait()
            raise ValueError

    kind.run(outer, return_state=True)
    assert sorted(told.lines) == ["a", "a", "undo a", "undo a"]


def test_outside_of_flows(kind: Kind, recorder: Recorder) -> None:
    told = Told(kind)
    a = told.task("a")

    async def block() -> None:
        async with Both(kind):
            await ended(a())
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - raised by the test
        asyncio.run(block()) if kind.is_async else block().send(None)
    assert told.lines == ["a", "undo a"]
    assert get_transaction() is None


@pytest.mark.parametrize("where", ["memory", "files"])
def test_serializable_lets_one_at_a_time_in(
    where: str, kind: Kind, recorder: Recorder, tmp_path: Path
) -> None:
    locks = MemoryLockManager() if where == "memory" else FileSystemLockManager(tmp_path / "locks")
    store = ResultStore(tmp_path / "results", lock_manager=locks)
    key = f"key-{tmp_path.name}"
    level = IsolationLevel.SERIALIZABLE
    inside = threading.Event()
    made: list[str] = []

    def other() -> None:
        with transaction(key, store, isolation_level=level) as block:
            inside.set()
            assert not block.is_committed()
            waiting.wait(60)
            block.stage("the other's")

    waiting = threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(60)
    assert store.is_locked(key)

    @kind.flow
    async def outer() -> None:
        block = Both(kind, key, store, isolation_level=level)
        waiting.set()
        async with block as entered:
            assert entered.is_committed()
            made.append((await ended(entered.read())).result)

    kind.run(outer)
    thread.join(60)
    assert made == ["the other's"]
    assert not store.is_locked(key)


def test_a_policy_that_locks_lets_one_compute(kind: Kind, recorder: Recorder) -> None:
    calls: list[int] = []
    policy = INPUTS.configure(isolation_level="SERIALIZABLE", lock_manager=MemoryLockManager())

    @kind.task(cache_policy=policy)
    async def slow(x: int) -> int:
        calls.append(x)
        if kind.is_async:
            await asyncio.sleep(0.02)
        return x

    @kind.flow
    async def outer() -> list[str]:
        futures = slow.map([1] * 4)
        if kind.is_async:
            [await future for future in futures]
        return [future.wait() or future.state.name for future in futures]

    assert sorted(kind.run(outer)) == ["Cached", "Cached", "Cached", "Completed"]
    assert calls == [1]


def test_what_waits_for_a_lock_can_be_cancelled(kind: Kind, recorder: Recorder) -> None:
    locks = MemoryLockManager()
    store = ResultStore(lock_manager=locks)
    assert locks.acquire_lock("held", "somebody")
    try:

        @kind.flow
        async def outer() -> None:
            cancel = recorder.cancels[recorder.run("outer").id]
            timer = threading.Timer(0.05, cancel, ("enough",))
            timer.start()
            async with Both(kind, "held", store, isolation_level="SERIALIZABLE"):
                raise AssertionError("the transaction must not get the lock")

        with pytest.raises(CancelRun, match="enough"):
            kind.run(outer)
    finally:
        locks.release_lock("held", "somebody")


def test_locking_needs_something_that_locks(kind: Kind, recorder: Recorder) -> None:
    @kind.flow
    async def outer() -> None:
        async with Both(kind, "k", isolation_level="SERIALIZABLE"):
            pass

    with pytest.raises(ConfigError, match="lock manager"):
        kind.run(outer)
    task = kind.task(ended, name="t", cache_policy=INPUTS.configure(isolation_level="SERIALIZABLE"))
    with pytest.raises(ConfigError, match="lock_manager"):
        kind.run(task, 1)


@pytest.mark.usefixtures("recorder")
def test_a_block_is_used_once() -> None:
    block = transaction()
    with block, pytest.raises(RuntimeError, match="another one"), block:
        pass
    assert isinstance(block, Transaction)
    assert isinstance(atransaction(), AsyncTransaction)
    with pytest.raises(ValueError, match="SOMETIMES"):
        transaction(commit_mode="SOMETIMES")


def test_hooks_of_one_task_are_called_in_order_and_undone_in_reverse(
    kind: Kind, recorder: Recorder
) -> None:
    lines: list[str] = []
    task = kind.task(
        ended,
        name="t",
        on_commit=[lambda txn: lines.append("c1"), lambda txn: lines.append("c2")],
        on_rollback=[lambda txn: lines.append("r1"), lambda txn: lines.append("r2")],
    )

    @kind.flow
    async def outer(fail: bool) -> None:
        async with Both(kind) as block:
            block.stage(
                1,
                on_rollback_hooks=[lambda txn: lines.append("block")],
                on_commit_hooks=[lambda txn: lines.append("block")],
            )
            await ended(task(1))
            if fail:
                raise ValueError

    kind.run(outer, False)
    kind.run(outer, True, return_state=True)
    assert lines == ["c1", "c2", "block", "block", "r2", "r1"]
