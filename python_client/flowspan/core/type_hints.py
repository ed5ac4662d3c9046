"""The annotations of a function, evaluated one by one."""

from __future__ import annotations

import builtins
import inspect
import sys
import typing
from contextlib import suppress
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from flowspan.core.functions import attribute_of, method_of_call, wrapped_function
from flowspan.core.values.inspection import is_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Unresolved:
    """An annotation that cannot be evaluated.

    Attributes:
        reason: The reason.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason


def signature_of(fn: Callable[..., Any], *, follow_wrapped: bool = True) -> inspect.Signature:
    """Return the signature of a callable; one that accepts anything if it has none.

    Args:
        fn: The callable.
        follow_wrapped: False for the signature of a wrapper itself (`functools.wraps`).
    """
    with suppress(Exception):  # C functions have none; user objects may raise anything
        return _inspected(fn, follow_wrapped=follow_wrapped)
    method = method_of_call(fn)
    if method is not None:
        with suppress(Exception):
            return _inspected(MethodType(method, fn), follow_wrapped=follow_wrapped)
    return inspect.signature(_anything)


def _inspected(fn: Callable[..., Any], *, follow_wrapped: bool) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        from annotationlib import Format  # noqa: PLC0415 - new in Python 3.14

        # An annotation may use names that are imported only for type checkers.
        return inspect.signature(
            fn, follow_wrapped=follow_wrapped, annotation_format=Format.FORWARDREF
        )
    return inspect.signature(fn, follow_wrapped=follow_wrapped)


def type_hints(fn: Callable[..., Any], outer_names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the annotations of the parameters by name, with strings evaluated.

    Args:
        fn: The function.
        outer_names: The result of `outer_names` for it.

    Returns:
        The annotations; `Unresolved` for one that cannot be evaluated.
    """
    target = wrapped_function(fn)
    names = {**outer_names, **_closure_of(target)}
    return {
        name: _evaluated(parameter.annotation, target, names)
        for name, parameter in signature_of(target).parameters.items()
        if parameter.annotation is not parameter.empty
    }


def outer_names(fn: Callable[..., Any]) -> dict[str, Any]:
    """Return the values of names that a function's annotations use, from its enclosing scopes.

    A string annotation (any, after `from __future__ import annotations`) may name a class of the
    enclosing function or class. Python keeps such a name only if the function's code uses it too,
    so it is looked up while those scopes are running: in the decorator.
    """
    target = wrapped_function(fn)
    if not is_instance(target, FunctionType) or "." not in target.__qualname__:
        return {}
    qualname = target.__qualname__
    wanted = _names_of(target)
    wanted -= target.__globals__.keys() | vars(builtins).keys() | set(target.__code__.co_freevars)
    found: dict[str, Any] = {}
    frame = inspect.currentframe() if wanted else None
    while frame is not None:
        scope = frame.f_code.co_qualname
        if frame.f_globals is target.__globals__ and qualname.startswith(f"{scope}."):
            local = frame.f_locals
            found = {**{name: local[name] for name in wanted if name in local}, **found}
        frame = frame.f_back
    return found


def global_names(fn: Callable[..., Any]) -> dict[str, Any]:
    """Return the values of names that a function's annotations use, from its module.

    A function that is pickled by value includes the globals that its code uses, but not those
    that only its annotations use.
    """
    target = wrapped_function(fn)
    known = attribute_of(target, "__globals__", {})
    return {name: known[name] for name in _names_of(target) if name in known}


def annotation_text(annotation: Any) -> str:
    """Return an annotation as it was written, or an approximation."""
    if isinstance(annotation, str):
        return annotation
    try:
        return inspect.formatannotation(annotation)
    except Exception:  # noqa: BLE001 - __repr__ is user code
        return type(annotation).__name__


def _names_of(target: Any) -> set[str]:
    """Return the names in all string annotations of a function."""
    return {
        name
        for parameter in signature_of(target).parameters.values()
        for name in _names_in(parameter.annotation)
    }


def _closure_of(target: Any) -> dict[str, Any]:
    """Return the closure variables of a function that are already assigned."""
    if not is_instance(target, FunctionType) or not target.__closure__:
        return {}
    found = {}
    for name, cell in zip(target.__code__.co_freevars, target.__closure__, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


def _evaluated(annotation: Any, target: Any, names: dict[str, Any]) -> Any:
    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    type_params = attribute_of(target, "__type_params__", ())
    if type_params:
        names = {**{each.__name__: each for each in type_params}, **names}
    try:
        hints = typing.get_type_hints(
            holder, attribute_of(target, "__globals__", {}), names, include_extras=True
        )
    except Exception as error:  # noqa: BLE001 - evaluates user code
        if not list(_names_in(annotation)):
            return annotation  # not a type, such as the number 5: the validation reports it
        return Unresolved(str(error) or type(error).__name__)
    return hints["it"]


def _names_in(annotation: Any) -> Iterator[str]:
    """Yield the names of an annotation that are still to be looked up."""
    text = getattr(annotation, "__forward_arg__", annotation)
    if isinstance(text, str):
        with suppress(SyntaxError, ValueError):
            yield from compile(text, "<annotation>", "eval").co_names
        return
    origin = typing.get_origin(annotation)
    parts: Any = annotation if isinstance(annotation, list) else typing.get_args(annotation)
    if origin is typing.Literal:
        return  # its strings are values
    for part in parts[:1] if origin is typing.Annotated else parts:
        yield from _names_in(part)


def _anything(*args: Any, **kwargs: Any) -> None:
    """Accept any arguments."""
