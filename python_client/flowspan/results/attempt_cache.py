"""The attempt cache of a flow with retries: the results of the tasks that completed.

The cache is in memory and lives as long as the flow run. A call reuses a result only if it is the
same call: of the same task, with the same inputs, at the same call site (in the same run, from the
same line of code, in the same iteration). Any other call runs again.
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
"""Packages that call code on behalf of others: their callers do not identify the call site."""


class Call(NamedTuple):
    """The identity of a task call, by which a later attempt recognizes it.

    Attributes:
        key: The call site, the task and the inputs.
        number: The index of the call among those with the same key, from 0.
        is_exact: True if the number identifies the call exactly. Otherwise it counts all calls of
            the task at this call site, whatever their inputs: calls submitted before their inputs
            were known.
    """

    key: Hashable
    number: int
    is_exact: bool


class AttemptCache:
    """The attempt cache of one flow run.

    Attributes:
        first_seen: The initial values of the variables that its tasks close over and modify.
    """

    def __init__(self) -> None:
        self.first_seen = FirstSeen()
        self._lock = threading.Lock()
        self._counts: dict[tuple[int, Hashable], int] = {}
        self._results: dict[Hashable, dict[int, tuple[int, Snapshot]]] = {}
        self._taken: set[tuple[int, Hashable, int]] = set()

    def count(self, key: Hashable, attempt: int) -> int:
        """Return the number of earlier calls with this key in the attempt, and count this one."""
        with self._lock:
            number = self._counts.get((attempt, key), 0)
            self._counts[attempt, key] = number + 1
            return number

    def take(self, call: Call, attempt: int) -> tuple[Any] | None:
        """Return the result of the same call in an earlier attempt, in a tuple; or None."""
        with self._lock:
            snapshot = self._found(call, attempt)
        if snapshot is None:
            return None
        try:
            return (snapshot.load(),)
        except Exception:  # noqa: BLE001 - user code: a copy that cannot be loaded is a miss
            return None

    def put(self, call: Call, result: Snapshot, attempt: int) -> None:
        """Store a result for later attempts."""
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
        # A thread of a timed-out attempt may store its result late.
        if given_in >= attempt:
            return None
        self._taken.add((attempt, call.key, number))
        return snapshot


def call_site() -> tuple[Any, ...]:
    """Return the call site of the current task call in the code of the run.

    It is the stack of calls, each by its position in the source, so that two calls in one line
    differ. All calls from a coroutine that was wrapped in an asyncio task share one call site.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the public functions read files
    while frame is not None and _is_of(frame, _OURS):
        frame = frame.f_back
    place = []
    while frame is not None and not _is_of(frame, _NOT_THE_USERS):
        place.append((frame.f_code, _position(frame.f_code, frame.f_lasti)))
        frame = frame.f_back
    return tuple(place)


@lru_cache(maxsize=4096)
def _position(code: CodeType, index: int) -> tuple[int | None, ...]:
    """Return the source position of an instruction.

    Not the instruction itself: the interpreter may make the same call by different ones.
    """
    return next(islice(code.co_positions(), index // 2, None), ())


def _is_of(frame: FrameType, packages: frozenset[str]) -> bool:
    return _root(frame.f_globals.get("__name__")) in packages


@lru_cache(maxsize=1024)
def _root(module: object) -> str:
    return str(module).partition(".")[0]
