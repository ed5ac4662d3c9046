"""What a flow with retries keeps of its earlier attempts: the results of the tasks that completed.

Kept in memory, for the time of the flow run. A task that is called again with the same inputs is
not run again; if it was called several times, each call takes the next of the results.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from flowspan.core.traversal import ATOMIC

if TYPE_CHECKING:
    from collections.abc import Hashable

    from flowspan.core.definitions import Definition


class Kept:
    """The results of the tasks of one flow run, by the attempt in which they were given."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempt = 1
        self._earlier: dict[Hashable, deque[Any]] = {}
        self._now: dict[Hashable, deque[Any]] = {}

    def take(self, key: Hashable, attempt: int) -> tuple[Any] | None:
        """The next result of earlier attempts under a key, in a tuple; None if there is none."""
        with self._lock:
            self._move_on(attempt)
            results = self._earlier.get(key)
            return (results.popleft(),) if results and attempt == self._attempt else None

    def put(self, key: Hashable, result: Any, attempt: int) -> None:
        """Keeps a result that an attempt gave, or took, for the attempts after it."""
        with self._lock:
            self._move_on(attempt)
            # A thread of an attempt that is over, by its deadline, may come late.
            results = self._now if attempt == self._attempt else self._earlier
            results.setdefault(key, deque()).append(result)

    def _move_on(self, attempt: int) -> None:
        if attempt <= self._attempt:
            return
        self._attempt = attempt
        for key, left in self._earlier.items():  # what the last attempt did not come to
            self._now.setdefault(key, deque()).extend(left)
        self._earlier, self._now = self._now, {}


class Same:
    """Stands for a task: equal for two whose functions do the same for sure.

    That is the same function, or the same code that closes over the same things: a task that is
    defined inside of a flow is made anew in each attempt.
    """

    __slots__ = ("_hash", "_parts")

    def __init__(self, definition: Definition) -> None:
        fn: Any = definition.fn
        bound_to = getattr(fn, "__self__", None)
        fn = getattr(fn, "__func__", fn)
        code = getattr(fn, "__code__", fn)
        cells = [_content(cell) for cell in getattr(fn, "__closure__", None) or ()]
        defaults = [*(getattr(fn, "__defaults__", None) or ())]
        self._parts = (code, bound_to, *cells, *defaults)
        # The objects are held, so that their ids stay theirs.
        self._hash = hash(tuple(map(_identity, self._parts)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Same):
            return NotImplemented
        mine, others = map(_identity, self._parts), map(_identity, other._parts)
        return tuple(mine) == tuple(others)


def _identity(value: Any) -> Hashable:
    kind = type(value)
    return (kind, value) if kind in ATOMIC and kind is not bytearray else id(value)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return None
