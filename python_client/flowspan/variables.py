"""Variables: named JSON values that flows and people share, kept by the service.

Each call asks the service. In asynchronous runs, and in coroutines outside of runs, `get`, `set`
and `unset` give something to await, as Prefect's do; their twins that begin with "a" always do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from flowspan.core.async_dispatch import gives_awaitable
from flowspan.core.call_graph import is_drawn
from flowspan.exceptions import ObjectAlreadyExists, VariableAlreadyExists

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan.api.client import FlowspanClient, SyncFlowspanClient

__all__ = ["Variable"]

MAX_NAME_CHARACTERS = 255

T = TypeVar("T")

_is_name = re.compile(r"[a-z0-9_-]+").fullmatch


class Variable(Generic[T]):
    """A variable as it is after it was set.

    Attributes:
        name: Its name.
        value: Its value.
        tags: Its labels.
    """

    __slots__ = ("name", "tags", "value")

    def __init__(self, name: str, value: T, tags: list[str] | None = None) -> None:
        self.name = name
        self.value = value
        self.tags = tags or []

    def __repr__(self) -> str:
        return f"Variable(name={self.name!r}, value={self.value!r}, tags={self.tags!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Variable):
            return NotImplemented
        return (self.name, self.value, self.tags) == (other.name, other.value, other.tags)

    __hash__ = None  # type: ignore[assignment] # its value may be a list

    @classmethod
    def set(
        cls,
        name: str,
        value: T,
        tags: Sequence[str] | None = None,
        overwrite: bool = False,  # noqa: FBT001, FBT002 - Prefect's signature
        *,
        _sync: bool | None = None,
    ) -> Variable[T]:
        """Sets a variable.

        Args:
            name: Lower-case letters, digits, dashes and underscores; at most 255.
            value: A value that JSON can hold, of at most 64 KiB.
            tags: Labels.
            overwrite: Whether one that is there is replaced, with its tags.
            _sync: True gives the variable and False a coroutine, wherever it is called.

        Returns:
            The variable as it is now.

        Raises:
            VariableAlreadyExists: It is there, and is not to be replaced. A ValueError.
            ValueError, TypeError: The name cannot be one, or JSON cannot hold the value.
            ApiError: The service refuses the value, for example as too large.
            ServiceUnavailableError: The service is not reached.
        """
        if gives_awaitable(sync=_sync):
            return cls.aset(name, value, tags, overwrite)  # type: ignore[return-value] # as Prefect has it
        _check(name)
        if is_drawn():
            return cls(name, value, list(tags or ()))
        with _client() as client:
            try:
                stored = client.set_variable(name, value, tags=tags or (), overwrite=overwrite)
            except ObjectAlreadyExists as error:
                raise _exists(name, error) from None
        return cls(name, stored.value.json(), list(stored.tags))

    @classmethod
    async def aset(
        cls,
        name: str,
        value: T,
        tags: Sequence[str] | None = None,
        overwrite: bool = False,  # noqa: FBT001, FBT002 - Prefect's signature
    ) -> Variable[T]:
        """Sets a variable; see `set`."""
        _check(name)
        if is_drawn():
            return cls(name, value, list(tags or ()))
        async with _async_client() as client:
            try:
                stored = await client.set_variable(
                    name, value, tags=tags or (), overwrite=overwrite
                )
            except ObjectAlreadyExists as error:
                raise _exists(name, error) from None
        return cls(name, stored.value.json(), list(stored.tags))

    @overload
    @classmethod
    def get(cls, name: str, *, _sync: bool | None = ...) -> T | None: ...
    @overload
    @classmethod
    def get(cls, name: str, default: T, *, _sync: bool | None = ...) -> T: ...
    @classmethod
    def get(cls, name: str, default: Any = None, *, _sync: bool | None = None) -> Any:
        """The value of a variable.

        Args:
            name: Its name.
            default: What is returned if there is none of that name, or can be none.
            _sync: True gives the value and False a coroutine, wherever it is called.

        Raises:
            ServiceUnavailableError: The service is not reached.
        """
        if gives_awaitable(sync=_sync):
            return cls.aget(name, default)
        if not _can_be(name):
            return default
        with _client() as client:
            stored = client.read_variable_by_name(name)
        return default if stored is None else stored.value.json()

    @overload
    @classmethod
    async def aget(cls, name: str) -> T | None: ...
    @overload
    @classmethod
    async def aget(cls, name: str, default: T) -> T: ...
    @classmethod
    async def aget(cls, name: str, default: Any = None) -> Any:
        """The value of a variable; see `get`."""
        if not _can_be(name):
            return default
        async with _async_client() as client:
            stored = await client.read_variable_by_name(name)
        return default if stored is None else stored.value.json()

    @classmethod
    def unset(cls, name: str, *, _sync: bool | None = None) -> bool:
        """Deletes a variable.

        Returns:
            Whether there was one of that name.

        Raises:
            ServiceUnavailableError: The service is not reached.
        """
        if gives_awaitable(sync=_sync):
            return cls.aunset(name)  # type: ignore[return-value] # as Prefect has it
        if is_drawn() or not _can_be(name):
            return False
        with _client() as client:
            return client.delete_variable_by_name(name)

    @classmethod
    async def aunset(cls, name: str) -> bool:
        """Deletes a variable; see `unset`."""
        if is_drawn() or not _can_be(name):
            return False
        async with _async_client() as client:
            return await client.delete_variable_by_name(name)


def _can_be(name: object) -> bool:
    """Return True if a variable may have this name."""
    return isinstance(name, str) and _is_name(name) is not None and len(name) <= MAX_NAME_CHARACTERS


def _check(name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a variable must be text, not {name!r}")
    if not _can_be(name):
        msg = (
            f"{name[:80]!r} cannot be the name of a variable: it is to have lower-case letters, "
            f"digits, dashes and underscores only, and at most {MAX_NAME_CHARACTERS} of them"
        )
        raise ValueError(msg)


def _exists(name: str, error: ObjectAlreadyExists) -> VariableAlreadyExists:
    return VariableAlreadyExists(
        f"the variable {name!r} already exists; overwrite=True replaces it",
        status=error.status,
        reason=error.reason,
        advice=error.advice,
    )


def _client() -> SyncFlowspanClient:
    # gRPC takes long to import, and `from flowspan.variables import Variable` is to stay light.
    from flowspan.api.client import SyncFlowspanClient  # noqa: PLC0415 - measured, see above

    return SyncFlowspanClient()


def _async_client() -> FlowspanClient:
    from flowspan.api.client import FlowspanClient  # noqa: PLC0415 - as in _client

    return FlowspanClient()
