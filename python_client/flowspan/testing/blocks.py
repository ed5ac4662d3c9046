"""Context managers that also decorate functions, plain and asynchronous."""

from __future__ import annotations

import functools
import inspect
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)
F = TypeVar("F", bound="Callable[..., Any]")


class Block(AbstractContextManager[T_co], Generic[T_co]):
    """A context manager that also works as a decorator; created by `block`.

    Args:
        begin: Returns a new context manager for each use.
    """

    def __init__(self, begin: Callable[[], AbstractContextManager[T_co]]) -> None:
        self._begin = begin
        self._open: list[AbstractContextManager[T_co]] = []

    def __enter__(self) -> T_co:
        manager = self._begin()
        value = manager.__enter__()
        self._open.append(manager)
        return value

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._open.pop().__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """Decorate a function, plain or asynchronous, so that each call runs in the block."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                with self._begin():
                    return await function(*args, **kwargs)

            return call_async  # type: ignore[return-value] # same signature

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._begin():
                return function(*args, **kwargs)

        return call  # type: ignore[return-value] # as above


def block(function: Callable[P, Iterator[T_co]]) -> Callable[P, Block[T_co]]:
    """Decorate a generator function so that it returns blocks; like `contextlib.contextmanager`."""
    begin = contextmanager(function)

    @functools.wraps(function)
    def made(*args: P.args, **kwargs: P.kwargs) -> Block[T_co]:
        return Block(functools.partial(begin, *args, **kwargs))

    return made
