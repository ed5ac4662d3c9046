"""Decomposition of functions and classes into hashable forms.

A function or class that can be imported is represented by its name; the content of a user function
is hashed as well, once. A function or class that cannot be imported (a local function, a lambda) is
represented by its content. `docs/decisions/keys.md` has the reasons.
"""

from __future__ import annotations

from functools import lru_cache
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from flowspan.core.keys.bytecode import changed_names, global_names
from flowspan.core.keys.function_state import (
    attributes_held,
    closure_of,
    defaults_held,
    held_by_name,
    held_owner,
    is_wrapped_closed_over,
)
from flowspan.core.keys.parts import Form
from flowspan.core.keys.qualified_names import (
    has_own_namespace,
    is_found_by_name,
    is_of_any_program,
    is_of_library,
    module_name,
    static_attribute,
)
from flowspan.core.values.inspection import is_instance

if TYPE_CHECKING:
    from collections.abc import Collection

    from flowspan.core.keys.hashing import Hasher

_HEAP_TYPE = 1 << 9

_OF_NO_ACCOUNT = frozenset(
    {
        *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__classcell__"),
        *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
        *("__static_attributes__", "__firstlineno__", "__abstractmethods__", "__parameters__"),
        *("__orig_bases__", "__protocol_attrs__", "__match_args__", "__signature__", "__hash__"),
        *("__type_params__", "__conditional_annotations__", "__conditional_annotationcache__"),
        "__slotnames__",  # cached there by the first pickle of an object
    }
)
_MADE_PREFIXES = ("_abc_", "__pydantic", "__dataclass", "__attrs", "_is_", "__non_callable")
"""Prefixes of attributes that libraries derive from the rest of the class."""
_WITH_FIELDS = ("__pydantic_fields__", "__dataclass_fields__", "__attrs_attrs__")


class Named:
    """Functions that are represented by their name."""

    @staticmethod
    def content(function: FunctionType, hasher: Hasher) -> list[Any]:
        """Return the content of a function: its code and everything that the code refers to."""
        return [
            _code_digest(function.__code__, cast("Any", type(hasher))),
            function.__defaults__,
            function.__kwdefaults__,
            closure_of(function, hasher),
            _attributes(function),
            {} if is_of_library(function.__module__) else _globals(function),
        ]


def form_of_function(
    function: FunctionType, hasher: Hasher, without: Collection[str] = ()
) -> Form | bytes:
    """Return the form of a function.

    In a task identity, this is the name, or else the code and the captured state: closure,
    defaults, attributes. In a value, it also covers everything that the code refers to.

    Args:
        function: The function.
        hasher: The hasher.
        without: Parameters whose defaults are left out of a task identity.
    """
    module, qualname = function.__module__, function.__qualname__
    is_value = hasher.first_seen is None
    if is_found_by_name(function, module, qualname) and (is_value or not is_of_any_program(module)):
        name = f"function:{module_name(module)}.{qualname}"
        if is_value and not is_of_library(module):
            hasher.refer_to(name, function)
        return name.encode()
    head = [FunctionType, module_name(module), qualname, function.__name__]
    if is_value:
        return Form([*head, *Named.content(function, hasher)])
    code = _code_digest(function.__code__, cast("Any", type(hasher)))
    defaults = defaults_held(function, hasher, without)
    # The closure comes first: state that it shares with attributes counts as the code changes it.
    closure = closure_of(function, hasher)
    attributes = attributes_held(function, hasher)
    parts = [*head, code, *defaults, closure, *_own_globals(function, hasher)]
    return Form([*parts, attributes] if attributes else parts)


@lru_cache(maxsize=1024)
def _code_digest(code: CodeType, hasher: type[Hasher]) -> str:
    """Return the hash of a code object. It is cached, as code never changes."""
    return hasher().hash(code)


def form_of_method(method: MethodType, hasher: Hasher) -> Form:
    """Return the form of a bound method: its function and its object."""
    owner: Any = method.__self__
    if hasher.first_seen is not None and not is_instance(owner, type):
        return Form([MethodType, method.__func__, held_owner(method.__func__, owner, hasher)])
    return Form([MethodType, method.__func__, owner])


def form_of_class(kind: Any, hasher: Hasher) -> Form | bytes:
    """Return the form of a class: its name, or else its bases and its namespace."""
    known = hasher.names_of_types.get(id(kind))
    if known is None:
        known = hasher.names_of_types[id(kind)] = kind, _class_name(kind)
    if known[1] is not None:
        return known[1]
    head = [type(kind), module_name(kind.__module__), kind.__qualname__, list(kind.__bases__)]
    members = vars(kind).get("_member_map_")
    if members:  # an Enum
        values = [(each._name_, each._value_) for each in members.values()]
        methods = _methods(kind)
        return Form([*head, values, methods] if methods else [*head, values])
    generic = vars(kind).get("__pydantic_generic_metadata__") or {}
    return Form([*head, generic.get("args"), _fields(kind), _namespace(kind)])


def _attributes(function: FunctionType) -> dict[str, Any]:
    left_out = {"__wrapped__"} if is_wrapped_closed_over(function) else set()
    return {name: item for name, item in vars(function).items() if name not in left_out}


def _globals(function: FunctionType) -> dict[str, Any]:
    """Return the globals that a function refers to, including attributes of modules and classes.

    No code runs for it: a module's `__getattr__` and properties are ignored.
    """
    names, found = function.__globals__, {}
    for first, *others in global_names(function.__code__):
        if first not in names:
            continue  # a builtin or undefined: the name itself is part of the code
        path, value = [first], names[first]
        for attribute in others:
            if not _is_looked_into(value):
                break
            path.append(attribute)
            value = static_attribute(value, attribute)
        found[".".join(path)] = value
    return found


def _own_globals(function: FunctionType, hasher: Hasher) -> list[tuple[str, bytes]]:
    """Return the tokens of a function's globals if its namespace is not a module's.

    Functions that `exec` creates for each table or customer share their name, source and code; they
    differ only in their namespace. Modules are left out: their names are part of the code.
    """
    if not has_own_namespace(function):
        return []
    namespace = function.__globals__
    names = {first for first, *_ in global_names(function.__code__)}
    kept = {
        name: namespace[name]
        for name in names
        if name in namespace and type(namespace[name]) is not ModuleType
    }
    changed = changed_names(function.__code__)
    return list(held_by_name(namespace, kept, changed, hasher).items())


def _is_looked_into(value: Any) -> bool:
    if type(value) is ModuleType:
        return not is_of_library(value.__name__)
    return issubclass(type(value), type) and not is_of_library(value.__module__)


def _class_name(kind: Any) -> bytes | None:
    module, qualname = kind.__module__, kind.__qualname__
    if not kind.__flags__ & _HEAP_TYPE or is_found_by_name(kind, module, qualname):
        return f"class:{module_name(module)}.{qualname}".encode()
    return None


def _fields(kind: Any) -> list[Any]:
    """Return the fields of a dataclass, model or attrs class, with their defaults."""
    found = next((each for name in _WITH_FIELDS if (each := static_attribute(kind, name))), ())
    items = found.values() if isinstance(found, dict) else found
    names = list(found) if isinstance(found, dict) else [each.name for each in items]
    parts: list[Any] = []
    for name, each in zip(names, items, strict=True):
        default, factory = each.default, getattr(each, "default_factory", None)
        parts.append((name, *(_unless_missing(item) for item in (default, factory))))
        if hasattr(each, "annotation"):
            parts.append(each.annotation)
    return parts


def _unless_missing(item: Any) -> Any:
    return type(item).__name__ if type(item).__module__ in _MARKERS else item


_MARKERS = frozenset({"dataclasses", "pydantic_core", "pydantic_core._pydantic_core", "attr._make"})


def _methods(kind: Any) -> dict[str, Any]:
    """Return the functions and properties of an enum, without those that `enum` adds."""
    found = {}
    for name, item in vars(kind).items():
        function: Any = item.fget if isinstance(item, property) else item
        if isinstance(item, (classmethod, staticmethod)):
            function = item.__func__
        if type(function) is FunctionType and not is_of_library(function.__module__):
            found[name] = item
    return found


def _namespace(kind: Any) -> dict[str, Any]:
    is_made = any(static_attribute(kind, name) for name in _WITH_FIELDS)
    found = {}
    for name, item in vars(kind).items():
        if name in _OF_NO_ACCOUNT or name.startswith(_MADE_PREFIXES):
            continue
        if is_made and isinstance(item, FunctionType) and item.__code__.co_filename[:1] == "<":
            continue  # generated from the fields
        found[name] = item
    return found
