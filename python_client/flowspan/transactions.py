"""Transactions: groups of tasks that are committed or rolled back as a whole.

::

    with transaction() as txn:
        write_file(path, text)      # its on_rollback hooks undo it …
        check_quality(path)         # … if this fails

Each task run in the block is a part of its transaction. If the block succeeds, the results of the
task runs are stored and their `on_commit` hooks are called, in order. If the block raises an error,
or one of its tasks fails, the `on_rollback` hooks of the completed task runs are called in reverse
order, their results are not stored, and their runs end up as RolledBack.

With a key, a transaction is a checkpoint: once it is committed, the next transaction with that key
is committed from the start.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import uuid4

from flowspan.core.call_graph import current_sketch
from flowspan.core.option_errors import names_options
from flowspan.core.result_options import ResultPolicy
from flowspan.core.run import current_run
from flowspan.core.steps import CallBlocking, Sleep
from flowspan.core.transactions import (
    CommitMode,
    IsolationLevel,
    TransactionNode,
    TransactionState,
    commit,
    current_transaction,
    end,
    register_public,
    rollback,
)
from flowspan.core.values.inspection import is_instance
from flowspan.drivers.perform import perform_all
from flowspan.drivers.process import process_of
from flowspan.exceptions import ConfigError
from flowspan.results.handler import transaction_of
from flowspan.results.snapshot import Snapshot
from flowspan.results.store import get_result_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextvars import Token
    from types import TracebackType
    from typing import Self

    from flowspan.core.run import Run
    from flowspan.core.steps import Steps
    from flowspan.results.record import ResultRecord
    from flowspan.results.store import ResultStore

__all__ = [
    "AsyncTransaction",
    "BaseTransaction",
    "CommitMode",
    "IsolationLevel",
    "Transaction",
    "TransactionState",
    "atransaction",
    "get_transaction",
    "transaction",
]

_logger = logging.getLogger("flowspan.transactions")
_ERROR = logging.ERROR
_FIRST_WAIT_S = 0.01
_LONGEST_WAIT_S = 0.5


BaseTransaction = TransactionNode


class _Block(TransactionNode):
    """The transaction of a block or of a task run: the part that sync and async share."""

    # The transaction of a task run is created without `__init__` and has these values.
    store: ResultStore | None = None
    overwrite = False
    write_on_commit = True
    logger: logging.Logger | logging.LoggerAdapter[Any] | None = None
    _run: Run | None = None
    _finds_store = False
    _modes: tuple[Any, Any] = (None, None)
    _staged: Any = None
    _record: ResultRecord | Exception | None = None
    _token: Token[TransactionNode | None] | None = None

    def __init__(
        self,
        *,
        store: ResultStore | None = None,
        key: str | None = None,
        commit_mode: CommitMode | str | None = None,
        isolation_level: IsolationLevel | str | None = IsolationLevel.READ_COMMITTED,
        overwrite: bool = False,
        write_on_commit: bool = True,
        logger: logging.Logger | logging.LoggerAdapter[Any] | None = None,
        on_commit_hooks: Iterable[Callable[..., Any]] = (),
        on_rollback_hooks: Iterable[Callable[..., Any]] = (),
    ) -> None:
        self._run = current_run.get()
        self.logger = logger
        super().__init__(
            key=key,
            parent=None,
            commit_mode=None if commit_mode is None else CommitMode(commit_mode),
            isolation_level=None if isolation_level is None else IsolationLevel(isolation_level),
            note=self._log,
        )
        self.state = TransactionState.PENDING
        self.store = store
        self.overwrite = overwrite
        self.write_on_commit = write_on_commit
        self.on_commit_hooks = list(on_commit_hooks)
        self.on_rollback_hooks = list(on_rollback_hooks)
        self._modes = commit_mode, isolation_level
        if self._is_stored:
            self.write = self._write

    @classmethod
    def get_active(cls) -> TransactionNode | None:
        """Return the transaction that the calling code is in; see `get_transaction`."""
        return get_transaction()

    def get_parent(self) -> TransactionNode | None:
        """Return the enclosing transaction; before it begins, the current one. None without one."""
        if self._token is not None or self.parent is not None:
            return self.parent
        active = get_transaction()
        return None if active is self else active

    def stage(
        self,
        value: Any,
        on_rollback_hooks: Iterable[Callable[..., Any]] | None = None,
        on_commit_hooks: Iterable[Callable[..., Any]] | None = None,
    ) -> None:
        """Stage the value that is stored under the key when the transaction is committed.

        Args:
            value: The value.
            on_rollback_hooks: Called with the transaction when it is rolled back, in reverse order.
            on_commit_hooks: Called with the transaction when it is committed.
        """
        if self.has_ended:
            return
        self._staged = value
        if self._is_stored:
            # The program may change the value before it is stored, so serialize it now.
            try:
                self._record = self._made_record()
            except Exception as error:  # noqa: BLE001 - raised again by `_write`
                self._record = error
        self.on_rollback_hooks += () if on_rollback_hooks is None else on_rollback_hooks
        self.on_commit_hooks += () if on_commit_hooks is None else on_commit_hooks
        self.state = TransactionState.STAGED

    def _copied(self, value: Any) -> Any:
        try:
            return Snapshot(value).load()
        except Exception:  # noqa: BLE001 - whatever the value raises, it cannot be copied
            return value

    @property
    def _is_stored(self) -> bool:
        return self.store is not None and self.key is not None and self.write_on_commit

    def _read(self) -> ResultRecord | None:
        return None if self.store is None or self.key is None else self.store.read(self.key)

    def _enter(self) -> Steps[None]:
        """Join the enclosing transaction, lock the key, and look for an earlier commit."""
        if self._token is not None:
            raise RuntimeError("The transaction has already begun; create another one.")
        run = self._run = current_run.get()
        if run is not None:
            self.run_id = run.record.id
            if run.result_policy is None:
                # With a policy, the tasks that the run calls look for their transaction.
                run.result_policy = ResultPolicy()
        self.parent = transaction_of(process_of(run), run, wanted=True)
        if self.parent is not None:
            commit_mode, isolation_level = self._modes
            self.commit_mode = CommitMode(commit_mode or self.parent.commit_mode)
            self.isolation_level = IsolationLevel(isolation_level or self.parent.isolation_level)
        self.state = TransactionState.ACTIVE
        yield from self._begin()

    def _begin(self) -> Steps[None]:
        """Lock the key, and look for an earlier commit."""
        if self.key is None or current_sketch.get() is not None:
            return
        if self.store is None and self._finds_store:
            self.store = get_result_store()
        if self.store is None:
            return
        if self.isolation_level is IsolationLevel.SERIALIZABLE:
            yield from self._lock(self.key, self.store)
        if not self.overwrite and (yield CallBlocking(self.store.exists, (self.key,))):
            self.state = TransactionState.COMMITTED
            self.release()
        elif self.write_on_commit:
            self.write = self._write

    def _reset(self) -> Steps[None]:
        """Leave the block, and hand the transaction over to the enclosing one."""
        parent = self.get_parent()
        if parent is not None:
            parent.add_child(self)
        self._leave()
        if parent is not None and self.is_rolled_back():
            yield from rollback(parent)

    def _lock(self, key: str, store: ResultStore) -> Steps[None]:
        """Lock the key; poll for it, so that cancellation can interrupt the wait."""
        locks, holder, wait_s = store.lock_manager, uuid4().hex, _FIRST_WAIT_S
        if locks is None:
            raise ConfigError(
                "The isolation level SERIALIZABLE needs a store with a lock manager: "
                "transaction(…, store=ResultStore(lock_manager=MemoryLockManager()))."
            )
        while not locks.acquire_lock(key, holder, acquire_timeout=0):
            yield Sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        self.unlock = lambda: locks.release_lock(key, holder)

    def _write(self) -> None:
        assert self.store is not None  # noqa: S101 - `_begin` has set it
        record = self._made_record() if self._record is None else self._record
        if isinstance(record, Exception):
            raise record
        self.store.write_record(record)

    def _made_record(self) -> ResultRecord:
        assert self.store is not None  # noqa: S101 - `_begin` has set it
        return self.store.prepare(self._staged, self.key, run_id=self.run_id or "")

    def _log(self, level: int, message: str, error: BaseException | None) -> None:
        if self.logger is None and self._run is not None:
            process_of(self._run).note(self._run, level, message, error)
        else:
            logger = _logger if self.logger is None else self.logger
            logger.log(level, message, exc_info=error)

    def _check_entered(self) -> None:
        if self._token is None:
            raise RuntimeError("The transaction has not begun, or has already ended.")

    def _leave(self) -> None:
        if self._token is not None:
            current_transaction.reset(self._token)
            self._token = None

    def __repr__(self) -> str:
        return f"<Transaction {self.key!r}: {self.state.value}>"


class Transaction(_Block):
    """The transaction of a `with` block, or of a run of a sync task.

    Use `transaction` to create one; it describes the options. An instance that is created directly
    stores nothing unless it gets a store.
    """

    def __enter__(self) -> Self:
        try:
            perform_all(self._enter(), self._run)
        except BaseException:
            self.release()
            raise
        self._token = current_transaction.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._check_entered()
        try:
            perform_all(end(self, failed=error is not None), self._run)
        finally:
            self._leave()

    def begin(self) -> None:
        """Lock the key, and look for an earlier commit; `with` does this for you."""
        perform_all(self._begin(), self._run)

    def read(self) -> ResultRecord | None:
        """Return the record under the key, whose `result` is the value. None without a key.

        Raises:
            MissingResult: Nothing is stored there.
        """
        return self._read()

    def reset(self) -> None:
        """Leave the block to the enclosing transaction; `with` does this for you."""
        perform_all(self._reset(), self._run)

    def commit(self) -> bool:
        """Commit it now. Return True if this call committed it."""
        return bool(perform_all(commit(self), self._run))

    def rollback(self) -> bool:
        """Roll it back now. Return True if this call rolled it back."""
        return bool(perform_all(rollback(self), self._run))


class AsyncTransaction(_Block):
    """The transaction of an `async with` block, or of a run of an async task."""

    def __enter__(self) -> NoReturn:
        raise NotImplementedError("AsyncTransaction is for `async with`, not for `with`.")

    def __exit__(self, *_: object) -> NoReturn:
        raise NotImplementedError("AsyncTransaction is for `async with`, not for `with`.")

    async def __aenter__(self) -> Self:
        try:
            await _perform_async(self._enter())
        except BaseException:
            self.release()
            raise
        self._token = current_transaction.set(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._check_entered()
        try:
            steps = end(self, failed=error is not None)
            if is_instance(error, GeneratorExit):  # a closed coroutine must not await
                perform_all(steps, self._run)
            else:
                await _perform_async(steps)
        finally:
            self._leave()

    async def begin(self) -> None:
        """Lock the key, and look for an earlier commit; `async with` does this for you."""
        await _perform_async(self._begin())

    async def read(self) -> ResultRecord | None:
        """Return the record under the key, whose `result` is the value. None without a key.

        Raises:
            MissingResult: Nothing is stored there.
        """
        import asyncio  # noqa: PLC0415 - plain programs do without it

        return await asyncio.to_thread(self._read)

    async def reset(self) -> None:
        """Leave the block to the enclosing transaction; `async with` does this for you."""
        await _perform_async(self._reset())

    async def commit(self) -> bool:
        """Commit it now. Return True if this call committed it."""
        return bool(await _perform_async(commit(self)))

    async def rollback(self) -> bool:
        """Roll it back now. Return True if this call rolled it back."""
        return bool(await _perform_async(rollback(self)))


register_public(Transaction, AsyncTransaction)


@names_options("`transaction`")
def transaction(
    key: str | None = None,
    store: ResultStore | None = None,
    commit_mode: CommitMode | str | None = None,
    isolation_level: IsolationLevel | str | None = None,
    overwrite: bool = False,  # noqa: FBT001, FBT002 - Prefect's signature
    write_on_commit: bool = True,  # noqa: FBT001, FBT002 - Prefect's signature
    logger: logging.Logger | logging.LoggerAdapter[Any] | None = None,
) -> Transaction:
    """Return a transaction for a `with` block.

    Args:
        key: The key under which a commit is stored, so that the block can ask `is_committed()`.
            Without a key, commits are not stored.
        store: The store for the key; by default the result store of the current run.
        commit_mode: LAZY commits it with the enclosing transaction, or at its own end without one;
            EAGER at its own end; OFF only when `commit` is called. By default the mode of the
            enclosing transaction, or LAZY.
        isolation_level: SERIALIZABLE locks the key from the beginning to the end, with the lock
            manager of the store; READ_COMMITTED does not. By default the level of the enclosing
            transaction, or READ_COMMITTED.
        overwrite: True to begin although a transaction with the same key was committed.
        write_on_commit: True to store the staged value on commit.
        logger: The logger for errors of hooks; by default the logger of the run.

    Returns:
        The transaction, which `with` passes to the block.

    Raises:
        ValueError: The mode or level does not exist.
        ConfigError: (At the beginning of the block.) SERIALIZABLE needs a lock manager, and the
            store has none.
        CancelRun: (At the beginning of the block.) The run was cancelled while it waited for the
            lock.
    """
    made = Transaction(
        key=key or None,
        store=store,
        commit_mode=commit_mode,
        isolation_level=isolation_level,
        overwrite=overwrite,
        write_on_commit=write_on_commit,
        logger=logger,
    )
    made._finds_store = True  # noqa: SLF001 - of this module
    return made


@names_options("`atransaction`")
def atransaction(
    key: str | None = None,
    store: ResultStore | None = None,
    commit_mode: CommitMode | str | None = None,
    isolation_level: IsolationLevel | str | None = None,
    overwrite: bool = False,  # noqa: FBT001, FBT002 - Prefect's signature
    write_on_commit: bool = True,  # noqa: FBT001, FBT002 - Prefect's signature
    logger: logging.Logger | logging.LoggerAdapter[Any] | None = None,
) -> AsyncTransaction:
    """Return a transaction for an `async with` block, which does not block the loop.

    The arguments are those of `transaction`. `commit` and `rollback` are coroutines here.
    """
    made = AsyncTransaction(
        key=key or None,
        store=store,
        commit_mode=commit_mode,
        isolation_level=isolation_level,
        overwrite=overwrite,
        write_on_commit=write_on_commit,
        logger=logger,
    )
    made._finds_store = True  # noqa: SLF001 - of this module
    return made


def get_transaction() -> TransactionNode | None:
    """Return the current transaction.

    In the block of a transaction this is the transaction of the block. In a task it is the
    transaction of the task run, which its hooks get as their argument.

    Returns:
        The transaction; None outside of tasks and blocks.
    """
    run = current_run.get()
    return transaction_of(process_of(run), run, wanted=True)


async def _perform_async(steps: Steps[Any]) -> Any:
    """Perform steps without blocking the loop."""
    from flowspan.drivers.perform_async import perform_all  # noqa: PLC0415 - it imports asyncio

    return await perform_all(steps)
