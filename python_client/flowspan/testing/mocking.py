"""Mocks for flows and tasks: what is called, submitted or mapped is not their function."""

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
    """What a mock replaces in a flow or task."""

    fn: Any
    result_policy: ResultOptions | None


class _Layer:
    """A mock of a flow or task.

    They may end in another order than that in which they began, as fixtures do.

    Attributes:
        decorated: The flow or task.
        place: Where its function is defined.
        stand_in: What is called instead.
        original: What the flow or task has without any mock.
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
"""The mocks of all open blocks, in the order in which they began."""


@block
def mock_task(
    task: Task[..., Any], *, return_value: Any = None, side_effect: Any = None
) -> Iterator[MagicMock]:
    """Replace the function of a task while the block runs.

    Its runs are reported as ever, with their retries, timeouts and hooks; only the function is not
    called, and results are neither looked up nor stored. It counts for calls, `submit`, `map` and
    for copies that `with_options` makes in the block, in every thread of this process. A task that
    is submitted to a ProcessPoolTaskRunner is called in this process; what is called within a
    worker process cannot be mocked, and raises a RuntimeError that says so.

    Args:
        task: The task.
        return_value: What it returns; what it yields, one by one, if it is a generator.
        side_effect: As for `unittest.mock.Mock`: an exception to raise, a list of the outcomes of
            one call after the other, or a function to call instead.

    Yields:
        The mock, which knows how it was called.

    Raises:
        TypeError: It is no task, or one that is bound to an instance.
    """
    if not isinstance(task, Task):
        raise TypeError(f"mock_task mocks a task, the object that @task has made, not {task!r}.")
    with _mock(task, return_value, side_effect) as mock:
        yield mock


@block
def mock_flow(
    flow: Flow[..., Any], *, return_value: Any = None, side_effect: Any = None
) -> Iterator[MagicMock]:
    """Replace the function of a flow, such as a subflow, while the block runs; see `mock_task`."""
    if not isinstance(flow, Flow):
        raise TypeError(f"mock_flow mocks a flow, the object that @flow has made, not {flow!r}.")
    with _mock(flow, return_value, side_effect) as mock:
        yield mock


@contextmanager
def _mock(decorated: Decorated[..., Any], return_value: Any, side_effect: Any) -> Iterator[Any]:
    decorated = decorated.class_attribute or decorated
    original = _original_of(decorated).fn
    if inspect.ismethod(original):
        raise TypeError(
            f"{decorated!r} is bound to {original.__self__!r}: a copy, which nobody else has. "
            f"Mock it as an attribute of its class."
        )
    function = getattr(original, "__func__", original)  # a classmethod or a staticmethod has one
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
    """Return what a flow or task has without any mock."""
    mocked = [layer.original for layer in _layers if layer.decorated is decorated]
    return mocked[0] if mocked else _Original(decorated.fn, decorated.result_policy)


def _apply(changed: _Layer) -> None:
    """Give a flow or task the function of its innermost mock, or its own without any."""
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
    """Return a function of the same kind as the one that is mocked, which calls the mock."""
    signature = inspect.signature(function)

    def call(*args: Any, **kwargs: Any) -> Any:
        signature.bind(*args, **kwargs)  # a wrong call is as wrong as without the mock
        return mock(*args, **kwargs)

    def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from call(*args, **kwargs) or ()

    async def generate_async(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for value in call(*args, **kwargs) or ():
            yield value

    if not decorated.is_generator:
        return call
    return generate_async if decorated.is_async else generate
