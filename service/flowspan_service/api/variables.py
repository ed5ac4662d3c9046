"""VariableService: values that flows and people share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import variable_service_pb2 as variables
from flowspan.v1 import variable_service_pb2_grpc
from flowspan_service.api import limits
from flowspan_service.api.translate import payload_of, variable_message
from flowspan_service.app.queries import VariableQuery
from flowspan_service.app.variables import DeleteVariable, SetVariable, get_variable

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.edge import CallContext

# ruff: noqa: N802 - methods are named as in the protos


class VariableService(variable_service_pb2_grpc.VariableServiceServicer):
    """See variable_service.proto."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def SetVariable(
        self, request: variables.SetVariableRequest, context: CallContext
    ) -> variables.SetVariableResponse:
        """Sets a variable."""
        del context
        wire = request.variable
        done = await self._backend.write(
            SetVariable(
                wire.name,
                payload_of(wire.value),
                tags=tuple(wire.tags),
                overwrite=request.overwrite,
            )
        )
        return variables.SetVariableResponse(
            variable=variable_message(done.variable), created=done.is_new
        )

    async def GetVariable(
        self, request: variables.GetVariableRequest, context: CallContext
    ) -> variables.GetVariableResponse:
        """One variable."""
        del context
        found = await self._backend.read(get_variable, self._backend.store, request.name)
        return variables.GetVariableResponse(variable=variable_message(found))

    async def ListVariables(
        self, request: variables.ListVariablesRequest, context: CallContext
    ) -> variables.ListVariablesResponse:
        """A page of variables, by name."""
        del context
        selection = "\0".join((request.name_prefix, *sorted(request.tags)))
        query = b"variables\0" + selection.encode()
        after_name = None
        if request.page_token:
            after_name = self._backend.tokens.unseal(request.page_token, query=query)
        page = await self._backend.read(
            self._backend.store.list_variables,
            VariableQuery(
                name_prefix=request.name_prefix,
                tags=tuple(request.tags),
                after_name=after_name,
                limit=request.page_size or limits.PAGE_RUNS_DEFAULT,
                limit_bytes=limits.PAGE_MESSAGE,
            ),
        )
        return variables.ListVariablesResponse(
            variables=[variable_message(each) for each in page.items],
            next_page_token=(
                self._backend.tokens.seal(page.items[-1].name, query=query) if page.has_more else ""
            ),
        )

    async def DeleteVariable(
        self, request: variables.DeleteVariableRequest, context: CallContext
    ) -> variables.DeleteVariableResponse:
        """Deletes a variable."""
        del context
        deleted = await self._backend.write(DeleteVariable(request.name))
        return variables.DeleteVariableResponse(deleted=deleted)
