"""Operations on flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api import convert
from flowspan.api.requests import call, pages
from flowspan.v1 import flow_service_pb2 as pb

if TYPE_CHECKING:
    from uuid import UUID

    from flowspan.api import models
    from flowspan.api.requests import Answer, Items


def read_flow(flow_id: UUID | str) -> Answer[models.Flow]:
    """Return a flow by its id.

    Raises:
        ObjectNotFound: No run of such a flow is known.
    """
    request = pb.GetFlowRequest(id=str(flow_id))
    answer = yield from call("FlowService/GetFlow", request, pb.GetFlowResponse)
    return convert.flow(answer.flow)


def read_flow_by_name(flow_name: str) -> Answer[models.Flow]:
    """Return a flow by its name.

    Raises:
        ObjectNotFound: No run of such a flow is known.
    """
    request = pb.GetFlowRequest(name=flow_name)
    answer = yield from call("FlowService/GetFlow", request, pb.GetFlowResponse)
    return convert.flow(answer.flow)


def read_flows(*, limit: int | None = None, page_size: int = 0) -> Items[models.Flow]:
    """Iterate over flows in order of name.

    Args:
        limit: The maximum number of flows; None for all.
        page_size: The number fetched at a time, 1 to 1000; 0 for the service's default.
    """
    yield from pages(
        "FlowService/ListFlows",
        pb.ListFlowsRequest(page_size=page_size),
        pb.ListFlowsResponse,
        lambda page: map(convert.flow, page.flows),
        limit=limit,
    )
