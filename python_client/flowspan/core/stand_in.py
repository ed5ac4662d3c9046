"""Replacements for the functions of flows and tasks that a test mocks."""

from __future__ import annotations

from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_REFUSAL = (
    "{} is mocked in the process of the test, but was called in a worker process, which the mock "
    "does not reach. Mock the task that was submitted to the worker, or run the flow with a "
    "ThreadPoolTaskRunner in this test."
)

refused: frozenset[str] = frozenset()
"""In a worker process: the functions that the parent's test mocks, as `place_of` names them."""


class StandIn:
    """A callable in place of a function; see `flowspan.testing.mock_task`.

    It never leaves its process: a ProcessPoolTaskRunner calls it in the parent.

    Args:
        function: The function.
        call: The callable that replaces it.
    """

    __wrapped__: Any

    def __init__(self, function: Any, call: Callable[..., Any]) -> None:
        update_wrapper(self, function, updated=())
        self._call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the replacement."""
        return self._call(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> StandIn:
        """Bind the replacement, for flows and tasks that are methods."""
        if instance is None:
            return self
        return StandIn(self.__wrapped__.__get__(instance, owner), partial(self._call, instance))

    def __reduce__(self) -> tuple[Any, ...]:
        return _Refusing, (place_of(self.__wrapped__),)


class _Refusing:
    """In a worker process: a function that is mocked in the parent, and must not be called here."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __call__(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise RuntimeError(_REFUSAL.format(self._place))


def place_of(function: Any) -> str:
    """Return the location of a function: its module and qualified name."""
    return f"{function.__module__}:{function.__qualname__}"


def is_stand_in(function: Any) -> bool:
    """Return True if a call of the function reaches a mock."""
    return type(function) is StandIn or type(getattr(function, "__wrapped__", None)) is StandIn


def unless_refused(function: Any) -> Any:
    """Return the function, or a callable that raises if the function is mocked in the parent."""
    place = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    return _Refusing(place) if place in refused else function
