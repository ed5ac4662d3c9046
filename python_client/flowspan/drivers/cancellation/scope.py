"""What is cancelled together: a flow run with all that it called."""

# ruff: noqa: SLF001 - scopes of one tree know each other
from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from flowspan.drivers.cancellation.safe_points import block
from flowspan.exceptions import CancelRun, DeadlinePassed

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_logger = logging.getLogger("flowspan.scopes")
_lock = threading.RLock()
"""Guards the tree of scopes and what hangs on it. Held for moments, and never while user code runs.
Re-entrant, because a signal handler may interrupt its holder."""


class CancelScope:
    """Says whether a run was asked to cancel, and wakes what waits inside of it.

    The flag is looked at wherever a task or a subflow begins. What waits meanwhile leaves an
    interrupt here: a function that breaks the wait off.

    Attributes:
        cancelled: Whether it was asked to cancel. Never goes back.
        reason: Why, for people.
        deadline_of: The id of the run whose deadline it was; empty if the run is to be cancelled.
    """

    __slots__ = (
        "_children",
        "_closed",
        "_event",
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
        self._interrupts: dict[Hashable, Callable[[], object]] | None = None
        self._event: threading.Event | None = None
        if parent is not None:
            children = parent._children
            if children is None:
                with _lock:
                    children = parent._children
                    if children is None:
                        children = parent._children = set()
            # Without the lock, for each submitted task comes here: adding is atomic. Either
            # `_mark` finds it among the children, or it is seen here that the parent was marked.
            children.add(self)
            if parent.cancelled:
                self.reason, self.deadline_of = parent.reason, parent.deadline_of
                self.cancelled = True

    def child(self, interrupt: Callable[[], object] | None = None) -> CancelScope:
        """A scope that is cancelled with this one, and also for itself.

        Args:
            interrupt: Called when it is cancelled, if it was not from the beginning.
        """
        return CancelScope(self, interrupt)

    def apart(self) -> CancelScope:
        """A scope that is cancelled with none: for what is done after the end of a run."""
        return CancelScope()

    def close(self) -> None:
        """The run has ended: nothing of it is left to cancel, once its children are closed too."""
        self._closed = True
        self._interrupt = None
        scope, parent = self, self._parent
        while parent is not None and scope._closed and not scope._children:
            if parent._children is not None:
                parent._children.discard(scope)
            scope, parent = parent, parent._parent

    def check(self) -> None:
        """Does nothing unless it was cancelled.

        Raises:
            CancelRun: The run was asked to cancel.
            DeadlinePassed: The time of a run that called it was over.
        """
        if not self.cancelled:
            return
        if self.deadline_of:
            raise DeadlinePassed(self.reason, self.deadline_of)
        raise CancelRun(self.reason or "The run was cancelled.")

    def cancel(self, reason: str, deadline_of: str = "") -> None:
        """Asks the run and all that it called to stop. May be called from any thread.

        Args:
            reason: Why, for people.
            deadline_of: The id of the run whose deadline it was, if it was one.
        """
        interrupts: dict[Hashable, Callable[[], object]] = {}
        with _lock:
            self._mark(reason, deadline_of, interrupts)
        for interrupt in interrupts.values():
            try:
                interrupt()
            except Exception:  # the others are to be interrupted all the same
                _logger.exception("What waits could not be interrupted.")

    def _mark(
        self, reason: str, deadline_of: str, interrupts: dict[Hashable, Callable[[], object]]
    ) -> None:
        if not self.cancelled:
            self.reason, self.deadline_of = reason, deadline_of
            self.cancelled = True
            if self._event is not None:
                self._event.set()
            # By key, so that an asyncio task in which several runs are nested is interrupted once:
            # by the outermost of them that is cancelled.
            for key, interrupt in (self._interrupts or {}).items():
                interrupts.setdefault(key, interrupt)
            if self._interrupt is not None:
                interrupts.setdefault(self, self._interrupt)
        for child in tuple(self._children or ()):
            child._mark(reason, deadline_of, interrupts)

    def add_interrupt(self, key: Hashable, interrupt: Callable[[], object]) -> None:
        """Leaves a function that breaks a wait off when the run is cancelled; at once if it was."""
        with _lock:
            if self._interrupts is None:
                self._interrupts = {}
            self._interrupts[key] = interrupt
            late = self.cancelled
        if late:
            interrupt()

    def remove_interrupt(self, key: Hashable) -> None:
        """Takes it back."""
        with _lock:
            if self._interrupts is not None:
                self._interrupts.pop(key, None)

    def interrupted_by(self) -> list[Callable[[], object]]:
        """Return what interrupts the open scopes right below this one, in no particular order."""
        children = tuple(self._children or ())
        return [child._interrupt for child in children if child._interrupt is not None]

    def sleep(self, seconds: float) -> None:
        """Waits.

        Raises:
            CancelRun: The run was cancelled meanwhile.
        """
        with _lock:
            if self._event is None:
                self._event = threading.Event()
                if self.cancelled:
                    self._event.set()
        block(self._event, seconds)
        self.check()


def _renew_lock() -> None:
    """A forked child may find the lock held by a thread that it does not have."""
    global _lock  # noqa: PLW0603 - one per process
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)
