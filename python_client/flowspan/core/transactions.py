"""Transactions: what is kept together, or undone together.

A transaction is a node of a tree: each task run in a `with transaction():` block is one, inside of
the block's. `commit` and `rollback` are generators that yield what is to be called, as the engine
does (`flowspan.core.engine`), so that plain code and coroutines drive the same.
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
    """A constant that is equal to its name, as text, and JSON text."""

    def __repr__(self) -> str:
        return str(self)


class IsolationLevel(_Word):
    """What others may do with a transaction's key meanwhile."""

    READ_COMMITTED = "READ_COMMITTED"
    """Anything; they do not see what is not committed."""
    SERIALIZABLE = "SERIALIZABLE"
    """Nothing: the key is locked."""


class CommitMode(_Word):
    """When a transaction is committed."""

    EAGER = "EAGER"
    """At its own end."""
    LAZY = "LAZY"
    """With the transaction around it; at its own end where there is none."""
    OFF = "OFF"
    """Only where `commit` is called; without that it is rolled back."""


class TransactionState(_Word):
    """How a transaction stands."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    STAGED = "STAGED"
    COMMITTED = "COMMITTED"
    ROLLED_BACK = "ROLLED_BACK"


class TransactionNode:
    """A transaction: of a block (`flowspan.transactions`), or a task run's own.

    Attributes:
        key: Under which its value is stored; None if it is not.
        parent: The transaction around it.
        children: Those inside of it that have ended.
        waiting: Those of them that wait for it to be committed or rolled back.
        has_joined: Whether it is among the children of its parent, or is not to be shown there.
        commit_mode: When it is committed.
        isolation_level: What others may do meanwhile.
        state: How it stands.
        run_id: The run whose transaction it is, or in which its block is; None outside of runs.
        on_commit_hooks: Called with it when it is committed.
        on_rollback_hooks: Called with it when it is rolled back, the last first.
        is_settling: Whether it is being committed.
        is_undoing: Whether its rollback hooks are being called.
        values: What was left with `set`.
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
        # What its owner has to do: write what is staged, say that it was rolled back, unlock.
        self.write: Callable[[], object] | None = None
        self.tell_rolled_back: Callable[[], object] | None = None
        self.unlock: Callable[[], object] | None = None

    def set(self, name: str, value: Any) -> None:
        """Leaves a value for the hooks, and for whoever is inside of it."""
        self.values[name] = value

    def get(self, name: str, default: Any = _MISSING) -> Any:
        """Return a copy of a value that was left here, or else in a transaction around it.

        Changing the copy changes no transaction: `set` does. What cannot be copied (a connection)
        is given as it is.

        Raises:
            ValueError: There is none, and no default was given.
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
        """Return the transaction around it; None if there is none."""
        return self.parent

    def _copied(self, value: Any) -> Any:
        """Return a copy of a value; the public classes know how to make one."""
        return value

    def add_child(self, transaction: TransactionNode) -> None:
        """Let this transaction decide what becomes of another one."""
        if not transaction.has_joined:
            transaction.has_joined = True
            self.children.append(transaction)
        self.waiting.append(transaction)

    def is_pending(self) -> bool:
        """Whether it has not begun."""
        return self.state is TransactionState.PENDING

    def is_active(self) -> bool:
        """Whether it is going on."""
        return self.state is TransactionState.ACTIVE

    def is_staged(self) -> bool:
        """Whether it has a value that waits to be committed."""
        return self.state is TransactionState.STAGED

    def is_committed(self) -> bool:
        """Whether it was committed, now or by an earlier one with its key."""
        return self.state is TransactionState.COMMITTED

    def is_rolled_back(self) -> bool:
        """Whether it was rolled back."""
        return self.state is TransactionState.ROLLED_BACK

    @property
    def waits_for_parent(self) -> bool:
        """Whether it is for the transaction around it to commit it."""
        return self.parent is not None and self.commit_mode is not CommitMode.EAGER

    @property
    def has_ended(self) -> bool:
        """Whether it was committed or rolled back."""
        return self.is_committed() or self.is_rolled_back()

    def __repr__(self) -> str:
        return f"<Transaction {self.key!r} of run {self.run_id}: {self.state.value}>"

    def release(self) -> None:
        """Unlocks the key, if it is locked."""
        unlock, self.unlock = self.unlock, None
        if unlock is None:
            return
        try:
            unlock()
        except Exception as error:  # noqa: BLE001 - a lock that is gone must not fail a run
            self._note(_ERROR, f"The lock of the key {self.key!r} could not be released.", error)

    def note(self, message: str, error: BaseException | None) -> None:
        """Logs an error."""
        self._note(_ERROR, message, error)


def commit(node: TransactionNode) -> Steps[bool]:
    """Commits a transaction: first those inside of it, in the order in which they ended.

    What its hooks or the writing raise is logged, and it is rolled back.

    Returns:
        Whether it was committed by this.
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
    node.write = node.tell_rolled_back = None  # they hold the result, and the node is a child
    node.release()
    # What was added by another thread meanwhile.
    while (child := _taken(node.waiting, 0)) is not None:
        yield from commit(child)
    return True


def rollback(node: TransactionNode) -> Steps[bool]:
    """Rolls a transaction back: first itself, then those inside of it, the last first.

    A hook that raises is logged, and the others are called all the same.

    Returns:
        Whether it was rolled back by this.
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
    """Rolls back what is inside of a transaction that goes on itself."""
    while (child := _taken(node.waiting, -1)) is not None:
        yield from rollback(child)


def end(node: TransactionNode, *, failed: bool) -> Steps[bool]:
    """What becomes of a transaction whose code has ended.

    Args:
        node: The transaction.
        failed: Whether its code raised. Then the one around it is rolled back as well.

    Returns:
        Whether it was committed or rolled back, and does not wait for the one around it.
    """
    parent = node.parent
    if parent is not None and not node.has_joined:
        node.has_joined = True
        parent.children.append(node)
    if failed or node.is_rolled_back():
        yield from rollback(node)
        # A thread may still be at work when the block has ended and is being committed.
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
    # It has ended meanwhile: whoever takes the node out of the list decides.
    try:
        parent.waiting.remove(node)
    except ValueError:
        return False
    yield from commit(node) if parent.is_committed() else rollback(node)
    return True


def _taken(children: list[TransactionNode], index: int) -> TransactionNode | None:
    """Takes one out; None if there is none, since another thread may take the last."""
    try:
        return children.pop(index)
    except IndexError:
        return None


current_transaction: ContextVar[TransactionNode | None] = ContextVar(
    "flowspan_current_transaction", default=None
)
"""The transaction whose block is running here; the task runs in it have one of their own."""


def transaction_of_run(*, is_async: bool, **values: Any) -> TransactionNode:
    """Return the transaction of a run: of the public class that has the methods for its code.

    Args:
        is_async: Whether the function of the run is asynchronous.
        **values: See `TransactionNode`.
    """
    if not _PUBLIC:
        for load in _LOADERS:
            load()
    kind = _PUBLIC.get(is_async, TransactionNode)
    node = kind.__new__(kind)
    TransactionNode.__init__(node, **values)
    return node


def register_public(plain: type[TransactionNode], asynchronous: type[TransactionNode]) -> None:
    """Note the public classes, which know drivers and stores."""
    _PUBLIC.update({False: plain, True: asynchronous})


def load_public_with(load: Callable[[], object]) -> None:
    """Note what imports the module of the public classes, which most programs do without."""
    _LOADERS.append(load)


_PUBLIC: dict[bool, type[TransactionNode]] = {}
_LOADERS: list[Callable[[], object]] = []
