"""The form of a value for hashing: its parts and their order."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class Order(Enum):
    """Significance of the order of the parts of a form, after the first."""

    ORDERED = 1
    UNORDERED = 2
    MAPPING = 3
    """Alternating keys and values; the order of the pairs does not matter."""


ORDERED, UNORDERED, MAPPING = Order


class Form:
    """The parts of a value.

    Attributes:
        parts: The parts; the first is the kind of the value.
        order: The significance of the order of the others.
    """

    __slots__ = ("order", "parts")

    def __init__(self, parts: Sequence[Any], order: Order = ORDERED) -> None:
        self.parts = parts
        self.order = order
