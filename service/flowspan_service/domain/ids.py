"""UUIDv7s (RFC 9562) for objects whose id the service chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_RANDOM_BITS = 74
_LOW_BITS = 62


class IdSource:
    """A source of UUIDv7s, each greater than the one before. For one thread.

    Args:
        now_us: The wall clock. It may go back: the ids do not.
        random_bits: Returns an integer with the given number of random bits.
    """

    def __init__(self, now_us: Callable[[], int], random_bits: Callable[[int], int]) -> None:
        self._now_us = now_us
        self._random_bits = random_bits
        self._last = -1
        """The time and the random part of the last id, as one number of 122 bits."""

    def __call__(self) -> str:
        """Return the next id: 36 lower-case characters."""
        milliseconds = max(self._now_us() // 1000, 0)
        # The highest random bit is 0, so that 2^73 ids of one millisecond have room to count up.
        number = milliseconds << _RANDOM_BITS | self._random_bits(_RANDOM_BITS - 1)
        self._last = number = max(number, self._last + 1)
        time = number >> _RANDOM_BITS
        high = number >> _LOW_BITS & 0xFFF
        low = number & ((1 << _LOW_BITS) - 1)
        digits = f"{time << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
