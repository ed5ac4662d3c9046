"""Mocks of flows and tasks, which replace the function but keep the run."""

from __future__ import annotations

import inspect
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import AsyncMock, MagicMock

from flowspan.core.result_options import ResultOptions
from flowspan.core.stand_in import StandIn, place_of
from flowspan.drivers.processes.worker import MOCKED
from flowspan.flows import Flow
from flowspan.tasks import Task
from flowspan.testing.blocks import block

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from flowspan.decorated import Decorated

_NOT_KEPT = ResultOptions({"persist_result": False})


class _Original(NamedTuple):
    """The parts of a flow or task that a mock replaces."""

    fn: Any
    result_policy: ResultOptions | None


class _Layer:
    """A mock of a flow or task.

    Mocks may end in another order than they started, as fixtures do.

    Attributes:
        decorated: The flow or task.
        place: The place where its function is defined.
        stand_in: The function that is called instead.
        original: The values of the flow or task without any mock.
    """

    __slots__ = ("decorated", "original", "place", "stand_in")

    def __init__(
        self, decorated: Decorated[..., Any], place: str, stand_in: Any, original: _Original
    ) -> None:
        self.decorated = decorated
        self.place = place
        self.stand_in = stand_in
        self.original = original


_lock = threading.Lock()
_layers: list[_Layer] = []
"""Mocks of all open blocks, in order of start."""


@block
def mock_task(
    task: Task[..., Any], *, return_value: Any = None, side_effect: Any = None
) -> Iterator[MagicMock]:
    """Replace the function of a task while the block runs.

    The task's runs are reported as usual, with retries, timeouts and hooks. Only the function
    is not called, and results are neither looked up nor stored. The mock applies to calls,
    `submit`, `map` and copies created by `with_options` in the block, in every thread of this
    process. A task submitted to a ProcessPoolTaskRunner runs in this process. A task called
    inside a worker process cannot be mocked and raises a RuntimeError.

    Args:
        task: The task.
        return_value: The return value; for a generator, an iterable of the values to yield.
        side_effect: As for `unittest.mock.Mock`: an exception to raise, a list with the outcome of
            each call, or a function to call instead.

    Yields:
        The mock, which records its calls.

    Raises:
        TypeError: The argument is not a task, or is bound to an instance.
    """
    if not isinstance(task, Task):
        raise TypeError(
            f"mock_task requires a task, that is, a function decorated with @task, not {task!r}."
        )
    with _mock(task, return_value, side_effect) as mock:
        yield mock


@block
def mock_flow(
    flow: Flow[..., Any], *, return_value: Any = None, side_effect: Any = None
) -> Iterator[MagicMock]:
    """Replace the function of a flow, such as a subflow, while the block runs; see `mock_task`."""
    if not isinstance(flow, Flow):
        raise TypeError(
            f"mock_flow requires a flow, that is, a function decorated with @flow, not {flow!r}."
        )
    with _mock(flow, return_value, side_effect) as mock:
        yield mock


@contextmanager
def _mock(decorated: Decorated[..., Any], return_value: Any, side_effect: Any) -> Iterator[Any]:
    decorated = decorated.class_attribute or decorated
    original = _original_of(decorated).fn
    if inspect.ismethod(original):
        raise TypeError(
            f"{decorated!r} is bound to {original.__self__!r}, so it is a copy without other "
            f"users. Mock the attribute of its class instead."
        )
    function = getattr(original, "__func__", original)  # set for a classmethod or staticmethod
    is_coroutine = decorated.is_async and not decorated.is_generator
    options: Any = {"return_value": return_value, "side_effect": side_effect}
    mock = AsyncMock(**options) if is_coroutine else MagicMock(**options)
    stand_in: Any = StandIn(function, _calling(mock, decorated, function))
    if original is not function:
        wrapper: Any = type(original)
        stand_in = wrapper(stand_in)
    layer = _Layer(decorated, place_of(function), stand_in, _original_of(decorated))
    with _lock:
        _layers.append(layer)
        _apply(layer)
    try:
        yield mock
    finally:
        with _lock:
            _layers.remove(layer)
            _apply(layer)


def _original_of(decorated: Decorated[..., Any]) -> _Original:
    """Return the values of a flow or task without any mock."""
    mocked = [layer.original for layer in _layers if layer.decorated is decorated]
    return mocked[0] if mocked else _Original(decorated.fn, decorated.result_policy)


def _apply(changed: _Layer) -> None:
    """Install the innermost mock of a flow or task, or restore its own function."""
    decorated, original = changed.decorated, changed.original
    stand_ins = [layer.stand_in for layer in _layers if layer.decorated is decorated]
    decorated.fn = stand_ins[-1] if stand_ins else original.fn
    decorated.result_policy = _NOT_KEPT if stand_ins else original.result_policy
    if _layers:
        os.environ[MOCKED] = ",".join(layer.place for layer in _layers)
    else:
        os.environ.pop(MOCKED, None)


def _calling(
    mock: Any, decorated: Decorated[..., Any], function: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a function of the same kind as the mocked one, which calls the mock."""
    signature = inspect.signature(function)

    def call(*args: Any, **kwargs: Any) -> Any:
        signature.bind(
            *args, **kwargs
        )  # raise the same TypeError for a wrong call as without the mock
        return mock(*args, **kwargs)

    def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from call(*args, **kwargs) or ()

    async def generate_async(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for value in call(*args, **kwargs) or ():
            yield value

    if not decorated.is_generator:
        return call
    return generate_async if decorated.is_async else generate
