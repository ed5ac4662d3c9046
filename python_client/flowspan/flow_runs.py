"""Waiting for flow runs that other processes execute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api.client import get_client
from flowspan.prefect_names import refusing

if TYPE_CHECKING:
    from uuid import UUID

    from flowspan.api.client import FlowspanClient
    from flowspan.api.models import FlowRun

__all__ = ["wait_for_flow_run"]

_TIMEOUT_S = 10_800


async def wait_for_flow_run(
    flow_run_id: UUID | str,
    timeout: float | None = _TIMEOUT_S,  # noqa: ASYNC109 - Prefect's name
    poll_interval: float | None = None,
    client: FlowspanClient | None = None,
    log_states: bool = False,  # noqa: FBT001, FBT002 - Prefect's signature
) -> FlowRun:
    """Wait until a flow run has ended. In plain code, use the client's method of that name.

    Args:
        flow_run_id: The run.
        timeout: The maximum time to wait, in seconds; None for no limit.
        poll_interval: Ignored, because the service pushes changes. Accepted for compatibility with
            Prefect.
        client: The client to use; a new one if None.
        log_states: True to log each state that the run enters.

    Returns:
        The run in its final state.

    Raises:
        ObjectNotFound: There is no such run.
        FlowRunWaitTimeout: The run did not end in time.
    """
    if client is not None:
        return await client.wait_for_flow_run(flow_run_id, timeout, log_states=log_states)
    async with get_client() as own:
        return await own.wait_for_flow_run(flow_run_id, timeout, log_states=log_states)


__getattr__ = refusing(__name__)
