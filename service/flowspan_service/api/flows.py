"""FlowService: flows, as opposed to their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import flow_service_pb2, flow_service_pb2_grpc
from flowspan_service.api import limits
from flowspan_service.api.translate import flow_message
from flowspan_service.domain.errors import NotFoundError

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.edge import CallContext

_QUERY = b"flows"


class FlowService(flow_service_pb2_grpc.FlowServiceServicer):
    """See flow_service.proto."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def GetFlow(  # noqa: N802 - the name in the proto
        self, request: flow_service_pb2.GetFlowRequest, context: CallContext
    ) -> flow_service_pb2.GetFlowResponse:
        """One flow, by id or by name."""
        del context
        flow = await self._backend.read(
            self._backend.store.get_flow, flow_id=request.id or None, name=request.name or None
        )
        if flow is None:
            raise NotFoundError(f"There is no flow {request.id or repr(request.name)}.")
        return flow_service_pb2.GetFlowResponse(flow=flow_message(flow))

    async def ListFlows(  # noqa: N802 - the name in the proto
        self, request: flow_service_pb2.ListFlowsRequest, context: CallContext
    ) -> flow_service_pb2.ListFlowsResponse:
        """Flows, by name."""
        del context
        after = None
        if request.page_token:
            after = self._backend.tokens.unseal(request.page_token, query=_QUERY)
        limit = request.page_size or limits.PAGE_RUNS_DEFAULT
        # One more than asked for tells whether there is a next page.
        flows = await self._backend.read(
            self._backend.store.list_flows, after_name=after, limit=limit + 1
        )
        token = ""
        if len(flows) > limit:
            token = self._backend.tokens.seal(flows[limit - 1].name, query=_QUERY)
        return flow_service_pb2.ListFlowsResponse(
            flows=[flow_message(flow) for flow in flows[:limit]], next_page_token=token
        )
