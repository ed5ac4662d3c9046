"""What is known of a function that is decorated: it may also be a method, an object, a partial."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from flowspan.core.stand_in import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable


def called_function(fn: Any) -> Any:
    """The function whose code runs when something is called, as far as it is one.

    Args:
        fn: A function, a bound, static or class method, a `functools.partial` of one, or an object
            with a method `__call__`.
    """
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif type(fn) is StandIn:
            fn = fn.__wrapped__
        elif hasattr(fn, "__func__"):
            fn = fn.__func__
        elif not inspect.isroutine(fn) and not isinstance(fn, type) and callable(fn):
            method = type(fn).__call__
            if not hasattr(method, "__code__"):
                return fn
            fn = method
        else:
            return fn


def is_async_function(fn: Callable[..., Any]) -> bool:
    """Whether calling something gives a coroutine or an asynchronous generator."""
    function = called_function(fn)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return True
    # A plain decorator of an asynchronous function hands its coroutine on.
    return inspect.iscoroutinefunction(called_function(inspect.unwrap(function)))


def is_generator_function(fn: Callable[..., Any]) -> bool:
    """Whether calling something gives a generator, plain or asynchronous."""
    function = called_function(fn)
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def function_name(fn: Callable[..., Any]) -> str:
    """The name of a function, of the function in a partial, or of an object's class."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return str(getattr(fn, "__name__", type(fn).__name__))


def function_doc(fn: Callable[..., Any]) -> str | None:
    """The docstring of a function, of the function in a partial, or of an object's class."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.getdoc(fn)
