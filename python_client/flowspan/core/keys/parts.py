"""The form in which a value is hashed."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class Order(Enum):
    """Order of the parts of a form after the first."""

    ORDERED = 1
    UNORDERED = 2
    MAPPING = 3
    """Keys and values in turns, in any order."""


ORDERED, UNORDERED, MAPPING = Order


class Form:
    """The parts of a value.

    Attributes:
        parts: The parts; the first says what kind of value it is.
        order: How the others belong together.
    """

    __slots__ = ("order", "parts")

    def __init__(self, parts: Sequence[Any], order: Order = ORDERED) -> None:
        self.parts = parts
        self.order = order
