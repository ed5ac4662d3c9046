"""Descriptors that turn operations into methods: blocking on one client, coroutines on the other.

The table of operations (`flowspan.api.operations`) exists once, and both clients inherit it.
The client on which an operation is looked up decides its kind of method, also for type
checkers.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from flowspan.api.asynchronous import AsyncDriver, AsyncPages
    from flowspan.api.blocking import BlockingDriver
    from flowspan.api.requests import Answer, Items

P = ParamSpec("P")
T = TypeVar("T")


class asks(Generic[P, T]):  # noqa: N801 - used like a decorator
    """Descriptor for an operation that has one answer."""

    def __init__(self, operation: Callable[P, Answer[T]]) -> None:
        self.operation = operation
        self.__doc__ = operation.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Answer[T]]: ...
    @overload
    def __get__(self, client: BlockingDriver, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncDriver, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        return _bound(self.operation, client, "answer")


class lists(Generic[P, T]):  # noqa: N801 - see asks
    """Descriptor for an operation that lists items, page by page."""

    def __init__(self, operation: Callable[P, Items[T]]) -> None:
        self.operation = operation
        self.__doc__ = operation.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Items[T]]: ...
    @overload
    def __get__(self, client: BlockingDriver, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: AsyncDriver, owner: type) -> Callable[P, AsyncPages[T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        return _bound(self.operation, client, "pages")


class streams(Generic[P, T]):  # noqa: N801 - see asks
    """Descriptor for an operation that yields items as they happen."""

    def __init__(self, operation: Callable[P, Items[T]]) -> None:
        self.operation = operation
        self.__doc__ = operation.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Items[T]]: ...
    @overload
    def __get__(self, client: BlockingDriver, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: AsyncDriver, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        return _bound(self.operation, client, "items")


def _bound(operation: Callable[..., Any], client: Any, kind: str) -> Callable[..., Any]:
    """Return the client's method that performs an operation; the operation itself for a class."""
    if client is None:
        return operation
    carry_out = getattr(client, kind)

    @functools.wraps(operation)
    def method(*args: Any, **kwargs: Any) -> Any:
        return carry_out(operation(*args, **kwargs))

    return method
