"""Run ids: UUIDs of version 7 (RFC 9562), in order of creation within a process.

Made for speed, for every task needs one: what changes once a millisecond is kept as text, and an id
in between only appends a counter to it.
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
    """Makes UUIDv7s as text, each greater than those that the same thread made before.

    An id is the time in milliseconds (48 bits), the version, 26 random bits that are drawn anew
    each millisecond, and a counter (48 bits) that starts at a random place in the lower half of its
    range.

    Args:
        now_ns: The clock, in nanoseconds since 1970 UTC. It may go backwards: ids do not. It may be
            exchanged.
        random_bits: Gives an integer of so many random bits.
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
        """The next id: 36 lower-case characters."""
        block = self._block
        if self.now_ns() >= block[0]:
            block = self._next_block()
        # next() of a count is one step for the interpreter, so two threads never get the same.
        return f"{block[1]}{next(block[2]):012x}"

    def _next_block(self) -> tuple[int, str, Iterator[int]]:
        with self._lock:
            # A UUIDv7 knows no time before 1970: such a clock stands still for it.
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
