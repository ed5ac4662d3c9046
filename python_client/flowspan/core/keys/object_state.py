"""The state of objects for hashing: what pickle would keep of them, and what it would miss."""

from __future__ import annotations

import copyreg
import functools
import io
import sys
from contextlib import suppress
from types import FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

from flowspan.core.failures import summary
from flowspan.core.keys.qualified_names import static_attribute
from flowspan.core.values.inspection import declared_fields
from flowspan.exceptions import HashError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_HEAP_TYPE = 1 << 9
"""The flag of types that a `class` statement created."""
_REDUCERS = ("__reduce_ex__", "__reduce__", "__getstate__")
_DICTIONARY_LAST = (functools.partial, io.BytesIO, io.StringIO)
"""Types whose state ends with their `__dict__`: None until it is first read, empty afterwards."""
_PYDANTIC_STATE = ("__pydantic_extra__", "__pydantic_private__", "__pydantic_fields_set__")


class Traits:
    """Cached facts about a type whose instances are hashed.

    Attributes:
        cached: The attributes that only cache computed values.
        getstate: The library that generated an incomplete `__getstate__`: "pydantic", "fields"
            (dataclasses and attrs), or "" otherwise.
        unknown_in: The classes whose state the type's own pickling misses; None if it is complete.
        stands_for_anything: True for mocks.
        dumps: The dump function of a pydantic model that customizes serialization; else None.
        is_dataclass: True for dataclasses.
        is_definition: True for flows and tasks.
        is_generic: True if Python's default pickling makes the state.
        is_lazy: True for exceptions and numpy's masked arrays: their pickled state depends on
            whether some attribute has been read before.
    """

    __slots__ = (
        "cached",
        "dumps",
        "getstate",
        "is_dataclass",
        "is_definition",
        "is_generic",
        "is_lazy",
        "stands_for_anything",
        "unknown_in",
    )

    def __init__(self, kind: type) -> None:
        mro = kind.__mro__
        self.cached = {
            name
            for each in mro
            for name, found in vars(each).items()
            if type(found).__name__ == "cached_property"
        }
        if static_attribute(kind, "__attrs_attrs__"):
            self.cached.add("_attrs_cached_hash")
            self.cached |= _cached_in_slots(mro)
        self.dumps = _own_dump(kind)
        self.getstate = _maker_of_getstate(kind)
        self.unknown_in = _not_known_by_reducer(mro)
        self.is_dataclass = static_attribute(kind, "__dataclass_fields__") is not None
        # The shape of a default state only says where attributes are stored.
        self.is_generic = not any(
            isinstance(static_attribute(kind, name), FunctionType) for name in _REDUCERS
        )
        self.is_lazy = any(
            each is BaseException or (each.__name__ == "MaskedArray" and _is_of_numpy(each))
            for each in mro
        )
        self.is_definition = isinstance(static_attribute(kind, "is_flow"), bool)
        self.stands_for_anything = any(each.__module__ == "unittest.mock" for each in mro)


def reduced(value: Any, kind: Any, traits: Traits) -> str | tuple[Any, ...]:
    """Return the pickled form of an object: a name, or its constructor and its state.

    Raises:
        HashError: It cannot be pickled.
    """
    if kind.__module__ == "itertools":  # picklable up to Python 3.13 only, with a warning
        raise HashError(f"an iterator of type itertools.{kind.__qualname__} cannot be hashed")
    reductor = copyreg.dispatch_table.get(kind)
    try:
        if traits.is_lazy:
            _settle(value)
        # Read from the class, as an object with `__getattr__` might make this attribute up.
        found = reductor(value) if reductor is not None else kind.__reduce_ex__(value, 4)
    except Exception as error:
        raise HashError(
            f"a value of type {kind.__module__}.{kind.__qualname__} cannot be hashed, since it "
            f"cannot be pickled ({summary(error)})"
        ) from error
    if not isinstance(found, tuple):
        return str(found)
    if len(found) > 2 and found[2] is not None:
        found = (*found[:2], _plain_state(found[2], kind, traits), *found[3:])
    return found


def _settle(value: Any) -> None:
    """Force the lazy state of an object, so that its pickle does not depend on earlier reads."""
    if issubclass(type(value), BaseException):
        # Its pickle distinguishes an empty `__dict__` from one that was not created yet.
        object.__getattribute__(value, "__dict__")
    else:
        with suppress(AttributeError):  # np.ma.masked is a constant
            value.fill_value  # noqa: B018 - reading it stores the default


def _plain_state(state: Any, kind: type, traits: Traits) -> Any:
    """Return a state without the parts that depend on earlier reads or on the origin of the class.

    A class that was pickled by value is rebuilt without its slots: their values are then in the
    `__dict__`.
    """
    if type(state) is tuple and issubclass(kind, _DICTIONARY_LAST):
        return (*state[:-1], state[-1] or None)
    if traits.is_generic and type(state) is tuple and len(state) == 2:
        attributes, slots = state
        if (attributes is None or type(attributes) is dict) and type(slots) is dict:
            state = _united(attributes or {}, slots)
    if type(state) is not dict:
        return state
    if traits.cached:
        state = _without(traits.cached, state)
    return None if traits.is_generic and not state else state


def _united(attributes: dict[str, Any], slots: dict[str, Any]) -> Any:
    """Merge the `__dict__` and the slots of an object; return both if they conflict.

    A class rebuilt without its slots still declares them, so an attribute may be in both.
    """
    if any(attributes[name] is not slots[name] for name in attributes.keys() & slots.keys()):
        return attributes, slots
    return {**attributes, **slots}


def generated_state(value: Any, kind: type, traits: Traits) -> dict[str, Any] | None:
    """Return the complete state of an object whose pickled state would be incomplete.

    This is the case if `__getstate__` was generated by pydantic, dataclasses or attrs: it misses
    the attributes that a subclass adds.

    Args:
        value: The object.
        kind: Its type.
        traits: The traits of its type.
    """
    if not traits.getstate:
        return None
    state = raw_state(value, kind.__mro__, traits)
    if traits.getstate == "pydantic":
        for name in _PYDANTIC_STATE:
            state[name] = getattr(value, name, None)
    return state


def unknown_state(value: Any, traits: Traits) -> dict[str, Any] | None:
    """Return the state of an object that its own pickling misses."""
    found = {} if traits.unknown_in is None else raw_state(value, traits.unknown_in, traits)
    if isinstance(value, BaseException) and value.__cause__ is not None:
        found["__cause__"] = value.__cause__
    return found or None


def raw_state(value: Any, classes: Iterable[type], traits: Traits) -> dict[str, Any]:
    """Return the attributes of an object: from its `__dict__` and from the slots of classes."""
    try:
        found = _without(traits.cached, object.__getattribute__(value, "__dict__"))
    except (AttributeError, TypeError):
        found = {}
    for each in classes:
        if "__slots__" not in vars(each):
            continue
        for name, slot in vars(each).items():
            if type(slot) is not MemberDescriptorType or name.startswith("__pydantic"):
                continue
            try:
                item = slot.__get__(value)
            except AttributeError:  # not set
                continue
            if name not in traits.cached:
                # By name alone, as in a `__dict__`, unless the name is already taken.
                found[f"{each.__qualname__}.{name}" if name in found else name] = item
    return found


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, including those that only the class stores."""
    names = declared_fields(type(value)) or ()
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def dumped(value: Any, traits: Traits) -> tuple[Any] | None:
    """Return the dump of a pydantic model with custom serialization, in a tuple; None if none."""
    if traits.dumps is None:
        return None
    try:
        return (traits.dumps(value, mode="json"),)
    except Exception:  # noqa: BLE001 - user code; the model is then decomposed like any object
        return None


def _own_dump(kind: Any) -> Callable[..., Any] | None:
    """Return the dump function of a pydantic class that customizes serialization; else None.

    Customizations are serializers of the model or of fields, excluded fields, and an overridden
    `model_dump`.
    """
    decorators = static_attribute(kind, "__pydantic_decorators__")
    serializer = static_attribute(kind, "__pydantic_serializer__")
    if decorators is None or not hasattr(serializer, "to_python"):
        return None
    dump: Any = static_attribute(kind, "model_dump")
    if isinstance(dump, FunctionType) and dump.__module__ != "pydantic.main":
        return dump
    fields = static_attribute(kind, "__pydantic_fields__") or {}
    if (
        decorators.model_serializers
        or decorators.field_serializers
        or any(field.exclude or _is_serialized(field.metadata) for field in fields.values())
    ):
        to_python: Callable[..., Any] = serializer.to_python
        return to_python
    return None


def _is_serialized(metadata: Iterable[Any]) -> bool:
    return any(type(each).__name__ in {"PlainSerializer", "WrapSerializer"} for each in metadata)


def _is_of_numpy(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "numpy"


def _cached_in_slots(mro: tuple[type, ...]) -> set[str]:
    """Return the slots in which attrs classes cache their computed properties."""
    return {
        name
        for each in mro
        if "__attrs_attrs__" in vars(each)
        for name in {
            name for name, slot in vars(each).items() if type(slot) is MemberDescriptorType
        }.difference(field.name for field in vars(each)["__attrs_attrs__"])
    }


def _without(cached: set[str], state: dict[str, Any]) -> dict[str, Any]:
    if cached.isdisjoint(state):
        return dict(state)
    return {name: item for name, item in state.items() if name not in cached}


def _maker_of_getstate(kind: type) -> str:
    getstate: Any = static_attribute(kind, "__getstate__")
    if not isinstance(getstate, FunctionType):
        return ""
    if (
        static_attribute(kind, "__pydantic_fields__") is not None
        and getstate.__module__ == "pydantic.main"
    ):
        return "pydantic"
    is_made = getstate.__module__ == "dataclasses" or getstate.__code__.co_name == "slots_getstate"
    return "fields" if is_made else ""


def _not_known_by_reducer(mro: tuple[type, ...]) -> tuple[type, ...] | None:
    """Return the subclasses of the class that implements pickling, if it ignores their state.

    Built-in types and types written in C pickle what they know (a date: year, month and day) and
    miss everything that a subclass adds.
    """
    for index, each in enumerate(mro):
        names = [name for name in _REDUCERS if name in vars(each)]
        if each is object:
            return None
        if not names and each.__flags__ & _HEAP_TYPE:
            continue
        if names and isinstance(vars(each)[names[0]], FunctionType):
            root = each.__module__.partition(".")[0]
            if root not in sys.stdlib_module_names:
                return None
        return mro[:index] or None
    return None
