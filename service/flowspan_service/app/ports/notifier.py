"""The notifier port: commits wake the tasks that wait for changes of a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Collection, Sequence

    from flowspan_service.app.ports.heads import Heads
    from flowspan_service.domain.runs import Run


class CommitListener(Protocol):
    """A callback for commits."""

    def __call__(
        self,
        *,
        position: int,
        log_position: int,
        ended: Sequence[Run],
        roots: Collection[str],
        before: Heads,
        rolled_back: Collection[str],
    ) -> None:
        """Note a commit. Must return at once.

        Args:
            position: The position of the last transition.
            log_position: The position of the last log record.
            ended: Copies of the runs that entered a terminal state.
            roots: The roots of the trees that changed.
            before: The positions before the commit.
            rolled_back: The ids of those among `ended` that had ended in an earlier commit, and
                were rolled back in this one.
        """
        ...


class NewsListener(Protocol):
    """A callback for commits with news for sessions."""

    def __call__(self, session_ids: Collection[str]) -> None:
        """Note that these sessions got a command or ended. Must return at once."""
        ...


class Mark(Protocol):
    """A subscription to the changes of a tree. For the event loop's thread only."""

    async def wait(self) -> None:
        """Return when there was a change since the last `take`."""
        ...

    def take(self) -> int:
        """Begin to wait for the next change. Call it before reading the store.

        Returns:
            A position up to which nothing has changed since the call before, so that a reader can
            skip it; 0 if unknown.
        """
        ...


class Notifier(Protocol):
    """Wakes tasks after commits. It only saves polling: the store is the source of truth."""

    def mark(self, root_run_id: str | None) -> contextlib.AbstractContextManager[Mark]:
        """Subscribe to the changes of a tree, or of everything if None, while this is open."""
        ...

    def wake(self) -> None:
        """Wake all waiting tasks. For the event loop's thread only."""
        ...
