"""Waiting for flow runs that others execute."""

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
    """Waits until a flow run has ended; plain code uses the method of that name on the client.

    Args:
        flow_run_id: Which.
        timeout: How long to wait, in seconds; None waits as long as it takes.
        poll_interval: Has no effect, since the service tells when something happens. It is there so
            that calls written for Prefect go on working.
        client: What to ask with; a client of its own if None.
        log_states: Whether each state that the run enters is logged.

    Returns:
        The run as it is then.

    Raises:
        ObjectNotFound: There is no such run.
        FlowRunWaitTimeout: It had not ended in time.
    """
    if client is not None:
        return await client.wait_for_flow_run(flow_run_id, timeout, log_states=log_states)
    async with get_client() as own:
        return await own.wait_for_flow_run(flow_run_id, timeout, log_states=log_states)


__getattr__ = refusing(__name__)
