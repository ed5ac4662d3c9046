"""Mocks for flows and tasks: what is called, submitted or mapped is not their function."""

from __future__ import annotations

import inspect
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, MagicMock

from flowspan.core.keeping import KeepOptions
from flowspan.core.stand_in import StandIn, place_of
from flowspan.drivers.processes.worker import MOCKED
from flowspan.flows import Flow
from flowspan.tasks import Task
from flowspan.testing.blocks import block

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from flowspan.decorated import Decorated

_lock = threading.Lock()
_mocked: list[str] = []


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
    original, keeping = decorated.fn, decorated.keeping
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
    place = place_of(function)
    with _lock:
        _mocked.append(place)
        os.environ[MOCKED] = ",".join(_mocked)
    decorated.fn = stand_in
    decorated.keeping = KeepOptions({"persist_result": False})
    try:
        yield mock
    finally:
        decorated.fn, decorated.keeping = original, keeping
        with _lock:
            _mocked.remove(place)
            os.environ[MOCKED] = ",".join(_mocked)
            if not _mocked:
                del os.environ[MOCKED]


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
