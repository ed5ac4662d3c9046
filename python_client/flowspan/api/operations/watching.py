"""What can be asked about what happens, while it happens."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.api import convert, models
from flowspan.api.operations.flow_runs import read_flow_run
from flowspan.api.requests import begin_again, follow, for_each
from flowspan.exceptions import FlowRunWaitTimeout
from flowspan.v1 import watch_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from flowspan.api.requests import Answer, Items
    from flowspan.exceptions import ApiError

_log = logging.getLogger("flowspan.client")


def watch(
    run_id: UUID | str | None = None,
    *,
    resume_token: str = "",
    flow_runs_only: bool = False,
    changes_only: bool = False,
) -> Items[models.RunSnapshot | models.SnapshotEnd | models.Change]:
    """What happens, as it happens.

    First the runs as they are, then a mark, then every transition that is committed afterwards, in
    the order of the commits, without gaps and without repetitions. Goes on by itself after a broken
    connection. Begins again with the snapshot, and logs a warning, if the service has another
    database than before, or an earlier state of it.

    Args:
        run_id: The run whose tree is watched, until it has ended; everything and for ever if None.
        resume_token: Goes on where an earlier watch of the same run gave out this token.
        flow_runs_only: Leaves out task runs.
        changes_only: Leaves out the runs as they are: the mark comes at once.

    Raises:
        ValueError: The id is empty.
        ObjectNotFound: There is no such run.
    """
    return _watch(
        pb.WatchRequest(
            run_id=convert.wire_optional(run_id, "run_id"),
            resume_token=resume_token,
            flow_runs_only=flow_runs_only,
            changes_only=changes_only,
        )
    )


def wait_for_flow_run(
    flow_run_id: UUID | str, timeout: float | None = None, *, log_states: bool = False
) -> Answer[models.FlowRun]:
    """Waits until a flow run has ended. The service tells; it is not asked again and again.

    Args:
        flow_run_id: Which.
        timeout: How long to wait, in seconds; None waits as long as it takes.
        log_states: Whether each state that the run enters is logged.

    Returns:
        The run as it is then.

    Raises:
        ObjectNotFound: There is no such run.
        FlowRunWaitTimeout: It had not ended in time.
    """
    deadline_s = None if timeout is None else clock.monotonic() + timeout
    run = yield from read_flow_run(flow_run_id)

    def tell(item: models.RunSnapshot | models.SnapshotEnd | models.Change) -> None:
        if log_states and isinstance(item, models.Change) and item.transition.run_id == run.id:
            _log.info("flow run %r is %s", run.name, item.transition.state.name)

    while not run.state.is_final():
        request = pb.WatchRequest(run_id=str(flow_run_id), flow_runs_only=True)
        try:
            # Ends when the run has ended.
            yield from for_each(_watch(request, deadline_s), tell)
        except TimeoutError:
            raise FlowRunWaitTimeout(
                f"flow run {run.name!r} ({run.id}) has not ended after {timeout:g} s"
            ) from None
        run = yield from read_flow_run(flow_run_id)
    return run


def _watch(
    request: pb.WatchRequest, deadline_s: float | None = None
) -> Items[models.RunSnapshot | models.SnapshotEnd | models.Change]:
    def receive(
        message: pb.WatchResponse,
    ) -> Iterable[models.RunSnapshot | models.SnapshotEnd | models.Change]:
        if message.resume_token:
            request.resume_token = message.resume_token
        item = convert.watch_item(message)
        return () if item is None else (item,)

    def forget(error: ApiError) -> bool:
        had_place = bool(request.resume_token)
        if had_place:
            _log.warning("the watch begins again with a snapshot: %s", error)
            request.resume_token = ""
        return had_place

    follow_once = partial(
        follow, "WatchService/Watch", request, pb.WatchResponse, receive, deadline_s=deadline_s
    )
    yield from begin_again(follow_once, forget)
