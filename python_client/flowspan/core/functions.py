"""Introspection of callables: functions, methods, partials, wrappers and callable objects."""

from __future__ import annotations

import functools
import inspect
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from flowspan.core.stand_in import StandIn
from flowspan.core.values.inspection import (
    bases_of,
    exact_text,
    is_instance,
    label_of,
    type_attribute,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_MISSING: Any = object()
_NOT_PLAIN = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_GENERATOR


def attribute_of(fn: Any, name: str, default: Any = None) -> Any:
    """Return an attribute of a callable; the default if it is missing or reading it raises.

    A callable may be an object with properties and its own `__getattr__`.
    """
    try:
        return getattr(fn, name, default)
    except Exception:  # noqa: BLE001 - user code
        return default


def is_seen_as(question: Callable[[Any], bool], fn: Any) -> bool:
    """Return the answer of a predicate of `inspect`; False if it raises.

    These predicates read `__class__`, so a proxy of a function counts as that function.
    """
    try:
        return question(fn)
    except Exception:  # noqa: BLE001 - user code
        return False


def method_of_call(fn: Any) -> FunctionType | None:
    """Return the `__call__` function of an object's class; None if it is not a plain function."""
    method = type_attribute(type(fn), "__call__")
    return method if type(method) is FunctionType else None


def called_function(fn: Any) -> Any:
    """Return the function whose code runs on a call; the argument itself if not found.

    Args:
        fn: A function, a bound, static or class method, a `functools.partial` of one, or an object
            with a method `__call__`.
    """
    while True:
        if type(fn) is FunctionType:  # the common case
            return fn
        if is_instance(fn, functools.partial):
            fn = fn.func
        elif type(fn) is StandIn:
            fn = fn.__wrapped__
        elif (method := attribute_of(fn, "__func__", _MISSING)) is not _MISSING:
            fn = method
        elif not is_seen_as(inspect.isroutine, fn) and not is_instance(fn, type) and callable(fn):
            method = attribute_of(type(fn), "__call__")
            if attribute_of(method, "__code__") is None:
                return fn
            fn = method
        else:
            return fn


def wrapped_function(fn: Any) -> Any:
    """Return the innermost function of a callable, also behind wrappers (`functools.wraps`).

    Args:
        fn: Any callable that `called_function` takes, or a wrapper of one.
    """
    seen = set()
    while id(fn) not in seen:
        seen.add(id(fn))
        if is_instance(fn, functools.partial):
            fn = fn.func
            continue
        # `__func__` first: class and static methods have `__wrapped__` as well.
        inner = attribute_of(fn, "__func__", _MISSING)
        if inner is _MISSING:
            inner = attribute_of(fn, "__wrapped__", _MISSING)
        fn = called_function(fn) if inner is _MISSING else inner
    return fn


def is_wrapper(fn: Any) -> bool:
    """Return True if a callable is a wrapper created by `functools.wraps`."""
    inner = fn
    while inner is not _MISSING:
        fn = inner
        is_partial = is_instance(fn, functools.partial)
        inner = fn.func if is_partial else attribute_of(fn, "__func__", _MISSING)
    return attribute_of(fn, "__wrapped__", _MISSING) is not _MISSING


def take_after(definition: Any, fn: Any) -> None:
    """Do what `functools.update_wrapper` does, but skip attributes that cannot be read."""
    for name in functools.WRAPPER_ASSIGNMENTS:
        value = attribute_of(fn, name, _MISSING)
        if value is not _MISSING:
            setattr(definition, name, value)
    definition.__wrapped__ = fn


class CodeOf:
    """An attribute of an async or generator flow or task that is read from its function.

    Plain flows and tasks do not have it. With it, the others look to `inspect` like their function
    (as functions compiled by Cython do), so that `inspect.iscoroutinefunction` and its users see
    the kind of the call.
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
    code = attribute_of(function, "__code__")
    return 0 if code is None else int(code.co_flags)


def is_async_function(fn: Callable[..., Any]) -> bool:
    """Return True if calling it returns a coroutine or an async generator."""
    function = called_function(fn)
    if is_seen_as(inspect.iscoroutinefunction, function):
        return True
    if is_seen_as(inspect.isasyncgenfunction, function):
        return True
    # A plain decorator of an async function passes its coroutine on.
    return is_seen_as(inspect.iscoroutinefunction, wrapped_function(fn))


def is_generator_function(fn: Callable[..., Any]) -> bool:
    """Return True if calling it returns a generator, sync or async."""
    function = called_function(fn)
    questions = inspect.isgeneratorfunction, inspect.isasyncgenfunction
    return any(is_seen_as(question, function) for question in questions)


def has_field_defaults(fn: Callable[..., Any]) -> bool:
    """Return True if a parameter of a function has a pydantic field as its default."""
    function = wrapped_function(fn)
    defaults = attribute_of(function, "__defaults__") or ()
    by_keyword = attribute_of(function, "__kwdefaults__") or {}
    if type(defaults) is not tuple or type(by_keyword) is not dict:
        return False
    return any(is_field(default) for default in (*defaults, *by_keyword.values()))


def is_field(default: object) -> bool:
    """Return True if a default is a pydantic field. Does not import pydantic."""
    return type(default).__name__ == "FieldInfo"


def function_name(fn: Callable[..., Any]) -> str:
    """Return the name of a function, of the function in a partial, or of an object's class."""
    while is_instance(fn, functools.partial):
        fn = fn.func
    name = attribute_of(fn, "__name__")
    return exact_text(name if is_instance(name, str) else type(fn).__name__)


def called_name(fn: object) -> str:
    """Return a name for messages of any callable; never raises."""
    name = attribute_of(fn, "__name__")
    return name if type(name) is str else label_of(fn)


def function_doc(fn: Callable[..., Any]) -> str | None:
    """Return the docstring of a function, of the function in a partial, or of an object's class."""
    while is_instance(fn, functools.partial):
        fn = fn.func
    doc = attribute_of(fn, "__doc__")
    if doc is None and type(fn) is MethodType:
        return _inherited_doc(fn)
    if is_instance(doc, str):
        return inspect.cleandoc(doc)
    is_known = is_instance(fn, (type, FunctionType, BuiltinFunctionType))
    return inspect.getdoc(fn) if doc is None and is_known else None


def _inherited_doc(method: MethodType) -> str | None:
    """Return the docstring that a method inherits from a base class, like `inspect.getdoc`.

    `inspect.getdoc` would read the `__class__` of the method's object, which may run user code.
    """
    owner: Any = method.__self__
    name = attribute_of(method, "__name__")
    for base in bases_of(owner if is_instance(owner, type) else type(owner)):
        found = type_attribute(base, name)
        doc = None if found is None else attribute_of(found, "__doc__")
        if is_instance(doc, str) and doc is not type_attribute(type(found), "__doc__"):
            return inspect.cleandoc(doc)
    return None
