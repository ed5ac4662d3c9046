"""Decomposition of a task's captured state: closure, defaults, attributes and bound object.

In a task identity, captured state counts with its value at the call, except for the parts that the
function's own code changes: those count as first seen. `docs/decisions/keys.md` has the reasons.
"""

from __future__ import annotations

import functools
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from flowspan.core.keys.bytecode import changed_attributes, changed_names
from flowspan.core.keys.parts import Form
from flowspan.core.keys.qualified_names import static_attribute
from flowspan.core.pickling import MADE
from flowspan.exceptions import HashError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from flowspan.core.keys.hashing import Hasher

_SCALARS = frozenset({type(None), bool, float, complex, str, bytes})

_HEAP_TYPE = 1 << 9

_NOT_PLAIN = frozenset(
    {"__slots__", "__reduce__", "__reduce_ex__", "__getstate__", "__getattribute__"}
)
"""Members of a class whose instances may be more or less than their attributes."""

_OF_WRAPPERS = frozenset(
    {*functools.WRAPPER_ASSIGNMENTS, "__type_params__", "__signature__", "__self__"}
)
"""Attributes that `functools.wraps` and similar decorators copy from a function."""

_OF_DEFINITIONS = frozenset(
    {
        *(*_OF_WRAPPERS, "__wrapped__", "_all_checks", "_checks", "_is_plain", "_keywords"),
        *(
            "_binding",
            "_details",
            "class_attribute",
            "code",
            "description",
            "file_version",
            "fn",
            "given_delay",
        ),
        *("hooks", "is_async", "is_generator", "result_policy", "live_tags", "log_prints", "name"),
        *("options", "own_runner", "retry", "run_name", "run_tags", "timeout_s", "version"),
        *("stages", "viz_return_value", "_fills_fields"),
    }
)
"""The attributes that flows and tasks define themselves."""


def held(
    variable: str,
    thing: Any,
    hasher: Hasher,
    *,
    is_changed: bool,
    changed: set[str] | None = None,
) -> bytes:
    """Return the token of an object that the function of a task captures.

    Args:
        variable: Its name, for people.
        thing: The object.
        hasher: The hasher of the task identity.
        is_changed: Use the first-seen token: the function itself changes the object.
        changed: The only attributes that the function changes, for an object that is fully
            described by its attributes.
    """
    first_seen = hasher.first_seen
    assert first_seen is not None  # noqa: S101 - always set for a task identity
    if type(thing) in _SCALARS:
        return f"{type(thing).__name__}:{thing!r}".encode()
    known = first_seen.get(thing)
    if known is not None:
        return known
    if id(thing) in hasher.active:
        index = hasher.active.index(id(thing))
        hasher.lowest = min(hasher.lowest, index)
        return b"^%d" % (len(hasher.active) - index)
    # An iterator's contents are only reachable by advancing it.
    is_changed = is_changed or static_attribute(type(thing), "__next__") is not None
    closed = hasher.closed.get(id(thing)) if changed is None else None
    if closed is not None:
        return first_seen.keep(thing, closed[1]) if is_changed else closed[1]
    inner = hasher.inside(thing)
    try:
        form = thing if changed is None else _attributes_of_object(thing, changed, inner)
        token = inner.hash(form).encode()
    except HashError as error:
        if inner.is_spent:  # the token would depend on what was counted before
            raise
        return first_seen.name_locally(variable, thing, str(error))
    if inner.lowest >= len(hasher.active):
        if changed is None:
            hasher.closed[id(thing)] = thing, token
    else:
        hasher.lowest = min(hasher.lowest, inner.lowest)
        hasher.count_open()
    return first_seen.keep(thing, token) if is_changed else token


def held_owner(function: Any, owner: Any, hasher: Hasher) -> bytes:
    """Return the token of the object that a method is bound to.

    Attributes that the method itself changes count as first seen.
    """
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return held("self", owner, hasher, is_changed=False)
    names = _changed_by_methods(type(owner), code)
    is_changed = bool(names or set(code.co_varnames[:1]) & changed_names(code))
    if not names or not _is_plain_object(owner) or _are_of_class(names, type(owner)):
        return held("self", owner, hasher, is_changed=is_changed)
    return held("self", owner, hasher, is_changed=False, changed=names)


def _changed_by_methods(kind: type, code: CodeType) -> set[str]:
    """Return the attributes of its object that a method changes, also through other methods."""
    found: set[str] = set()
    seen: set[int] = set()
    left = [code]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        own = each.co_varnames[:1]
        found.update(name for variable, name in changed_attributes(each) if variable in own)
        for name in each.co_names:
            method = static_attribute(kind, name)
            if type(method) is FunctionType:
                left.append(method.__code__)
    return found


def _are_of_class(names: set[str], kind: type) -> bool:
    """Return True if one of the names belongs to the class, as in `self.append(x)`."""
    return any(static_attribute(kind, each) is not None for each in names)


def _is_plain_object(thing: Any) -> bool:
    """Return True for an object that is fully described by its attributes (default pickling)."""
    kind = type(thing)
    return type(kind) is type and all(
        each is object or (each.__flags__ & _HEAP_TYPE and not _NOT_PLAIN.intersection(vars(each)))
        for each in kind.__mro__
    )


def _attributes_of_object(owner: Any, changed: set[str], hasher: Hasher) -> Form:
    state = dict(vars(owner))
    cached = hasher.traits_of(type(owner)).cached
    kept = {name: item for name, item in state.items() if name not in cached | changed}
    # An attribute that the method sets later is first seen as missing, and remains so.
    first = {name: state.get(name, ...) for name in changed}
    return Form([type(owner), held_by_name(owner, {**kept, **first}, changed, hasher)])


def defaults_held(
    function: FunctionType, hasher: Hasher, without: Iterable[str] = ()
) -> list[tuple[str, bytes]]:
    """Return the tokens of the defaults of a function, except for some parameters."""
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount][code.co_argcount - len(defaults) :]
    found = {**dict(zip(names, defaults, strict=True)), **(function.__kwdefaults__ or {})}
    return [
        (name, held(name, found[name], hasher, is_changed=False))
        for name in sorted(found)
        if name not in without
    ]


def closure_of(function: FunctionType, hasher: Hasher) -> dict[str, Any]:
    """Return the closure of a function by the names of its variables.

    In a task identity, the values are the tokens of the contents.
    """
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


def attributes_held(function: FunctionType, hasher: Hasher) -> dict[str, bytes]:
    """Return the tokens of the attributes of a function, by name.

    The wrapped function counts only if the code reaches it through the attribute alone.
    """
    # A copy, as another thread may set an attribute.
    attributes = dict(vars(function))
    if not attributes:
        return {}
    left_out = {*_OF_WRAPPERS, MADE}
    if is_wrapped_closed_over(function):
        left_out.add("__wrapped__")
    kept = {name: item for name, item in attributes.items() if name not in left_out}
    return held_by_name(
        function, kept, _changed_by(function, lambda each: each is function), hasher
    )


def attributes_of_definition(definition: Any) -> dict[str, Any]:
    """Return the attributes that a program has set on a flow or task."""
    attributes = dict(vars(definition))
    return {name: attributes[name] for name in attributes.keys() - _OF_DEFINITIONS}


def definition_attributes_held(definition: Any, hasher: Hasher) -> dict[str, bytes]:
    """Return the tokens of the attributes that a program has set on a flow or task."""
    attributes = attributes_of_definition(definition)
    if not attributes:
        return {}
    fields = vars(definition)
    code = fields.get("code")

    def is_it(other: Any) -> bool:  # or a copy: bound, or with other options
        return hasattr(type(other), "is_flow") and vars(other).get("code") is code

    changed = _changed_by(fields.get("fn"), is_it)
    return held_by_name(definition, attributes, changed, hasher)


def attributes_of_cached(cached: Any, hasher: Hasher) -> dict[str, Any]:
    """Return the attributes of a function with `functools.lru_cache`, except those of the cache."""
    left_out = {*_OF_WRAPPERS, "__wrapped__", "cache_parameters"}
    kept = {name: item for name, item in dict(vars(cached)).items() if name not in left_out}
    if hasher.first_seen is None:
        return kept
    changed = _changed_by(cached.__wrapped__, lambda each: each is cached)
    return held_by_name(cached, kept, changed, hasher)


def attributes_of_partial(partial: Any, hasher: Hasher) -> dict[str, bytes]:
    """Return the tokens of the attributes of a partial, by name."""
    left_out = {*_OF_WRAPPERS, "__wrapped__"}
    kept = {name: item for name, item in dict(vars(partial)).items() if name not in left_out}
    return held_by_name(partial, kept, set(), hasher)


def held_by_name(
    owner: Any, attributes: dict[str, Any], changed: Collection[str], hasher: Hasher
) -> dict[str, bytes]:
    """Return the tokens of attributes or globals, in the order of their names.

    Args:
        owner: Their owner: an object or a namespace.
        attributes: The attributes that count.
        changed: The names of those that count as first seen.
        hasher: The hasher of the task identity.
    """
    first_seen = hasher.first_seen
    assert first_seen is not None  # noqa: S101 - always set for a task identity
    found = {}
    for name in sorted(attributes, key=str):
        token = first_seen.get(owner, name) if name in changed else None
        if token is None:
            is_changed = name in changed
            token = held(name, attributes[name], hasher, is_changed=is_changed)
            # In a cycle, the token depends on where the cycle was entered.
            if is_changed and not token.startswith(b"^"):
                token = first_seen.keep(owner, token, name)
        found[name] = token
    return found


def _changed_by(function: Any, is_owner: Callable[[Any], bool]) -> set[str]:
    """Return the attributes that a function changes on the owner, which it knows by name."""
    code = getattr(function, "__code__", None) if type(function) is FunctionType else None
    changed = changed_attributes(code) if isinstance(code, CodeType) else frozenset()
    if not changed:
        return set()
    contents = dict(_contents(function))
    names = function.__globals__
    return {
        attribute
        for variable, attribute in changed
        if is_owner(contents[variable] if variable in contents else names.get(variable))
    }


def is_wrapped_closed_over(function: FunctionType) -> bool:
    """Return True if a wrapper's closure contains the wrapped function, which then counts once."""
    wrapped = vars(function).get("__wrapped__")
    return any(content is wrapped for _, content in _contents(function))


def _contents(function: FunctionType) -> Iterable[tuple[str, Any]]:
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not yet assigned
            continue


def _first_in(name: str, cell: Any, content: Any, hasher: Hasher) -> bytes:
    """Return the first-seen token of a variable that a function itself changes."""
    first_seen = hasher.first_seen
    assert first_seen is not None  # noqa: S101 - always set for a task identity
    known = first_seen.get(cell)
    if known is not None:
        return known
    if id(content) in hasher.active:
        return held(name, content, hasher, is_changed=True)
    return first_seen.keep(cell, held(name, content, hasher, is_changed=True))
