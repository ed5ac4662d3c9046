"""Wrappers that say how an argument is to be taken: `unmapped`, `allow_failure`."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Annotation(Generic[T]):
    """A value with a mark on it."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def unwrap(self) -> T:
        """The value without the mark."""
        return self.value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class unmapped(Annotation[T]):  # noqa: N801 - used like a function
    """`task.map(items, unmapped([1, 2]))`: the value is given to each call as it is."""

    __slots__ = ()


class allow_failure(Annotation[T]):  # noqa: N801 - used like a function
    """`task(allow_failure(future))`: the task runs even if the run behind it did not complete.

    It is given the exception in place of the result.
    """

    __slots__ = ()
