"""Argument annotations: `unmapped`, `allow_failure`, `opaque` and `quote`."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

T = TypeVar("T")


class NotSet:
    """Marker for an option that is not given, where None is a meaningful value."""


class Annotation(Generic[T]):
    """A value with a marker that changes how it is passed as an argument."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def unwrap(self) -> T:
        """Return the value without the marker."""
        return self.value

    def rewrap(self, value: T) -> Self:
        """Return another value with the same marker."""
        return type(self)(value)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self.value == other.value)

    __hash__ = None  # type: ignore[assignment] # the value may be unhashable

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class unmapped(Annotation[T]):  # noqa: N801 - used like a function
    """An argument of `map` that every call gets unchanged: `task.map(items, unmapped([1, 2]))`."""

    __slots__ = ()


class allow_failure(Annotation[T]):  # noqa: N801 - used like a function
    """An input whose failure does not stop the task: `task(allow_failure(future))`.

    If the upstream run did not complete, the task gets its exception instead of its result.
    """

    __slots__ = ()


class opaque(Annotation[T]):  # noqa: N801 - used like a function
    """An argument that is passed to the task unchanged: `task(opaque(value))`.

    Futures and states inside the value are neither awaited nor replaced. This saves the time of
    searching large collections for them.
    """

    __slots__ = ()


class quote(opaque[T]):  # noqa: N801 - used like a function
    """An alias of `opaque`, under Prefect's older name: `task(quote(value))`."""

    __slots__ = ()

    def unquote(self) -> T:
        """Return the value without the marker."""
        return self.value
