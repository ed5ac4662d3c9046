"""Transactions: groups of tasks that are committed or rolled back as a whole.

Transactions form a tree: each task run in a `with transaction():` block has a transaction of its
own inside that of the block. `commit` and `rollback` are generators of steps, like the engine
(`flowspan.core.engine`), so that sync and async code share them.
"""

from __future__ import annotations

from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING, Any

from flowspan.core.functions import called_name
from flowspan.core.steps import CallBlocking, CallUser

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.steps import Steps

    Note = Callable[[int, str, BaseException | None], None]

_ERROR = 40
_MISSING: Any = object()


class _Word(str, Enum):  # noqa: UP042 - shown by their full names, as in Prefect
    """A constant that equals its name, as text and in JSON."""

    def __repr__(self) -> str:
        return str(self)


class IsolationLevel(_Word):
    """The access that others have to the key of an open transaction."""

    READ_COMMITTED = "READ_COMMITTED"
    """Full access; they do not see uncommitted values."""
    SERIALIZABLE = "SERIALIZABLE"
    """No access: the key is locked."""


class CommitMode(_Word):
    """The time at which a transaction is committed."""

    EAGER = "EAGER"
    """At its own end."""
    LAZY = "LAZY"
    """With the enclosing transaction; without one, at its own end."""
    OFF = "OFF"
    """Only when `commit` is called; otherwise it is rolled back."""


class TransactionState(_Word):
    """The state of a transaction."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    STAGED = "STAGED"
    COMMITTED = "COMMITTED"
    ROLLED_BACK = "ROLLED_BACK"


class TransactionNode:
    """The transaction of a block (`flowspan.transactions`) or of a task run.

    Attributes:
        key: The key of its value; None if the value is not stored.
        parent: The enclosing transaction.
        children: The transactions inside it that have ended.
        waiting: The children that are committed or rolled back together with it.
        has_joined: True if it is among the children of its parent, or must not be shown there.
        commit_mode: The time at which it is committed.
        isolation_level: The access that others have to its key.
        state: Its state.
        run_id: The run that it belongs to, or that its block is in; None outside of runs.
        on_commit_hooks: Called with the transaction when it is committed.
        on_rollback_hooks: Called with the transaction when it is rolled back, in reverse order.
        is_settling: True while it is being committed.
        is_undoing: True while its rollback hooks are being called.
        values: The values that `set` stored.
        write: Stores the staged value; set by the owner, or None.
        tell_rolled_back: Reports the rollback; set by the owner, or None.
        unlock: Unlocks the key; set by the owner, or None.
    """

    def __init__(
        self,
        *,
        key: str | None,
        parent: TransactionNode | None,
        commit_mode: CommitMode | None = None,
        isolation_level: IsolationLevel | None = None,
        run_id: str | None = None,
        note: Note,
    ) -> None:
        self.key = key
        self.parent = parent
        self.children: list[TransactionNode] = []
        self.waiting: list[TransactionNode] = []
        self.has_joined = False
        inherited = parent.commit_mode if parent is not None else CommitMode.LAZY
        self.commit_mode: CommitMode = commit_mode or inherited
        isolation = parent.isolation_level if parent is not None else IsolationLevel.READ_COMMITTED
        self.isolation_level: IsolationLevel = isolation_level or isolation
        self.state = TransactionState.ACTIVE
        self.run_id = run_id
        self.on_commit_hooks: list[Callable[..., Any]] = []
        self.on_rollback_hooks: list[Callable[..., Any]] = []
        self.is_settling = False
        self.is_undoing = False
        self.values: dict[str, Any] = {}
        self._note = note
        self.write: Callable[[], object] | None = None
        self.tell_rolled_back: Callable[[], object] | None = None
        self.unlock: Callable[[], object] | None = None

    def set(self, name: str, value: Any) -> None:
        """Store a value for the hooks and for the transactions inside this one."""
        self.values[name] = value

    def get(self, name: str, default: Any = _MISSING) -> Any:
        """Return a copy of a value that was set here, or else in an enclosing transaction.

        To change a value, use `set`: changing the copy has no effect. A value that cannot be copied
        (a connection) is returned unchanged.

        Raises:
            ValueError: The value was not set, and no default was given.
        """
        node: TransactionNode | None = self
        while node is not None:
            if name in node.values:
                return self._copied(node.values[name])
            node = node.get_parent()
        if default is _MISSING:
            raise ValueError(f"The transaction has no value {name!r}, and no default was given.")
        return default

    def get_parent(self) -> TransactionNode | None:
        """Return the enclosing transaction, or None."""
        return self.parent

    def _copied(self, value: Any) -> Any:
        """Return a copy of a value. The public classes override this."""
        return value

    def add_child(self, transaction: TransactionNode) -> None:
        """Add a transaction that is committed or rolled back together with this one."""
        if not transaction.has_joined:
            transaction.has_joined = True
            self.children.append(transaction)
        self.waiting.append(transaction)

    def is_pending(self) -> bool:
        """Return True if it has not begun."""
        return self.state is TransactionState.PENDING

    def is_active(self) -> bool:
        """Return True if it has begun and has not ended."""
        return self.state is TransactionState.ACTIVE

    def is_staged(self) -> bool:
        """Return True if it has a staged value that is not committed."""
        return self.state is TransactionState.STAGED

    def is_committed(self) -> bool:
        """Return True if it, or an earlier transaction with its key, was committed."""
        return self.state is TransactionState.COMMITTED

    def is_rolled_back(self) -> bool:
        """Return True if it was rolled back."""
        return self.state is TransactionState.ROLLED_BACK

    @property
    def waits_for_parent(self) -> bool:
        """True if the enclosing transaction commits this one."""
        return self.parent is not None and self.commit_mode is not CommitMode.EAGER

    @property
    def has_ended(self) -> bool:
        """True if it was committed or rolled back."""
        return self.is_committed() or self.is_rolled_back()

    def __repr__(self) -> str:
        return f"<Transaction {self.key!r} of run {self.run_id}: {self.state.value}>"

    def release(self) -> None:
        """Unlock the key, if it is locked."""
        unlock, self.unlock = self.unlock, None
        if unlock is None:
            return
        try:
            unlock()
        except Exception as error:  # noqa: BLE001 - a lost lock must not fail the run
            self._note(_ERROR, f"The lock of the key {self.key!r} could not be released.", error)

    def note(self, message: str, error: BaseException | None) -> None:
        """Log an error."""
        self._note(_ERROR, message, error)


def commit(node: TransactionNode) -> Steps[bool]:
    """Commit a transaction, after those inside it in the order in which they ended.

    If a hook or the write raises an exception, it is logged and the transaction is rolled back.

    Returns:
        True if this call committed it.
    """
    if node.has_ended:
        node.release()
        return False
    node.is_settling = True
    try:
        while (child := _taken(node.waiting, 0)) is not None:
            yield from commit(child)
        for hook in tuple(node.on_commit_hooks):
            yield CallUser(hook, (node,))
        if node.write is not None:
            yield CallBlocking(node.write)
    except Exception as error:  # noqa: BLE001 - user code, and file systems
        node.note("The transaction could not be committed, and is rolled back.", error)
        yield from rollback(node)
        return False
    node.state = TransactionState.COMMITTED
    # They refer to the result, which the parent would keep alive through its children.
    node.write = node.tell_rolled_back = None
    node.release()
    # Another thread may have added children in the meantime.
    while (child := _taken(node.waiting, 0)) is not None:
        yield from commit(child)
    return True


def rollback(node: TransactionNode) -> Steps[bool]:
    """Roll a transaction back, and then those inside it in reverse order.

    If a hook raises an exception, it is logged, and the other hooks are still called.

    Returns:
        True if this call rolled it back.
    """
    if node.has_ended or node.is_undoing:
        node.release()
        return False
    node.is_undoing = True
    for hook in reversed(tuple(node.on_rollback_hooks)):
        try:
            yield CallUser(hook, (node,))
        except Exception as error:  # noqa: BLE001 - user code
            name = called_name(hook)
            node.note(f"The rollback hook {name!r} raised.", error)
    node.state, node.is_undoing = TransactionState.ROLLED_BACK, False
    if node.tell_rolled_back is not None:
        node.tell_rolled_back()
    yield from rollback_children(node)
    node.release()
    return True


def rollback_children(node: TransactionNode) -> Steps[None]:
    """Roll back the transactions inside one that stays open."""
    while (child := _taken(node.waiting, -1)) is not None:
        yield from rollback(child)


def end(node: TransactionNode, *, failed: bool) -> Steps[bool]:
    """Commit a transaction whose code has ended, roll it back, or leave it to its parent.

    Args:
        node: The transaction.
        failed: True if its code raised an error. Then the parent is rolled back as well.

    Returns:
        True if it was committed or rolled back; False if it is left to its parent.
    """
    parent = node.parent
    if parent is not None and not node.has_joined:
        node.has_joined = True
        parent.children.append(node)
    if failed or node.is_rolled_back():
        yield from rollback(node)
        # A task may still run in a thread while the block that submitted it is being committed.
        if parent is not None and not parent.is_settling:
            yield from rollback(parent)
        return True
    if node.is_committed():
        node.release()
        return True
    if node.commit_mode is CommitMode.EAGER or (
        node.commit_mode is CommitMode.LAZY and parent is None
    ):
        yield from commit(node)
        return True
    if parent is None:
        yield from rollback(node)
        return True
    parent.waiting.append(node)
    if not parent.has_ended:
        return False
    # The parent ended in the meantime. The thread that removes the node from the list settles it.
    try:
        parent.waiting.remove(node)
    except ValueError:
        return False
    yield from commit(node) if parent.is_committed() else rollback(node)
    return True


def _taken(children: list[TransactionNode], index: int) -> TransactionNode | None:
    """Remove and return a child; None if another thread took the last one."""
    try:
        return children.pop(index)
    except IndexError:
        return None


current_transaction: ContextVar[TransactionNode | None] = ContextVar(
    "flowspan_current_transaction", default=None
)
"""The transaction whose block is running here. Task runs in the block have their own."""


def transaction_of_run(*, is_async: bool, **values: Any) -> TransactionNode:
    """Return the transaction of a run, an instance of the sync or async public class.

    Args:
        is_async: True if the function of the run is async.
        **values: The arguments of `TransactionNode`.
    """
    if not _PUBLIC:
        for load in _LOADERS:
            load()
    kind = _PUBLIC.get(is_async, TransactionNode)
    node = kind.__new__(kind)
    TransactionNode.__init__(node, **values)
    return node


def register_public(plain: type[TransactionNode], asynchronous: type[TransactionNode]) -> None:
    """Register the public classes, which depend on drivers and stores."""
    _PUBLIC.update({False: plain, True: asynchronous})


def load_public_with(load: Callable[[], object]) -> None:
    """Register a function that imports the public classes; most programs never need them."""
    _LOADERS.append(load)


_PUBLIC: dict[bool, type[TransactionNode]] = {}
_LOADERS: list[Callable[[], object]] = []
