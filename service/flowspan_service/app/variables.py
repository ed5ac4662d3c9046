"""Variables: set, read, delete."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowspan_service.domain.errors import AlreadyExistsError, NotFoundError
from flowspan_service.domain.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports import Store, UnitOfWork
    from flowspan_service.domain.payloads import Payload


@dataclass(slots=True)
class VariableSet:
    """The outcome of setting a variable."""

    variable: Variable
    is_new: bool


class SetVariable:
    """Set a new variable, or overwrite one."""

    __slots__ = ("name", "overwrite", "run_ids", "tags", "value", "weight")

    def __init__(
        self, name: str, value: Payload, *, tags: tuple[str, ...] = (), overwrite: bool = False
    ) -> None:
        """Initialize the operation.

        Args:
            name: The name of the variable.
            value: The value.
            tags: Words for people and filters.
            overwrite: True to replace an existing variable.
        """
        self.name = name
        self.value = value
        self.tags = tags
        self.overwrite = overwrite
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> VariableSet:
        """Set the variable.

        Raises:
            AlreadyExistsError: The variable exists, and `overwrite` is False.
        """
        known = uow.variables.get(self.name)
        if known is None:
            new = Variable(self.name, self.value, self.tags, uow.now_us, uow.now_us)
            uow.variables.put(new)
            return VariableSet(new, is_new=True)
        if not self.overwrite:
            raise AlreadyExistsError(
                f"A variable {self.name!r} already exists.",
                advice="Set overwrite to replace it, or choose another name.",
                name=self.name,
            )
        changed = replace(known, value=self.value, tags=self.tags, updated_us=uow.now_us)
        uow.variables.put(changed)
        return VariableSet(changed, is_new=False)


class DeleteVariable:
    """Delete a variable; return True if there was one."""

    __slots__ = ("name", "run_ids", "weight")

    def __init__(self, name: str) -> None:
        self.name = name
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> bool:
        """Delete the variable."""
        return uow.variables.delete(self.name)


def get_variable(store: Store, name: str) -> Variable:
    """Return a variable.

    Raises:
        NotFoundError: There is no variable of that name.
    """
    variable = store.variables.get(name)
    if variable is None:
        raise NotFoundError(f"There is no variable {name!r}.", name=name)
    return variable
