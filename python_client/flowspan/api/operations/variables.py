"""What can be asked about variables."""

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
    """Sets a variable.

    Args:
        name: Lower-case letters, digits, dashes and underscores; at most 255.
        value: A value that JSON can hold, of at most 64 KiB.
        tags: Labels.
        overwrite: Whether one that is there is replaced, with its tags.

    Returns:
        The variable as stored.

    Raises:
        TypeError, ValueError: JSON cannot hold the value.
        ObjectAlreadyExists: It is there, and is not to be replaced.
        ApiError: INVALID_ARGUMENT, the name or the value may not be as it is.
    """
    request = pb.SetVariableRequest(overwrite=overwrite)
    request.variable.name = name
    request.variable.value.encoding, request.variable.value.data = "json", encode_value(value)
    request.variable.tags.extend(map(encodable, tags))
    answer = yield from call(f"{_SERVICE}/SetVariable", request, pb.SetVariableResponse)
    return convert.variable(answer.variable)


def read_variable_by_name(name: str) -> Answer[models.Variable | None]:
    """One variable; None if there is none of that name."""
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
    """Variables, by name.

    Args:
        name_prefix: What the names begin with.
        tags: Labels; all of them are to be met.
        limit: How many at most; None is all of them.
        page_size: How many are fetched at a time, 1 to 1000; 0 leaves it to the service.
    """
    yield from pages(
        f"{_SERVICE}/ListVariables",
        pb.ListVariablesRequest(name_prefix=name_prefix, tags=tags, page_size=page_size),
        pb.ListVariablesResponse,
        lambda page: map(convert.variable, page.variables),
        limit=limit,
    )


def delete_variable_by_name(name: str) -> Answer[bool]:
    """Deletes a variable.

    Returns:
        Whether there was one of that name.
    """
    request = pb.DeleteVariableRequest(name=name)
    answer = yield from call(f"{_SERVICE}/DeleteVariable", request, pb.DeleteVariableResponse)
    return bool(answer.deleted)
