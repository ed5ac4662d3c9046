"""Variables: VariableService, and the checks and conversion of variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowspan.v1 import variable_pb2
from flowspan.v1 import variable_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import (
    Checks,
    all_of,
    check_tags,
    check_text,
    invalid,
    shown,
    with_message,
    with_page,
)
from flowspan_service.api.fields.paging import Paging
from flowspan_service.api.fields.payloads import check_payload, payload_message, payload_of
from flowspan_service.api.fields.values import timestamp
from flowspan_service.app.ports.variables import VariableQuery
from flowspan_service.app.variables import DeleteVariable, SetVariable, get_variable

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call
    from flowspan_service.domain.variables import Variable

# ruff: noqa: N802 - methods are named as in the protos

_is_name = re.compile(r"[a-z0-9_-]*").fullmatch


class VariableService:
    """The servicer of VariableService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def SetVariable(self, request: pb.SetVariableRequest, _: Call) -> pb.SetVariableResponse:
        """Set a variable."""
        wire = request.variable
        done = await self._backend.write(
            SetVariable(
                wire.name,
                payload_of(wire.value),
                tags=tuple(wire.tags),
                overwrite=request.overwrite,
            )
        )
        return pb.SetVariableResponse(variable=variable_message(done.variable), created=done.is_new)

    async def GetVariable(self, request: pb.GetVariableRequest, _: Call) -> pb.GetVariableResponse:
        """Return one variable."""
        found = await self._backend.read(get_variable, self._backend.store, request.name)
        return pb.GetVariableResponse(variable=variable_message(found))

    async def ListVariables(
        self, request: pb.ListVariablesRequest, _: Call
    ) -> pb.ListVariablesResponse:
        """Return a page of variables, by name."""
        selection = "\0".join((request.name_prefix, *sorted(request.tags)))
        paging = Paging(self._backend.page_tokens, request, b"variables\0" + selection.encode())
        page = await self._backend.read(
            self._backend.store.variables.list,
            VariableQuery(
                name_prefix=request.name_prefix,
                tags=tuple(request.tags),
                after_name=paging.after(),
                limit=paging.limit,
                limit_bytes=limits.PAGE_MESSAGE,
            ),
        )
        return pb.ListVariablesResponse(
            variables=[variable_message(each) for each in page.items],
            next_page_token=paging.token_after(page, lambda each: each.name),
        )

    async def DeleteVariable(
        self, request: pb.DeleteVariableRequest, _: Call
    ) -> pb.DeleteVariableResponse:
        """Delete a variable."""
        deleted = await self._backend.write(DeleteVariable(request.name))
        return pb.DeleteVariableResponse(deleted=deleted)


def check_variable_name(name: str, field: str) -> None:
    """Check the name of a variable, a prefix of one, or an empty string."""
    check_text(name, field, limits.VARIABLE_NAME)
    if not _is_name(name):
        raise invalid(
            field,
            f"{shown(name)} contains characters other than lower-case letters, digits, dashes and"
            " underscores",
        )


def _check_required_name(name: str, field: str) -> None:
    if not name:
        raise invalid(field, "is required")
    check_variable_name(name, field)


def _by_name(request: Any) -> None:
    _check_required_name(request.name, "name")


def _check_variable(variable: variable_pb2.Variable, field: str) -> None:
    _check_required_name(variable.name, f"{field}.name")
    if not variable.HasField("value"):
        raise invalid(f"{field}.value", "is required")
    check_payload(variable.value, f"{field}.value", limits.VARIABLE_VALUE)
    if variable.value.encoding != "json":
        raise invalid(f"{field}.value.encoding", "must be 'json'")
    check_tags(variable.tags, f"{field}.tags")


def _check_selection(request: pb.ListVariablesRequest) -> None:
    check_variable_name(request.name_prefix, "name_prefix")
    check_tags(request.tags, "tags")


CHECKS: Checks = {
    pb.SetVariableRequest: with_message("variable", _check_variable),
    pb.GetVariableRequest: _by_name,
    pb.ListVariablesRequest: all_of(_check_selection, with_page(limits.PAGE_RUNS)),
    pb.DeleteVariableRequest: _by_name,
}


def variable_message(variable: Variable) -> variable_pb2.Variable:
    """Return the message of a variable."""
    return variable_pb2.Variable(
        name=variable.name,
        value=payload_message(variable.value),
        tags=variable.tags,
        create_time=timestamp(variable.created_us),
        update_time=timestamp(variable.updated_us),
    )
