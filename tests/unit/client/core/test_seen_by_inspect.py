"""`inspect` and `asyncio` classify a flow or task like its function."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
import sys
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.support.recorder import Recorder

BOTH = pytest.mark.parametrize("decorator", [flow, task], ids=["flow", "task"])
OPTIONS: dict[str, Any] = {"name": "it"}


def plain(x: int, y: int = 2) -> int:
    return x


async def later(x: int, y: int = 2, *, z: int = 3) -> int:
    return x


def values(x: int) -> Iterator[int]:
    yield x


async def later_values(x: int) -> AsyncIterator[int]:
    yield x


class Delayed:
    """Callable objects."""

    async def __call__(self, x: int) -> int:
        return x


def handing_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def answers(thing: Any) -> tuple[bool, bool, bool]:
    """Ask `inspect` if it is a coroutine function, an async generator or a generator function."""
    return (
        inspect.iscoroutinefunction(thing),
        inspect.isasyncgenfunction(thing),
        inspect.isgeneratorfunction(thing),
    )


def forms_of(decorator: Any, function: Any) -> dict[str, Any]:
    """Return the flow or task of a function in all the forms in which programs pass it on."""

    class Store:
        @decorator(**OPTIONS)
        def method(self, x: int) -> Any: ...

    made = decorator(**OPTIONS)(function)

    class Holder:
        method = decorator(**OPTIONS)(function)
        static = decorator(**OPTIONS)(staticmethod(function))
        of_class = decorator(**OPTIONS)(classmethod(function))
        outside = classmethod(made)

    return {
        "itself": made,
        "with_options": made.with_options(name="other"),
        "copied": copy.copy(made),
        "pickled": pickle.loads(pickle.dumps(made)),  # noqa: S301 - pickled by this test
        "in a partial": functools.partial(made, 1),
        "of a partial": decorator(**OPTIONS)(functools.partial(function, 1)),
        "method of a class": Holder.method,
        "bound": Holder().method,
        "bound with options": Holder().method.with_options(name="other"),
        "static": Holder.static,
        "class": Holder.of_class,
        "class outside": Holder.outside,
        "twice": decorator(**OPTIONS)(functools.partial(functools.partial(function))),
    }


@BOTH
@pytest.mark.parametrize("function", [plain, later, values, later_values])
def test_they_look_like_their_functions(decorator: Any, function: Any) -> None:
    for form, thing in forms_of(decorator, function).items():
        assert answers(thing) == answers(function), form
        if sys.version_info < (3, 14):  # It is deprecated there.
            assert asyncio.iscoroutinefunction(thing) == (function is later), form


@BOTH
def test_objects_and_wrappers_of_coroutine_functions(decorator: Any) -> None:
    class Wrapper:
        def __init__(self, function: Any) -> None:
            functools.update_wrapper(self, function)

        def __call__(self, *args: Any) -> Any:
            return later(*args)

    wrapped = handing_on(later)
    for fn in (Delayed(), wrapped, functools.partial(wrapped, 1), Wrapper(later)):
        made = decorator(**OPTIONS)(fn)
        assert made.is_async
        assert answers(made) == (True, False, False)


@BOTH
def test_signature_and_source_are_those_of_the_function(decorator: Any) -> None:
    made = decorator(later)
    assert str(inspect.signature(made)) == str(inspect.signature(later))
    assert inspect.getsource(made) == inspect.getsource(later)
    assert made.__name__ == "later"
    assert decorator(functools.partial(later, 1)).__name__ == "later"
    assert not hasattr(decorator(plain), "__code__"), "a sync one must not look like a function"


async def call_as_starlette(function: Any, *args: Any) -> Any:
    """Call a function as starlette's BackgroundTask and FastAPI's endpoints do."""
    unwrapped = function
    while isinstance(unwrapped, functools.partial):
        unwrapped = unwrapped.func
    if inspect.iscoroutinefunction(unwrapped):
        return await function(*args)
    return await asyncio.to_thread(function, *args)


@BOTH
@pytest.mark.parametrize("function", [plain, later])
def test_a_web_framework_runs_them(recorder: Recorder, decorator: Any, function: Any) -> None:
    made = decorator(**OPTIONS)(function)

    class Holder:
        method = decorator(**OPTIONS)(function)

    async def served() -> list[Any]:
        things = made, made.with_options(name="other"), functools.partial(made)
        found = [await call_as_starlette(thing, 5) for thing in things]
        holder = Holder()
        assert await call_as_starlette(holder.method, 5) is holder
        return found

    assert asyncio.run(served()) == [5, 5, 5]
    assert len(recorder.runs) == 4
