"""Long database operations run in pieces, and survive SIGKILL between any two of them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.report_client import ReportStream, created, entered, new_id, whole_run
from tests.support.run_queries import WAIT_S, count_flow_runs, count_task_runs, flow_history

from flowspan.v1 import flow_run_service_pb2 as flow_runs
from flowspan.v1 import flow_run_service_pb2_grpc, verdict_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

KILLED = -9
TASKS = 16_000  # A split is by time: fewer tasks fit into one transaction of a fast machine.
COMPLETED, CRASHED = 6, 9


def report_tree(stream: ReportStream, *, ends: bool) -> str:
    """Report a flow run with many task runs; return its id."""
    root = new_id()
    stream.report(created(root), entered(root, "RUNNING"))
    last = 2
    for _ in range(0, TASKS, 500):
        events = []
        for _ in range(500):
            run_id = new_id()
            relations = {"parent_run_id": root, "root_run_id": root, "flow_run_id": root}
            events += whole_run(run_id, kind="TASK", **relations)[: 3 if ends else 2]
        last = stream.report(*events)
    if ends:
        last = stream.report(entered(root, "COMPLETED"))
    stream.wait_for_ack(last)
    return root


def delete(service: ServiceProcess, run_id: str, *, force: bool = False) -> int:
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(service.channel)
    request = flow_runs.DeleteFlowRunRequest(id=run_id, force=force)
    return stub.DeleteFlowRun(request, wait_for_ready=True).deleted_run_count


def until(counts: Callable[[], int], wanted: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while counts() != wanted:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def crash_in_the_middle(service: ServiceProcess, commit: int) -> None:
    """Restart the service so that it kills itself at a commit; the start is the first commit."""
    service.stop()
    service.crash_point = f"before_commit:{commit}"
    service.start()


def test_promise_a_deletion_that_was_begun_is_finished_by_the_next_service(
    service: ServiceProcess,
) -> None:
    stream = ReportStream(service.channel)
    root = report_tree(stream, ends=True)
    stream.goodbye()
    crash_in_the_middle(service, 3)
    with pytest.raises(grpc.RpcError) as caught:
        delete(service, root)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert service.wait() == KILLED
    service.restart()
    until(lambda: sum(count_task_runs(service.channel).values()), 0)
    until(lambda: sum(count_flow_runs(service.channel).values()), 0)
    assert delete(service, root) == 0


def test_promise_others_are_acked_while_a_large_tree_is_deleted(service: ServiceProcess) -> None:
    deleter = ReportStream(service.channel)
    root = report_tree(deleter, ends=False)
    other, run_id = ReportStream(service.channel), new_id()
    other.wait_for_ack(other.report(created(run_id)))
    deleted: list[int] = []
    deleting = threading.Thread(target=lambda: deleted.append(delete(service, root, force=True)))
    deleting.start()
    # From the first piece on, every reporter of the tree is told to stop.
    while not deleter.verdicts:
        deleter.wait_for_ack(deleter.report(entered(root, "RUNNING")))
    assert {(each.kind, each.rule) for each in deleter.verdicts} == {
        (verdict_pb2.VERDICT_KIND_ABORT, "run_was_deleted")
    }
    assert not deleted, "other sessions had to wait until the whole tree was deleted"
    other.wait_for_ack(other.report(entered(run_id, "RUNNING"), entered(run_id, "COMPLETED")))
    deleting.join()
    assert deleted == [TASKS + 1]
    deleter.wait_for_ack(deleter.report(entered(root, "COMPLETED")))
    assert deleter.verdicts[-1].kind == verdict_pb2.VERDICT_KIND_ABORT
    for stream in (other, deleter):
        stream.goodbye()
    assert flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]


@pytest.mark.slow
def test_promise_the_end_of_a_large_session_is_finished_by_the_next_service(
    service: ServiceProcess,
) -> None:
    stream = ReportStream(service.channel)
    root = report_tree(stream, ends=False)
    stream.break_off()
    crash_in_the_middle(service, 4)
    stream = ReportStream(service.channel, session_id=stream.session_id)
    with pytest.raises(grpc.RpcError):
        stream.goodbye()
    assert service.wait() == KILLED
    service.restart()
    until(lambda: count_task_runs(service.channel).get(CRASHED, 0), TASKS)
    until(lambda: count_flow_runs(service.channel).get(CRASHED, 0), 1)
    assert flow_history(service.channel, root) == ["Pending", "Running", "Crashed"]
