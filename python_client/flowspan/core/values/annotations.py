"""Wrappers that say how an argument is to be taken: `unmapped`, `allow_failure`, `opaque`."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

T = TypeVar("T")


class NotSet:
    """Stands for an option that is not given, where None has a meaning of its own."""


class Annotation(Generic[T]):
    """A value with a mark on it."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def unwrap(self) -> T:
        """The value without the mark."""
        return self.value

    def rewrap(self, value: T) -> Self:
        """Another value with the same mark."""
        return type(self)(value)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self.value == other.value)

    __hash__ = None  # type: ignore[assignment] # the value may have none

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


class opaque(Annotation[T]):  # noqa: N801 - used like a function
    """`task(opaque(value))`: the value is given to the task as it is, and not looked into.

    Futures and states inside of it are not waited for and not replaced. It saves the time of
    looking for them in large collections.
    """

    __slots__ = ()


class quote(opaque[T]):  # noqa: N801 - used like a function
    """`task(quote(value))`: as `opaque`; Prefect's older name for it."""

    __slots__ = ()

    def unquote(self) -> T:
        """The value without the mark."""
        return self.value
