"""What a flow with retries keeps of its earlier attempts: the results of the tasks that completed.

Kept in memory, for the time of the flow run. A call takes a result only of a call that is the same:
of the same task, with the same inputs, at the same place (in the same run, from the same line of
code, the same time round). Any other is run anew.
"""

from __future__ import annotations

import sys
import threading
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from flowspan.core.keys.closure_variables import FirstSeen

if TYPE_CHECKING:
    from collections.abc import Hashable
    from types import CodeType, FrameType

    from flowspan.results.snapshot import Snapshot

_OURS = frozenset({__name__.partition(".")[0]})
_NOT_THE_USERS = _OURS | {"asyncio", "concurrent", "threading", "multiprocessing", "uvloop"}
"""Packages that call code for others: what called them does not say where the code is."""


class Call(NamedTuple):
    """A call of a task, as a later attempt knows it again.

    Attributes:
        key: The place, the task and the inputs.
        number: Which of the calls with this key it is, from 0.
        is_exact: True if the number says for sure which it is. Else it is its number among all
            calls of the task at this place, whatever their inputs: those that were submitted before
            their inputs were known.
    """

    key: Hashable
    number: int
    is_exact: bool


class AttemptCache:
    """The results of the tasks of one flow run.

    Attributes:
        first_seen: What its tasks close over and change themselves, as it was at first.
    """

    def __init__(self) -> None:
        self.first_seen = FirstSeen()
        self._lock = threading.Lock()
        self._counts: dict[tuple[int, Hashable], int] = {}
        self._results: dict[Hashable, dict[int, tuple[int, Snapshot]]] = {}
        self._taken: set[tuple[int, Hashable, int]] = set()

    def count(self, key: Hashable, attempt: int) -> int:
        """Return how many calls with a key an attempt has made before, and count this one."""
        with self._lock:
            number = self._counts.get((attempt, key), 0)
            self._counts[attempt, key] = number + 1
            return number

    def take(self, call: Call, attempt: int) -> tuple[Any] | None:
        """Return the result of the same call in an earlier attempt, in a tuple; None without."""
        with self._lock:
            snapshot = self._found(call, attempt)
        if snapshot is None:
            return None
        try:
            return (snapshot.load(),)
        except Exception:  # noqa: BLE001 - user code: what cannot be copied back is not there
            return None

    def put(self, call: Call, result: Snapshot, attempt: int) -> None:
        """Keep a result that an attempt gave for the attempts after it."""
        with self._lock:
            results = self._results.setdefault(call.key, {})
            if call.number not in results or results[call.number][0] <= attempt:
                results[call.number] = attempt, result

    def _found(self, call: Call, attempt: int) -> Snapshot | None:
        results = self._results.get(call.key, {})
        number = call.number
        if number not in results and not call.is_exact:
            free = (n for n in results if (attempt, call.key, n) not in self._taken)
            number = min(free, default=number)
        if number not in results or (attempt, call.key, number) in self._taken:
            return None
        given_in, snapshot = results[number]
        # A thread of an attempt that is over, by its deadline, may come late.
        if given_in >= attempt:
            return None
        self._taken.add((attempt, call.key, number))
        return snapshot


def place_of_call() -> tuple[Any, ...]:
    """Return from where in the code of the current run a task is being called.

    That is the path of calls down to it, each by its place in the source, so that two calls in one
    line differ. Calls from a coroutine that was made into a task of asyncio are all at one place.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - there is no public function without a search of files
    while frame is not None and _is_of(frame, _OURS):
        frame = frame.f_back
    place = []
    while frame is not None and not _is_of(frame, _NOT_THE_USERS):
        place.append((frame.f_code, _position(frame.f_code, frame.f_lasti)))
        frame = frame.f_back
    return tuple(place)


@lru_cache(maxsize=4096)
def _position(code: CodeType, index: int) -> tuple[int | None, ...]:
    """Return the place in the source of an instruction.

    Not the instruction itself: the interpreter makes one call by one or another of them.
    """
    return next(islice(code.co_positions(), index // 2, None), ())


def _is_of(frame: FrameType, packages: frozenset[str]) -> bool:
    return _root(frame.f_globals.get("__name__")) in packages


@lru_cache(maxsize=1024)
def _root(module: object) -> str:
    return str(module).partition(".")[0]
