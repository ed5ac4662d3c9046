"""Options of flows and tasks as readable and assignable attributes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MUTATORS = (
    "add",
    "clear",
    "difference_update",
    "discard",
    "intersection_update",
    "pop",
    "remove",
    "symmetric_difference_update",
    "update",
    "__iand__",
    "__ior__",
    "__isub__",
    "__ixor__",
)


class OptionValue:
    """A descriptor that reads and assigns an option.

    Calls of the flow or task pay nothing for it: the engine reads values that are derived from the
    options when they are given, and again on assignment.

    Args:
        option: The option; the attribute's name by default.
        read: Returns the value for a flow or task; the option as given by default.
    """

    def __init__(self, option: str = "", read: Callable[[Any], Any] | None = None) -> None:
        self._option = option
        self._read = read

    def __set_name__(self, _owner: type, name: str) -> None:
        self._option = self._option or name

    def __get__(self, definition: Any, _owner: type | None = None) -> Any:
        if definition is None:
            return self
        if self._read is not None:
            return self._read(definition)
        return definition.options[self._option]

    def __set__(self, definition: Any, value: Any) -> None:
        definition.set_option(self._option, value)


class Tags(set[str]):
    """The tags of a task. A change applies to its next runs.

    Args:
        tags: The tags.
        changed: Called with this set after each change.
    """

    def __init__(self, tags: Iterable[str], changed: Callable[[Iterable[str]], object]) -> None:
        super().__init__(tags)
        self._changed = changed

    def __reduce__(self) -> tuple[Any, ...]:
        return set, (list(self),)

    def __repr__(self) -> str:
        return repr(set(self))


def _noticed(name: str) -> Callable[..., Any]:
    method = getattr(set, name)

    @functools.wraps(method)
    def noticed(self: Any, *args: Any) -> Any:
        result = method(self, *args)
        self._changed(self)
        return result

    return noticed


for _name in _MUTATORS:
    setattr(Tags, _name, _noticed(_name))
