"""Identity of a task in keys, so that no two tasks find each other's results.

That is its name, and its function: by module and name where it can be found by these, else by its
code, its defaults and what it closes over. A method has its object, or its class, besides. See
`docs/decisions/keys.md`.
"""

from __future__ import annotations

import functools
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from flowspan.core.hash_functions import defaults_held, held, held_owner, own_globals
from flowspan.core.hash_parts import Form
from flowspan.core.hashing import Hasher
from flowspan.core.names import (
    is_found_by_name,
    is_of_any_program,
    module_name,
    static_attribute,
)
from flowspan.core.portable import MADE

if TYPE_CHECKING:
    from collections.abc import Collection

    from flowspan.core.definitions import Definition
    from flowspan.core.first_seen import FirstSeen


def identity_of(
    definition: Definition, first_seen: FirstSeen | None = None, without: Collection[str] = ()
) -> str:
    """Return what stands for a task in keys.

    Args:
        definition: The task.
        first_seen: What its function changes itself, as it was at first; by default as in this
            process.
        without: Names of parameters whose defaults are left out; "self" leaves out the object of a
            method.
    """
    code, fn, name = definition.code, definition.fn, definition.name
    fixed = code.fixed
    if fixed is not None and fixed[0] is fn and fixed[1] == name:
        return fixed[2]
    hasher = Hasher(code.first_seen if first_seen is None else first_seen)
    identity = hasher.hash(Form(["task", name, *_parts_of(fn, hasher, without)]))
    is_fixed = type(fn) is FunctionType and not (
        fn.__closure__ or fn.__defaults__ or fn.__kwdefaults__ or own_globals(fn)
    )
    if is_fixed:
        code.fixed = fn, name, identity
    return identity


def _parts_of(fn: Any, hasher: Hasher, without: Collection[str]) -> list[Any]:
    if isinstance(fn, (classmethod, staticmethod)):
        return [type(fn).__name__, *_parts_of(fn.__func__, hasher, without)]
    if type(fn) is MethodType:
        owner: Any = fn.__self__
        if isinstance(owner, type):
            return ["method", owner, *_parts_of(fn.__func__, hasher, without)]
        token = b"" if "self" in without else held_owner(fn.__func__, owner, hasher)
        return ["method", token, *_parts_of(fn.__func__, hasher, without)]
    if type(fn) is functools.partial:
        given: dict[Any, Any] = {**dict(enumerate(fn.args)), **fn.keywords}
        kept = [
            (name, held(str(name), item, hasher, is_changed=False))
            for name, item in given.items()
            if name not in without
        ]
        return ["partial", kept, *_parts_of(fn.func, hasher, without)]
    if type(fn) is FunctionType:
        made_of = vars(fn).get(MADE)
        if made_of is not None:
            return ["made", *_parts_of(made_of[1], hasher, without)]
        return _parts_of_function(fn, hasher, without)
    method = static_attribute(type(fn), "__call__")
    if type(method) is FunctionType and not isinstance(fn, type):
        return ["object", held_owner(method, fn, hasher)]
    return [type(fn).__name__, held("fn", fn, hasher, is_changed=False)]


def _parts_of_function(fn: FunctionType, hasher: Hasher, without: Collection[str]) -> list[Any]:
    module, qualname = fn.__module__, fn.__qualname__
    if is_found_by_name(fn, module, qualname) and not is_of_any_program(module):
        return ["function", module_name(module), qualname]
    if not without:
        return ["function", fn]
    copied = FunctionType(fn.__code__, fn.__globals__, fn.__name__, None, fn.__closure__)
    copied.__module__, copied.__qualname__ = module, qualname
    return ["function", defaults_held(fn, hasher, without), copied]
