"""Cancellation scopes: a run is cancelled together with all runs that it called.

Flow runs and submitted task runs have a scope of their own. A task that is called directly shares
the scope of its caller, because a scope would cost each call. It gets one of its own if it is
cancelled alone (`separate`).
"""

# ruff: noqa: SLF001 - scopes of one tree know each other
from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from flowspan.drivers.cancellation.safe_points import block
from flowspan.exceptions import CancelRun, DeadlinePassed

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from flowspan.core.run import Run

_logger = logging.getLogger("flowspan.scopes")
_lock = threading.RLock()
"""Guards the trees of scopes and their interrupts. Held briefly, and never while user code runs.
Re-entrant, because a signal handler may interrupt its holder."""


class CancelScope:
    """A cancellation scope: the flag that a run is cancelled, and the interrupts of its waits.

    The flag is checked whenever a task or a subflow begins. Code that waits registers an interrupt,
    a function that ends the wait.

    Attributes:
        cancelled: True once the run was cancelled. Never reset.
        reason: The reason, for people.
        deadline_of: The id of the run whose deadline has passed; empty for a cancellation.
    """

    __slots__ = (
        "_children",
        "_closed",
        "_interrupt",
        "_interrupts",
        "_parent",
        "cancelled",
        "deadline_of",
        "reason",
    )

    def __init__(
        self, parent: CancelScope | None = None, interrupt: Callable[[], object] | None = None
    ) -> None:
        self.cancelled = False
        self.reason = ""
        self.deadline_of = ""
        self._parent = parent
        self._interrupt = interrupt
        self._closed = False
        self._children: set[CancelScope] | None = None
        self._interrupts: dict[Hashable, tuple[Callable[[], object], str]] | None = None
        if parent is not None:
            children = parent._children
            if children is None:
                with _lock:
                    children = parent._children
                    if children is None:
                        children = parent._children = set()
            # Without the lock, as each submitted task does this: adding is atomic. Either `_mark`
            # finds this scope among the children, or the mark of the parent is seen below.
            children.add(self)
            if parent.cancelled:
                self.reason, self.deadline_of = parent.reason, parent.deadline_of
                self.cancelled = True

    def child(self, interrupt: Callable[[], object] | None = None) -> CancelScope:
        """Return a new scope that is cancelled with this one, or separately.

        Args:
            interrupt: Called on cancellation, unless the new scope is cancelled already.
        """
        return CancelScope(self, interrupt)

    def apart(self) -> CancelScope:
        """Return an independent scope, for the code that runs after the end of a run."""
        return CancelScope()

    def close(self) -> None:
        """Detach the scope of an ended run from its parent, once its children are closed too."""
        self._closed = True
        self._interrupt = None
        scope, parent = self, self._parent
        while parent is not None and scope._closed and not scope._children:
            if parent._children is not None:
                parent._children.discard(scope)
            scope, parent = parent, parent._parent

    def check(self) -> None:
        """Raise if the scope was cancelled.

        Raises:
            CancelRun: The run was cancelled.
            DeadlinePassed: The deadline of the run, or of a run that called it, has passed.
        """
        if not self.cancelled:
            return
        if self.deadline_of:
            raise DeadlinePassed(self.reason, self.deadline_of)
        raise CancelRun(self.reason or "The run was cancelled.")

    def cancel(self, reason: str, deadline_of: str = "") -> None:
        """Cancel the run and all runs that it called. May be called from any thread.

        Args:
            reason: The reason, for people.
            deadline_of: The id of the run whose deadline has passed; empty for a cancellation.
        """
        cancel_all((self,), reason, deadline_of)

    def _mark(
        self, reason: str, deadline_of: str, interrupts: dict[Hashable, Callable[[], object]]
    ) -> None:
        if not self.cancelled:
            self.reason, self.deadline_of = reason, deadline_of
            self.cancelled = True
            # By key, so that an asyncio task with several nested runs is interrupted once: by the
            # outermost cancelled run.
            for key, (interrupt, _) in (self._interrupts or {}).items():
                interrupts.setdefault(key, interrupt)
            if self._interrupt is not None:
                interrupts.setdefault(self, self._interrupt)
        for child in tuple(self._children or ()):
            child._mark(reason, deadline_of, interrupts)

    def add_interrupt(
        self, key: Hashable, interrupt: Callable[[], object], run_id: str = ""
    ) -> None:
        """Register a function that ends a wait on cancellation; called at once if cancelled.

        Args:
            key: The key for `remove_interrupt`.
            interrupt: The function.
            run_id: The waiting run; empty if only runs with a scope of their own wait like this.
        """
        with _lock:
            if self._interrupts is None:
                self._interrupts = {}
            self._interrupts[key] = interrupt, run_id
            late = self.cancelled
        if late:
            interrupt()

    def remove_interrupt(self, key: Hashable) -> None:
        """Remove the interrupt with this key; no-op without one."""
        with _lock:
            if self._interrupts is not None:
                self._interrupts.pop(key, None)

    def interrupted_by(self) -> list[Callable[[], object]]:
        """Return the interrupts of the direct children, in no particular order."""
        children = tuple(self._children or ())
        return [child._interrupt for child in children if child._interrupt is not None]


def cancel_all(scopes: Iterable[CancelScope], reason: str, deadline_of: str = "") -> None:
    """Cancel several scopes; interrupt an asyncio task that waits in more than one only once.

    Args:
        scopes: The scopes.
        reason: The reason, for people.
        deadline_of: The id of the run whose deadline has passed; empty for a cancellation.
    """
    interrupts: dict[Hashable, Callable[[], object]] = {}
    with _lock:
        for scope in scopes:
            scope._mark(reason, deadline_of, interrupts)
    for interrupt in interrupts.values():
        try:
            interrupt()
        except Exception:  # the other waits must be interrupted, too
            _logger.exception("A wait of a cancelled run could not be interrupted.")


def separate(runs: Iterable[Run], shared: CancelScope) -> CancelScope:
    """Give some runs that share the scope of their caller another one, with what they wait for.

    Args:
        runs: A run, and runs that it called. Those with another scope keep it.
        shared: The scope of the caller.

    Returns:
        The new scope. It has no parent, so the caller must cancel it at once.
    """
    scope = CancelScope()
    with _lock:
        moved = {run.record.id for run in runs if run.scope is shared}
        for run in runs:
            if run.scope is shared:
                run.scope = scope
        waits = shared._interrupts or {}
        scope._interrupts = {key: wait for key, wait in waits.items() if wait[1] in moved}
        for key in scope._interrupts:
            del waits[key]
    return scope


def add_wait(run: Run, key: Hashable, interrupt: Callable[[], object]) -> None:
    """Register a function that ends a wait of a run; called at once if the run is cancelled.

    Args:
        run: The waiting run. Its scope may change during the wait.
        key: The key for `remove_wait`.
        interrupt: The function, which must not block.
    """
    with _lock:
        run.scope.add_interrupt(key, interrupt, run.record.id)


def remove_wait(run: Run, key: Hashable) -> None:
    """Unregister a function that was registered with `add_wait`."""
    with _lock:
        run.scope.remove_interrupt(key)


def sleep_in(run: Run, seconds: float) -> None:
    """Wait for a number of seconds, or until the run is cancelled.

    Raises:
        CancelRun: The run was cancelled.
        DeadlinePassed: The deadline of the run, or of a run that called it, has passed.
    """
    wake = threading.Event()
    add_wait(run, wake, wake.set)
    try:
        block(wake, seconds)
    finally:
        remove_wait(run, wake)
    run.scope.check()


def _renew_lock() -> None:
    """Replace the lock in a forked child: a thread that the child does not have may hold it."""
    global _lock  # noqa: PLW0603 - one per process
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)
