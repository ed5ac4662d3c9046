"""What is known of a function that is decorated: it may also be a method, an object, a partial."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from flowspan.core.stand_in import StandIn
from flowspan.core.values import label_of

if TYPE_CHECKING:
    from collections.abc import Callable

_NOT_PLAIN = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_GENERATOR


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


def wrapped_function(fn: Any) -> Any:
    """Return the innermost function of a callable: behind wrappers (`functools.wraps`) as well.

    Args:
        fn: See `called_function`; or a function or object that wraps one.
    """
    seen = set()
    while id(fn) not in seen:
        seen.add(id(fn))
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif hasattr(fn, "__func__"):  # first: class and static methods have `__wrapped__` too
            fn = fn.__func__
        elif hasattr(fn, "__wrapped__"):
            fn = fn.__wrapped__
        else:
            fn = called_function(fn)
    return fn


def is_wrapper(fn: Any) -> bool:
    """True if something hands its calls on to what it wraps (`functools.wraps`)."""
    while isinstance(fn, functools.partial) or hasattr(fn, "__func__"):
        fn = fn.func if isinstance(fn, functools.partial) else fn.__func__
    return hasattr(fn, "__wrapped__")


class CodeOf:
    """The attribute of a flow or task that its function has under this name.

    Only one whose call is not a plain one has it: one that is asynchronous, or a generator. To
    `inspect` it looks like its function then (as functions that are compiled by Cython do), and so
    `inspect.iscoroutinefunction` and whoever asks that know what its call gives.
    """

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, _owner: type | None = None) -> Any:
        if instance is None or instance.__dict__.get("_is_plain", True):
            raise AttributeError(self._name)
        function = called_function(instance.fn)
        if not _code_flags(function) & _NOT_PLAIN:
            function = wrapped_function(instance.fn)
        return getattr(function, self._name)


def _code_flags(function: Any) -> int:
    code = getattr(function, "__code__", None)
    return 0 if code is None else int(code.co_flags)


def is_async_function(fn: Callable[..., Any]) -> bool:
    """Whether calling something gives a coroutine or an asynchronous generator."""
    function = called_function(fn)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return True
    # A plain decorator of an asynchronous function hands its coroutine on.
    return inspect.iscoroutinefunction(wrapped_function(fn))


def is_generator_function(fn: Callable[..., Any]) -> bool:
    """Whether calling something gives a generator, plain or asynchronous."""
    function = called_function(fn)
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def function_name(fn: Callable[..., Any]) -> str:
    """The name of a function, of the function in a partial, or of an object's class."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return str(getattr(fn, "__name__", type(fn).__name__))


def called_name(fn: object) -> str:
    """Return a name for messages of anything that is called; never raises."""
    try:
        name = getattr(fn, "__name__", None)
    except Exception:  # noqa: BLE001 - an object with a __getattr__ of its own
        name = None
    return name if type(name) is str else label_of(fn)


def function_doc(fn: Callable[..., Any]) -> str | None:
    """The docstring of a function, of the function in a partial, or of an object's class."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.getdoc(fn)
