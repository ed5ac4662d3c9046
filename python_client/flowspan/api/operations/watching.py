"""Operations that follow runs while they happen."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.api import convert, models
from flowspan.api.operations.flow_runs import read_flow_run
from flowspan.api.operations.service import read_service_info
from flowspan.api.requests import begin_again, follow, for_each
from flowspan.exceptions import ApiError, FlowRunWaitTimeout
from flowspan.v1 import watch_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from flowspan.api.requests import Answer, Items

_log = logging.getLogger("flowspan.client")

_NARROW_WATCHES = "watch_filters.v1"
"""The capability of a service that filters watches."""


def watch(
    run_id: UUID | str | None = None,
    *,
    run_filter: models.RunFilter | None = None,
    resume_token: str = "",
    flow_runs_only: bool = False,
    active_only: bool = False,
    changes_only: bool = False,
) -> Items[models.RunSnapshot | models.SnapshotEnd | models.Change]:
    """Iterate over runs and transitions as they happen.

    The watch sends a snapshot of the current runs, then a SnapshotEnd, then every transition
    committed afterwards, in commit order, without gaps or duplicates. It reconnects
    automatically if the connection breaks. If the service then has another database, or an
    earlier state of it, the watch starts again with a snapshot and logs a warning.

    Args:
        run_id: The run whose tree is watched until it ends; all runs, without end, if None.
        run_filter: The runs to include; all if None. Fields about the state and parts of ids cannot
            be used.
        resume_token: A token of an earlier watch of the same run with the same filter, to continue
            from there.
        flow_runs_only: True to omit task runs.
        active_only: True to omit the runs in the snapshot that have ended.
        changes_only: True to omit the snapshot; the SnapshotEnd comes at once.

    Raises:
        ValueError: The id is empty, or both active_only and changes_only are set.
        ObjectNotFound: There is no such run.
        ApiError: INVALID_ARGUMENT, a watch cannot use a field of the filter; UNIMPLEMENTED, the
            service is too old for `run_filter` and `active_only`.
    """
    if active_only and changes_only:
        raise ValueError("pass either `active_only` or `changes_only`, not both")
    request = pb.WatchRequest(
        run_id=convert.wire_optional(run_id, "run_id"),
        resume_token=resume_token,
        flow_runs_only=flow_runs_only,
        changes_only=changes_only,
        snapshot=pb.SNAPSHOT_SCOPE_ACTIVE if active_only else pb.SNAPSHOT_SCOPE_UNSPECIFIED,
        filter=convert.wire_filter(run_filter),
    )
    return _watch(request) if run_filter is None and not active_only else _narrow_watch(request)


def wait_for_flow_run(
    flow_run_id: UUID | str, timeout: float | None = None, *, log_states: bool = False
) -> Answer[models.FlowRun]:
    """Wait until a flow run has ended. The service pushes changes; there is no polling.

    Args:
        flow_run_id: The run.
        timeout: The maximum time to wait, in seconds; None for no limit.
        log_states: True to log each state that the run enters.

    Returns:
        The run in its final state.

    Raises:
        ObjectNotFound: There is no such run.
        FlowRunWaitTimeout: The run did not end in time.
    """
    deadline_s = None if timeout is None else clock.monotonic() + timeout
    run = yield from read_flow_run(flow_run_id)

    def tell(item: models.RunSnapshot | models.SnapshotEnd | models.Change) -> None:
        if log_states and isinstance(item, models.Change) and item.transition.run_id == run.id:
            _log.info("flow run %r is %s", run.name, item.transition.state.name)

    while not run.state.is_final():
        request = pb.WatchRequest(run_id=str(flow_run_id), flow_runs_only=True)
        try:
            # The watch ends when the run has ended.
            yield from for_each(_watch(request, deadline_s), tell)
        except TimeoutError:
            raise FlowRunWaitTimeout(
                f"flow run {run.name!r} ({run.id}) has not ended after {timeout:g} s"
            ) from None
        run = yield from read_flow_run(flow_run_id)
    return run


def _narrow_watch(
    request: pb.WatchRequest,
) -> Items[models.RunSnapshot | models.SnapshotEnd | models.Change]:
    """Watch some runs only. An older service would ignore that and send all of them."""
    info = yield from read_service_info()
    if _NARROW_WATCHES not in info.capabilities:
        raise ApiError(
            f"the service (version {info.version}) cannot filter watches",
            status="UNIMPLEMENTED",
            advice="Update the service, or watch all runs and select among them.",
        )
    yield from _watch(request)


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
            _log.warning("restarting the watch with a snapshot: %s", error)
            request.resume_token = ""
        return had_place

    follow_once = partial(
        follow, "WatchService/Watch", request, pb.WatchResponse, receive, deadline_s=deadline_s
    )
    yield from begin_again(follow_once, forget)
