"""Variables: named JSON values shared by flows and users, stored by the service.

Each call is a request to the service. In asynchronous runs, and in coroutines outside runs,
`get`, `set` and `unset` return awaitables, as in Prefect. Their counterparts with the prefix
"a" always do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from flowspan.core.async_dispatch import gives_awaitable
from flowspan.core.call_graph import is_drawn
from flowspan.core.limits import MAX_VARIABLE_NAME
from flowspan.exceptions import ObjectAlreadyExists, VariableAlreadyExists

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan.api.client import FlowspanClient, SyncFlowspanClient

__all__ = ["Variable"]

T = TypeVar("T")

_is_name = re.compile(r"[a-z0-9_-]+").fullmatch


class Variable(Generic[T]):
    """A variable as stored.

    Attributes:
        name: The name.
        value: The value.
        tags: Words for people and filters.
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

    __hash__ = None  # type: ignore[assignment] # the value may be a list

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
        """Set a variable.

        Args:
            name: Lower-case letters, digits, dashes and underscores; at most 255 characters.
            value: A JSON-serializable value of at most 64 KiB.
            tags: Words for people and filters.
            overwrite: True to replace an existing variable, including its tags.
            _sync: True to return the variable, False to return a coroutine, independent of the
                context.

        Returns:
            The variable as stored.

        Raises:
            VariableAlreadyExists: The variable exists and `overwrite` is False. It is a
                ValueError.
            ValueError, TypeError: The name is invalid, or the value is not JSON-serializable.
            ApiError: The service refuses the value, for example because it is too large.
            ServiceUnavailableError: The service is unreachable.
        """
        if gives_awaitable(sync=_sync):
            return cls.aset(name, value, tags, overwrite)  # type: ignore[return-value] # as in Prefect
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
        """Set a variable; see `set`."""
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
        """Return the value of a variable.

        Args:
            name: The name.
            default: The value to return if there is no such variable or the name is invalid.
            _sync: True to return the value, False to return a coroutine, independent of the
                context.

        Raises:
            ServiceUnavailableError: The service is unreachable.
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
        """Return the value of a variable; see `get`."""
        if not _can_be(name):
            return default
        async with _async_client() as client:
            stored = await client.read_variable_by_name(name)
        return default if stored is None else stored.value.json()

    @classmethod
    def unset(cls, name: str, *, _sync: bool | None = None) -> bool:
        """Delete a variable.

        Args:
            name: The name.
            _sync: True to return the result, False to return a coroutine, independent of the
                context.

        Returns:
            True if it existed.

        Raises:
            ServiceUnavailableError: The service is unreachable.
        """
        if gives_awaitable(sync=_sync):
            return cls.aunset(name)  # type: ignore[return-value] # as in Prefect
        if is_drawn() or not _can_be(name):
            return False
        with _client() as client:
            return client.delete_variable_by_name(name)

    @classmethod
    async def aunset(cls, name: str) -> bool:
        """Delete a variable; see `unset`."""
        if is_drawn() or not _can_be(name):
            return False
        async with _async_client() as client:
            return await client.delete_variable_by_name(name)


def _can_be(name: object) -> bool:
    """Return True if the name is valid for a variable."""
    return isinstance(name, str) and _is_name(name) is not None and len(name) <= MAX_VARIABLE_NAME


def _check(name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a variable must be a string, not {name!r}")
    if not _can_be(name):
        msg = (
            f"{name[:80]!r} is not a valid variable name. Use only lower-case letters, "
            f"digits, dashes and underscores, and at most {MAX_VARIABLE_NAME} characters"
        )
        raise ValueError(msg)


def _exists(name: str, error: ObjectAlreadyExists) -> VariableAlreadyExists:
    return VariableAlreadyExists(
        f"the variable {name!r} already exists. Pass overwrite=True to replace it",
        status=error.status,
        reason=error.reason,
        advice=error.advice,
    )


def _client() -> SyncFlowspanClient:
    # gRPC is slow to import; keep `from flowspan.variables import Variable` fast.
    from flowspan.api.client import SyncFlowspanClient  # noqa: PLC0415 - measured, see above

    return SyncFlowspanClient()


def _async_client() -> FlowspanClient:
    from flowspan.api.client import FlowspanClient  # noqa: PLC0415 - as in _client

    return FlowspanClient()
