"""Decomposition of functions and classes into hashable forms.

What can be found by its name goes by that; what it does, is hashed once beside (functions of the
user's only). What cannot, since it was made in a function or is a lambda, goes by what is in it.
`docs/decisions/keys.md` has the reasons.
"""

from __future__ import annotations

from functools import lru_cache
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from flowspan.core.bytecode import changed_names, global_names
from flowspan.core.hash_parts import Form
from flowspan.core.names import (
    has_own_namespace,
    is_found_by_name,
    is_of_any_program,
    is_of_library,
    module_name,
    static_attribute,
)
from flowspan.exceptions import HashError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan.core.hashing import Hasher

_HEAP_TYPE = 1 << 9

_SCALARS = frozenset({type(None), bool, float, complex, str, bytes})

_CONSTANTS = frozenset({bool, int, float, complex, str, bytes})

_OF_NO_ACCOUNT = frozenset(
    {
        *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__classcell__"),
        *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
        *("__static_attributes__", "__firstlineno__", "__abstractmethods__", "__parameters__"),
        *("__orig_bases__", "__protocol_attrs__", "__match_args__", "__signature__", "__hash__"),
        *("__type_params__", "__conditional_annotations__", "__conditional_annotationcache__"),
    }
)
_MADE_PREFIXES = ("_abc_", "__pydantic", "__dataclass", "__attrs", "_is_", "__non_callable")
"""Of what libraries add to classes, which is made of what is there already."""
_WITH_FIELDS = ("__pydantic_fields__", "__dataclass_fields__", "__attrs_attrs__")


class Named:
    """Functions that are found by their name."""

    @staticmethod
    def content(function: FunctionType, hasher: Hasher) -> list[Any]:
        """Return what a function does: its code, and what that refers to."""
        return [
            _code_digest(function.__code__, cast("Any", type(hasher))),
            function.__defaults__,
            function.__kwdefaults__,
            _closure(function, hasher),
            _attributes(function),
            {} if is_of_library(function.__module__) else _globals(function),
        ]


def form_of_function(function: FunctionType, hasher: Hasher) -> Form | bytes:
    """Return what stands for a function.

    For the identity of a task that is its name, or else its code and what it closes over. For a
    value, what it refers to as well.
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
    parts = [*head, code, *defaults_held(function, hasher), _closure(function, hasher)]
    return Form([*parts, *own_globals(function)])


@lru_cache(maxsize=1024)
def _code_digest(code: CodeType, hasher: type[Hasher]) -> str:
    """Return the hash of a code object: of constants, so that it is always the same."""
    return hasher().hash(code)


def form_of_method(method: MethodType, hasher: Hasher) -> Form:
    """Return what stands for a bound method: its function, and the object."""
    owner: Any = method.__self__
    if hasher.first_seen is not None and not isinstance(owner, type):
        return Form([MethodType, method.__func__, held_owner(method.__func__, owner, hasher)])
    return Form([MethodType, method.__func__, owner])


def form_of_class(kind: Any, hasher: Hasher) -> Form | bytes:
    """Return what stands for a class: its name, or else its bases and what is in it."""
    known = hasher.names_of_types.get(id(kind))
    if known is None:
        known = hasher.names_of_types[id(kind)] = kind, _class_name(kind)
    if known[1] is not None:
        return known[1]
    head = [type(kind), module_name(kind.__module__), kind.__qualname__, list(kind.__bases__)]
    members = vars(kind).get("_member_map_")
    if members:  # an Enum
        return Form([*head, [(each._name_, each._value_) for each in members.values()]])
    generic = vars(kind).get("__pydantic_generic_metadata__") or {}
    return Form([*head, generic.get("args"), _fields(kind), _namespace(kind)])


def held(variable: str, thing: Any, hasher: Hasher, *, is_changed: bool) -> bytes:
    """Return what stands for an object that the function of a task holds on to.

    Args:
        variable: Its name, for people.
        thing: The object.
        hasher: What hashes the identity of the task.
        is_changed: Count it as it was at first: the function changes it itself.
    """
    first_seen = hasher.first_seen
    assert first_seen is not None  # noqa: S101 - only for the identity of tasks
    if type(thing) in _SCALARS:
        return f"{type(thing).__name__}:{thing!r}".encode()
    known = first_seen.get(thing)
    if known is not None:
        return known
    if id(thing) in hasher.active:
        return b"^%d" % (len(hasher.active) - hasher.active.index(id(thing)))
    # What an iterator holds is only ever used by going on with it.
    is_changed = is_changed or static_attribute(type(thing), "__next__") is not None
    try:
        token = type(hasher)(first_seen, (*hasher.active, id(thing))).hash(thing).encode()
    except HashError as error:
        return first_seen.name_locally(variable, thing, str(error))
    return first_seen.keep(thing, token) if is_changed else token


def held_owner(function: Any, owner: Any, hasher: Hasher) -> bytes:
    """Return what stands for the object whose method is called."""
    code = getattr(function, "__code__", None)
    is_changed = isinstance(code, CodeType) and bool(
        set(code.co_varnames[:1]) & changed_names(code)
    )
    return held("self", owner, hasher, is_changed=is_changed)


def defaults_held(
    function: FunctionType, hasher: Hasher, without: Iterable[str] = ()
) -> list[tuple[str, bytes]]:
    """Return what stands for the defaults of a function, but those of some parameters."""
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount][code.co_argcount - len(defaults) :]
    found = {**dict(zip(names, defaults, strict=True)), **(function.__kwdefaults__ or {})}
    return [
        (name, held(name, found[name], hasher, is_changed=False))
        for name in sorted(found)
        if name not in without
    ]


def _closure(function: FunctionType, hasher: Hasher) -> dict[str, Any]:
    names, cells = function.__code__.co_freevars, function.__closure__ or ()
    found: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        try:
            content = cell.cell_contents
        except ValueError:
            found[name] = Form([ValueError, "not yet assigned"])
            continue
        if hasher.first_seen is None:
            found[name] = content
        elif name in changed_names(function.__code__):
            found[name] = _first_in(name, cell, content, hasher)
        else:
            found[name] = held(name, content, hasher, is_changed=False)
    return found


def _first_in(name: str, cell: Any, content: Any, hasher: Hasher) -> bytes:
    """Return what stands for the first content of a variable that a function changes itself."""
    first_seen = hasher.first_seen
    assert first_seen is not None  # noqa: S101 - only for the identity of tasks
    known = first_seen.get(cell)
    if known is not None:
        return known
    if id(content) in hasher.active:
        return held(name, content, hasher, is_changed=True)
    return first_seen.keep(cell, held(name, content, hasher, is_changed=True))


def _attributes(function: FunctionType) -> dict[str, Any]:
    return {name: item for name, item in vars(function).items() if name != "__wrapped__"}


def _globals(function: FunctionType) -> dict[str, Any]:
    """Return the globals that a function refers to, down to the attributes of modules and classes.

    Nothing is called for it: what a module makes up (`__getattr__`) is not looked at, nor are
    properties.
    """
    names, found = function.__globals__, {}
    for first, *others in global_names(function.__code__):
        if first not in names:
            continue  # a builtin, or not there: its name is a part of the code
        path, value = [first], names[first]
        for attribute in others:
            if not _is_looked_into(value):
                break
            path.append(attribute)
            value = static_attribute(value, attribute)
        found[".".join(path)] = value
    return found


def own_globals(function: FunctionType) -> list[tuple[str, Any]]:
    """Return the plain globals that a function refers to, if its namespace is no module's.

    Code that is run by `exec` for each table or customer has its name, its source and its code in
    common with the others; what it was given in its namespace is what sets it apart.
    """
    namespace = function.__globals__
    if not has_own_namespace(function.__module__, namespace):
        return []
    names = {first for first, *_ in global_names(function.__code__)}
    names -= changed_names(function.__code__)
    return [(name, namespace[name]) for name in sorted(names) if _is_constant(namespace.get(name))]


def _is_constant(value: Any) -> bool:
    return type(value) in _CONSTANTS or (type(value) is tuple and all(map(_is_constant, value)))


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
    """Return the fields of a dataclass, a model or an attrs class, with their defaults."""
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


def _namespace(kind: Any) -> dict[str, Any]:
    is_made = any(static_attribute(kind, name) for name in _WITH_FIELDS)
    found = {}
    for name, item in vars(kind).items():
        if name in _OF_NO_ACCOUNT or name.startswith(_MADE_PREFIXES):
            continue
        if is_made and isinstance(item, FunctionType) and item.__code__.co_filename[:1] == "<":
            continue  # generated of the fields
        found[name] = item
    return found
