"""Flows: FlowService, and the conversion of flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import flow_pb2
from flowspan.v1 import flow_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import (
    Checks,
    check_id,
    check_required_text,
    invalid,
    with_page,
)
from flowspan_service.api.fields.paging import Paging
from flowspan_service.api.fields.values import timestamp
from flowspan_service.domain.errors import NotFoundError

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call
    from flowspan_service.domain.flows import Flow

# ruff: noqa: N802 - methods are named as in the protos


class FlowService:
    """The servicer of FlowService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def GetFlow(self, request: pb.GetFlowRequest, _: Call) -> pb.GetFlowResponse:
        """Return one flow, by id or by name."""
        flow = await self._backend.read(
            self._backend.store.flows.get, flow_id=request.id or None, name=request.name or None
        )
        if flow is None:
            raise NotFoundError(f"There is no flow {request.id or repr(request.name)}.")
        return pb.GetFlowResponse(flow=flow_message(flow))

    async def ListFlows(self, request: pb.ListFlowsRequest, _: Call) -> pb.ListFlowsResponse:
        """Return a page of flows, by name."""
        paging = Paging(self._backend.page_tokens, request, b"flows")
        # One item more than the limit shows whether there is a next page.
        flows = await self._backend.read(
            self._backend.store.flows.list, after_name=paging.after(), limit=paging.limit + 1
        )
        page = flows[: paging.limit]
        return pb.ListFlowsResponse(
            flows=[flow_message(flow) for flow in page],
            next_page_token=paging.token_at(page[-1].name if len(flows) > len(page) else None),
        )


def _check_get(request: pb.GetFlowRequest) -> None:
    if request.WhichOneof("key") is None:
        raise invalid("key", "id or name is required")
    if request.HasField("id"):
        check_id(request.id, "id")
    else:
        check_required_text(request.name, "name", limits.NAME)


CHECKS: Checks = {
    pb.GetFlowRequest: _check_get,
    pb.ListFlowsRequest: with_page(limits.PAGE_RUNS),
}


def flow_message(flow: Flow) -> flow_pb2.Flow:
    """Return the message of a flow."""
    return flow_pb2.Flow(
        id=flow.id,
        name=flow.name,
        create_time=timestamp(flow.created_us),
        last_run_time=timestamp(flow.last_run_us),
    )
