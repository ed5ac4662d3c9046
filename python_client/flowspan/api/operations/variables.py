"""Operations on variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.api import convert, models
from flowspan.api.requests import call, pages
from flowspan.core.values.inspection import encodable
from flowspan.core.values.payloads import encode_value
from flowspan.exceptions import ObjectNotFound
from flowspan.v1 import variable_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan.api.requests import Answer, Items

_SERVICE = "VariableService"


def set_variable(
    name: str, value: Any, *, tags: Iterable[str] = (), overwrite: bool = False
) -> Answer[models.Variable]:
    """Set a variable.

    Args:
        name: Lower-case letters, digits, dashes and underscores; at most 255 characters.
        value: A JSON-serializable value of at most 64 KiB.
        tags: Words for people and filters.
        overwrite: True to replace an existing variable, including its tags.

    Returns:
        The variable as stored.

    Raises:
        TypeError, ValueError: The value is not JSON-serializable.
        ObjectAlreadyExists: The variable exists and `overwrite` is False.
        ApiError: INVALID_ARGUMENT, the name or the value is invalid.
    """
    request = pb.SetVariableRequest(overwrite=overwrite)
    request.variable.name = name
    request.variable.value.encoding, request.variable.value.data = "json", encode_value(value)
    request.variable.tags.extend(map(encodable, tags))
    answer = yield from call(f"{_SERVICE}/SetVariable", request, pb.SetVariableResponse)
    return convert.variable(answer.variable)


def read_variable_by_name(name: str) -> Answer[models.Variable | None]:
    """Return a variable; None if there is no variable of that name."""
    request = pb.GetVariableRequest(name=name)
    try:
        answer = yield from call(f"{_SERVICE}/GetVariable", request, pb.GetVariableResponse)
    except ObjectNotFound:
        return None
    return convert.variable(answer.variable)


def read_variables(
    *,
    name_prefix: str = "",
    tags: Iterable[str] = (),
    limit: int | None = None,
    page_size: int = 0,
) -> Items[models.Variable]:
    """Iterate over variables in order of name.

    Args:
        name_prefix: The prefix of the names to include.
        tags: The tags that a variable must have, all of them.
        limit: The maximum number of variables; None for all.
        page_size: The number fetched at a time, 1 to 1000; 0 for the service's default.
    """
    yield from pages(
        f"{_SERVICE}/ListVariables",
        pb.ListVariablesRequest(name_prefix=name_prefix, tags=tags, page_size=page_size),
        pb.ListVariablesResponse,
        lambda page: map(convert.variable, page.variables),
        limit=limit,
    )


def delete_variable_by_name(name: str) -> Answer[bool]:
    """Delete a variable.

    Returns:
        True if it existed.
    """
    request = pb.DeleteVariableRequest(name=name)
    answer = yield from call(f"{_SERVICE}/DeleteVariable", request, pb.DeleteVariableResponse)
    return bool(answer.deleted)
