"""Run ids: UUIDs of version 7 (RFC 9562), in creation order within a process.

Every task needs one, so their creation is fast: the part that changes once a millisecond is cached
as text, and an id only appends a counter to it.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

_NS_PER_MS = 1_000_000
_BEFORE_ALL_TIMES = -(1 << 80)


class IdMaker:
    """A thread-safe generator of UUIDv7s as text, increasing within each thread.

    An id is the time in milliseconds (48 bits), the version, 26 random bits that change each
    millisecond, and a counter (48 bits) that starts at a random place in the lower half of its
    range.

    Args:
        now_ns: The clock, in nanoseconds since 1970 UTC. It may go backwards: ids do not. The
            attribute may be replaced.
        random_bits: Returns an integer with the given number of random bits.
        lock: Held while a new millisecond begins.
    """

    __slots__ = ("_block", "_lock", "_random_bits", "now_ns")

    def __init__(
        self,
        now_ns: Callable[[], int],
        random_bits: Callable[[int], int],
        lock: AbstractContextManager[object],
    ) -> None:
        self.now_ns = now_ns
        self._random_bits = random_bits
        self._lock = lock
        self._block: tuple[int, str, Iterator[int]] = (_BEFORE_ALL_TIMES, "", count())

    def __call__(self) -> str:
        """Return the next id: 36 lower-case characters."""
        block = self._block
        if self.now_ns() >= block[0]:
            block = self._next_block()
        # next() of a count is atomic for the interpreter, so two threads never get the same number.
        return f"{block[1]}{next(block[2]):012x}"

    def _next_block(self) -> tuple[int, str, Iterator[int]]:
        with self._lock:
            # A UUIDv7 cannot express times before 1970: they count as 1970.
            millisecond = max(self.now_ns() // _NS_PER_MS, 0)
            ends_ns = (millisecond + 1) * _NS_PER_MS
            if ends_ns <= self._block[0]:
                return self._block
            bits = self._random_bits(73)
            time = f"{millisecond:012x}"
            version = 0x7000 | (bits & 0xFFF)
            variant = 0x8000 | ((bits >> 12) & 0x3FFF)
            prefix = f"{time[:8]}-{time[8:]}-{version:04x}-{variant:04x}-"
            self._block = (ends_ns, prefix, count(bits >> 26))
            return self._block
