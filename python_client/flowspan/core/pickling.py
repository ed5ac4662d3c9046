"""Pickling of flows and tasks: by reference if they can be imported, else by value.

By reference means that a module name and a qualified name give the same object in another process.
By value, for objects from `__main__`, from functions or from `with_options`, means the whole object
with its function. The standard pickle cannot take functions by value; cloudpickle can.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
from contextvars import ContextVar
from importlib import import_module
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from flowspan.core.functions import attribute_of, take_after
from flowspan.core.keys.qualified_names import is_found_by_name
from flowspan.core.keys.source_code import Code
from flowspan.core.sent_by_value import pickler_by_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.definition import Definition

_MADE_ANEW = frozenset(
    {"fn", "_binding", "_details", "class_attribute", "stages", *functools.WRAPPER_ASSIGNMENTS}
)
"""Attributes that a copy derives again from its function."""

MADE = "_flowspan_made"
"""The attribute of functions that flowspan derives from another one; see `mark_as_made`."""

_FOUND_BY_NAME = " found by name"

_inside: ContextVar[bool] = ContextVar("flowspan_pickling_by_value", default=False)
"""True while a definition is pickled by value, so that nested definitions join that pickle."""


class EditedError(Exception):
    """A module was edited after the program imported it, so its functions may differ.

    Args:
        module: Its name.
    """

    def __init__(self, module: str) -> None:
        super().__init__(module)
        self.module = module


class FunctionReference:
    """A reference to a function of a module, plain or behind `@flow` or `@task`.

    Args:
        module: The module's name.
        qualname: The function's name in it.

    Attributes:
        text: The expected hash of its source (`Code.text`); empty to accept any source.
    """

    def __init__(self, module: str, qualname: str) -> None:
        self.module = module
        self.qualname = qualname
        self.text = ""

    def load(self) -> Callable[..., Any]:
        """Import the function.

        Raises:
            ImportError, AttributeError: It does not exist here.
            EditedError: Its source is different.
        """
        found = load(self.module, self.qualname)
        function: Callable[..., Any] = plain_function(found)
        if self.text:
            code = found.code if hasattr(type(found), "is_flow") else Code(function)
            if code.text != self.text:
                raise EditedError(self.module)
        return function


class BoundFunction:
    """A method with the object or class that it is bound to.

    Args:
        function: The function, in the form that `portable_function` returns.
        owner: The object or class.
    """

    def __init__(self, function: Any, owner: Any) -> None:
        self.function = function
        self.owner = owner

    def load(self) -> Callable[..., Any]:
        """Rebuild the method."""
        return MethodType(loaded_function(self.function), self.owner)


class WrappedFunction:
    """A function inside a classmethod or staticmethod.

    Args:
        kind: classmethod or staticmethod.
        function: The function, in the form that `portable_function` returns.
    """

    def __init__(self, kind: type, function: Any) -> None:
        self.kind = kind
        self.function = function

    def load(self) -> Any:
        """Rebuild the classmethod or staticmethod."""
        return self.kind(loaded_function(self.function))


class MadeFunction:
    """A function that flowspan derives from another one; see `mark_as_made`.

    Args:
        make: The factory.
        function: The other function, in the form that `portable_function` returns.
    """

    def __init__(self, make: Callable[..., Any], function: Any) -> None:
        self.make = make
        self.function = function

    def load(self) -> Any:
        """Rebuild the function."""
        return self.make(loaded_function(self.function))


def mark_as_made(fn: Callable[..., Any], make: Callable[..., Any], of: Callable[..., Any]) -> None:
    """Mark a function as rebuilt (not pickled) in other processes.

    Args:
        fn: The function.
        make: The importable factory that created it.
        of: The function that the factory got.
    """
    fn.__dict__[MADE] = (make, of)


def reduce_definition(definition: Definition) -> tuple[Any, ...]:
    """Return the reduced form of a flow or task for pickle; see `object.__reduce__`."""
    module, qualname = _name_of(definition)
    if find(module, qualname) is definition:
        return load, (module, qualname)
    if _inside.get():
        return _blank, (type(definition),), _state_of(definition)
    return _load_by_value, (_dump_by_value(definition),)


def restore(definition: Definition, state: dict[str, Any]) -> None:
    """Fill a blank copy with the state from `reduce_definition`."""
    fn = loaded_function(state.pop("fn"))
    is_named = state.pop(_FOUND_BY_NAME, False)
    definition.__dict__.update(state)
    if is_named:
        definition.code.named = fn
    definition.fn = fn
    take_after(definition, fn)


def portable_function(fn: Any) -> Any:
    """Return a function in a form that can be pickled, by cloudpickle if necessary."""
    if issubclass(type(fn), (classmethod, staticmethod)):
        return WrappedFunction(type(fn), portable_function(fn.__func__))
    if type(fn) is MethodType:
        return BoundFunction(portable_function(fn.__func__), fn.__self__)
    made = attribute_of(fn, "__dict__", {}).get(MADE)
    if made is not None:
        return MadeFunction(made[0], portable_function(made[1]))
    module, qualname = _name_of(fn)
    found = find(module, qualname)
    if found is not None and plain_function(found) is fn:
        return FunctionReference(module, qualname)
    return fn


def loaded_function(portable: Any) -> Any:
    """Return the function from its form in `portable_function`."""
    kinds = FunctionReference, BoundFunction, WrappedFunction, MadeFunction
    if issubclass(type(portable), kinds):
        return portable.load()
    return portable


def plain_function(thing: Any) -> Any:
    """Return the function behind a flow, task, classmethod or staticmethod."""
    fn = thing.fn if hasattr(type(thing), "is_flow") else thing
    return attribute_of(fn, "__func__", fn)


def find(module_name: str, qualname: str) -> Any:
    """Return the object that another process would import under a name; None if it cannot."""
    module = sys.modules.get(module_name)
    if module is None or module_name in {"__main__", "__mp_main__"} or _is_by_value(module_name):
        return None
    try:
        return _look_up(module, qualname)
    except AttributeError:
        return None


def load(module_name: str, qualname: str) -> Any:
    """Import an object by module and qualified name.

    Raises:
        ImportError, AttributeError: It does not exist here.
    """
    return _look_up(import_module(module_name), qualname)


def _look_up(module: object, qualname: str) -> Any:
    *path, name = qualname.split(".")
    owner = module
    for step in path:
        owner = getattr(owner, step)
    # Without binding: reading it from the class might bind it.
    if isinstance(owner, type) and name in vars(owner):
        return vars(owner)[name]
    return getattr(owner, name)


def _name_of(thing: object) -> tuple[str, str]:
    module = attribute_of(thing, "__module__")
    qualname = attribute_of(thing, "__qualname__")
    if isinstance(module, str) and isinstance(qualname, str):
        return module, qualname
    return "", ""


def _is_by_value(module_name: str) -> bool:
    """Return True if the program asked cloudpickle to pickle a module by value."""
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is None:
        return False
    chosen: set[str] = cloudpickle.list_registry_pickle_by_value()
    parts = module_name.split(".")
    return any(".".join(parts[:n]) in chosen for n in range(1, len(parts) + 1))


def _state_of(definition: Definition) -> dict[str, Any]:
    state = {
        name: value
        for name, value in vars(definition).items()
        if name not in _MADE_ANEW and name != "__wrapped__"
    }
    fn: Any = definition.fn
    state["fn"] = portable_function(fn)
    if type(fn) is FunctionType and fn.__closure__:
        # The other process cannot look it up in `__main__`.
        named = definition.code.named is fn
        state[_FOUND_BY_NAME] = named or is_found_by_name(fn, fn.__module__, fn.__qualname__)
    return state


def _blank(kind: type[Definition]) -> Definition:
    return kind.__new__(kind)


def _dump_by_value(definition: Definition) -> bytes:
    token = _inside.set(True)
    try:
        with io.BytesIO() as file:
            pickler_by_value()(file, protocol=pickle.HIGHEST_PROTOCOL).dump(definition)
            return file.getvalue()
    finally:
        _inside.reset(token)


def _load_by_value(data: bytes) -> Any:
    import cloudpickle  # type: ignore[import-untyped] # noqa: PLC0415 - untyped; startup time

    return cloudpickle.loads(data)
