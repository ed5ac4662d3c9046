"""Task identity in cache keys, so that no task finds the results of another one.

The identity is the task's name and its function: module and name if it can be imported, else its
code, its defaults and its closure. A method also has its object or class. See
`docs/decisions/keys.md`.
"""

from __future__ import annotations

import functools
from types import BuiltinFunctionType, FunctionType, MethodType, MethodWrapperType
from typing import TYPE_CHECKING, Any

from flowspan.core.keys.function_state import (
    attributes_of_definition,
    attributes_of_partial,
    definition_attributes_held,
    held,
    held_owner,
)
from flowspan.core.keys.functions import form_of_function
from flowspan.core.keys.hashing import Hasher
from flowspan.core.keys.parts import Form
from flowspan.core.keys.qualified_names import (
    has_own_namespace,
    is_found_by_name,
    is_of_any_program,
    module_name,
    static_attribute,
)
from flowspan.core.pickling import MADE
from flowspan.core.values.inspection import is_instance
from flowspan.exceptions import HashError

if TYPE_CHECKING:
    from collections.abc import Collection

    from flowspan.core.definition import Definition
    from flowspan.core.keys.closure_variables import FirstSeen


def identity_of(
    definition: Definition,
    first_seen: FirstSeen | None = None,
    without: Collection[str] = (),
    *,
    owner_is_input: bool = False,
) -> str:
    """Return the identity of a task for cache keys.

    Args:
        definition: The task.
        first_seen: The first-seen tokens of state that its function changes; those of this process
            by default.
        without: Parameters whose defaults are left out; "self" leaves out the objects of methods.
        owner_is_input: Leave out the object that the task's method is bound to, because the inputs
            contain it. Objects of inner methods, as in a partial, are not inputs.
    """
    code, name = definition.code, definition.name
    fn: Any = definition.fn
    fixed = code.fixed
    is_known = fixed is not None and fixed[0] is fn and fixed[1] == name
    if fixed is not None and is_known and (fixed[3] or _is_bare(definition)):
        return fixed[2]
    hasher = Hasher(code.first_seen if first_seen is None else first_seen)
    is_by_name = type(fn) is FunctionType and MADE not in vars(fn) and _goes_by_name(fn, code.named)
    if is_by_name:
        parts = ["task", name, *_name_of(fn)]
    else:
        parts = ["task", name, *_parts_of(fn, hasher, without, owner_is_input=owner_is_input)]
        parts += definition_attributes_held(definition, hasher).items()
    identity = hasher.hash(Form(parts))
    is_plain = type(fn) is FunctionType and not fn.__closure__ and _is_bare(definition)
    if is_plain and (is_by_name or not has_own_namespace(fn)):
        code.fixed = fn, name, identity, is_by_name
    return identity


def owner_of(fn: Any) -> Any:
    """Return the object that a method is bound to, without running its code; else None."""
    if type(fn) in _BOUND:
        return fn.__self__
    # A `functools.partialmethod` stores it in this attribute.
    return vars(fn).get("__self__") if type(fn) is functools.partial else None


def is_owner_of(owner: Any, fn: Any) -> bool:
    """Return True if a bound method is bound to this very object."""
    return type(fn) is MethodType and fn.__self__ is owner


_BOUND = frozenset({MethodType, BuiltinFunctionType, MethodWrapperType})


def _is_bare(definition: Definition) -> bool:
    """Return True for a plain function without defaults or attributes, also on its task."""
    fn: Any = definition.fn
    return not (
        fn.__defaults__ or fn.__kwdefaults__ or vars(fn) or attributes_of_definition(definition)
    )


def _goes_by_name(fn: FunctionType, named: Any = None) -> bool:
    module, qualname = fn.__module__, fn.__qualname__
    is_found = fn is named or is_found_by_name(fn, module, qualname)
    return is_found and not is_of_any_program(module)


def _parts_of(
    fn: Any, hasher: Hasher, without: Collection[str], *, owner_is_input: bool = False
) -> list[Any]:
    if issubclass(type(fn), (classmethod, staticmethod)):
        return [type(fn).__name__, *_parts_of(fn.__func__, hasher, without)]
    if type(fn) is MethodType:
        owner: Any = fn.__self__
        if is_instance(owner, type):
            return ["method", owner, *_parts_of(fn.__func__, hasher, without)]
        is_left_out = owner_is_input or "self" in without
        token = b"" if is_left_out else held_owner(fn.__func__, owner, hasher)
        return ["method", token, *_parts_of(fn.__func__, hasher, without)]
    if type(fn) is functools.partial:
        given: dict[Any, Any] = {**dict(enumerate(fn.args)), **fn.keywords}
        kept = [
            (name, held(str(name), item, hasher, is_changed=False))
            for name, item in given.items()
            if name not in without
        ]
        attributes = attributes_of_partial(fn, hasher)
        kind = ["partial", kept, attributes] if attributes else ["partial", kept]
        return [*kind, *_parts_of(fn.func, hasher, without)]
    if type(fn) is FunctionType:
        made_of = vars(fn).get(MADE)
        if made_of is not None:
            return ["made", *_parts_of(made_of[1], hasher, without)]
        return _parts_of_function(fn, hasher, without)
    method = static_attribute(type(fn), "__call__")
    if type(method) is FunctionType and not is_instance(fn, type):
        return ["object", held_owner(method, fn, hasher)]
    return [type(fn).__name__, held("fn", fn, hasher, is_changed=False)]


def _name_of(fn: Any) -> list[Any]:
    return ["function", module_name(fn.__module__), fn.__qualname__]


def _parts_of_function(fn: FunctionType, hasher: Hasher, without: Collection[str]) -> list[Any]:
    if _goes_by_name(fn):
        return _name_of(fn)
    first_seen = hasher.first_seen
    assert first_seen is not None  # noqa: S101 - always set for a task identity
    known = first_seen.get(fn, _AS_A_WHOLE)
    if known is not None:
        return ["function", known]
    inner = hasher.inside(fn)
    try:
        return ["function", inner.hash(form_of_function(fn, inner, without))]
    except HashError as error:
        if not inner.is_spent:
            raise
        return ["function", first_seen.name_locally(fn.__name__, fn, str(error), _AS_A_WHOLE)]


_AS_A_WHOLE = " as a whole"
"""Not an attribute: the key of a function whose captured state is too large to hash."""
