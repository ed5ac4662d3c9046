"""CancelFlowRun and CancelTaskRun: a run with all that it called, in whichever sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.harness import Stubs, refused
from tests.support.report_client import ReportStream, created, entered, new_id, state
from tests.support.run_queries import flow_history, task_history

from flowspan.v1 import (
    flow_run_pb2,
    flow_run_service_pb2,
    report_pb2,
    single_run_service_pb2,
    task_run_service_pb2,
    verdict_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import Harness

NOT_FOUND = grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
ABORT = verdict_pb2.VERDICT_KIND_ABORT


def cancel_flow(stubs: Stubs, run_id: str, reason: str = "enough") -> Any:
    request = flow_run_service_pb2.CancelFlowRunRequest(id=run_id, reason=reason)
    return stubs.flow_runs.CancelFlowRun(request)


def cancel_task(stubs: Stubs, run_id: str, reason: str = "enough") -> Any:
    request = task_run_service_pb2.CancelTaskRunRequest(id=run_id, reason=reason)
    return stubs.task_runs.CancelTaskRun(request)


class Tree:
    """A flow with a task in one session, and a flow that the task called in another."""

    def __init__(self, harness: Harness) -> None:
        self.one, self.two = ReportStream(harness.channel), ReportStream(harness.channel)
        self.flow, self.task, self.child, self.below = (new_id() for _ in range(4))
        self.send(
            self.one,
            created(self.flow),
            entered(self.flow, "RUNNING"),
            created(self.task, kind="TASK", parent_run_id=self.flow),
            entered(self.task, "RUNNING"),
        )
        self.send(
            self.two,
            created(self.child, parent_run_id=self.task),
            entered(self.child, "RUNNING"),
            created(self.below, kind="TASK", parent_run_id=self.child),
            entered(self.below, "RUNNING"),
        )

    def send(self, stream: ReportStream, *events: report_pb2.Event) -> list[Any]:
        """Report events; return the verdicts."""
        stream.wait_for_ack(stream.report(*events))
        verdicts, stream.verdicts = stream.verdicts, []
        return [(each.kind, each.rule) for each in verdicts]


@pytest.fixture
def tree(harness: Harness) -> Iterator[Tree]:
    tree = Tree(harness)
    yield tree
    for stream in (tree.one, tree.two):
        stream.goodbye()


def test_each_session_is_told_about_its_topmost_run(
    harness: Harness, stubs: Stubs, tree: Tree
) -> None:
    answer = cancel_flow(stubs, tree.flow, "far too slow")
    assert answer.verdict.kind == verdict_pb2.VERDICT_KIND_ACCEPTED
    assert answer.flow_run.state.name == "Cancelling"
    assert answer.flow_run.state.message == "far too slow"
    assert answer.asked_run_count == 2
    for stream, run_id in ((tree.one, tree.flow), (tree.two, tree.child)):
        told = stream.receive("command").cancel_run
        assert (told.run_id, told.reason) == (run_id, "far too slow")
    again = cancel_flow(stubs, tree.flow)
    assert again.verdict.kind == verdict_pb2.VERDICT_KIND_DUPLICATE
    assert again.asked_run_count == 2
    tree.send(tree.two, entered(tree.below, "CANCELLED"), entered(tree.child, "CANCELLED"))
    tree.send(tree.one, entered(tree.task, "CANCELLED"), entered(tree.flow, "CANCELLED"))
    ended = cancel_flow(stubs, tree.flow)
    assert ended.verdict.rule == "terminal_is_final"
    assert ended.asked_run_count == 0
    assert flow_history(harness.channel, tree.child)[-2:] == ["Cancelling", "Cancelled"]
    assert task_history(harness.channel, tree.task)[-2:] == ["Running", "Cancelled"]


def test_a_task_run_is_cancelled_with_what_it_called(stubs: Stubs, tree: Tree) -> None:
    answer = cancel_task(stubs, tree.task)
    assert answer.task_run.state.name == "Cancelling"
    assert answer.asked_run_count == 2
    assert tree.one.receive("command").cancel_run.run_id == tree.task
    assert tree.two.receive("command").cancel_run.run_id == tree.child


def test_set_state_cancels_the_run_alone(harness: Harness, stubs: Stubs, tree: Tree) -> None:
    request = flow_run_service_pb2.SetFlowRunStateRequest(id=tree.flow, state=state("CANCELLING"))
    assert stubs.flow_runs.SetFlowRunState(request).flow_run.state.name == "Cancelling"
    assert tree.one.receive("command").cancel_run.run_id == tree.flow
    assert flow_history(harness.channel, tree.child)[-1] == "Running"


def test_runs_are_refused_below(harness: Harness, stubs: Stubs, tree: Tree) -> None:
    cancel_flow(stubs, tree.flow)
    tree.one.receive("command")
    tree.two.receive("command")
    late, below = new_id(), new_id()
    stream = ReportStream(harness.channel)
    verdicts = tree.send(
        stream,
        created(late, parent_run_id=tree.below),
        entered(late, "RUNNING"),
        created(below, kind="TASK", parent_run_id=late),
        entered(below, "RUNNING"),
        entered(late, "COMPLETED"),
    )
    assert verdicts == [(ABORT, "parent_is_cancelled")] * 5
    stream.goodbye()
    run = flow_run_pb2.FlowRun(flow_name="f", state=state("PENDING"), parent_run_id=tree.flow)
    request = flow_run_service_pb2.CreateFlowRunRequest(flow_run=run)
    refused(lambda: stubs.flow_runs.CreateFlowRun(request), PRECONDITION, "STATE_CONFLICT")
    # The session of a run may call more to clean up.
    assert tree.send(tree.one, created(new_id(), kind="TASK", parent_run_id=tree.flow)) == []


def test_runs_of_other_processes_are_refused_below_a_refused_run(
    harness: Harness, stubs: Stubs, tree: Tree
) -> None:
    # A program that was starting during the cancellation calls another one before it stops.
    cancel_flow(stubs, tree.flow)
    tree.one.receive("command")
    tree.two.receive("command")
    late, below = new_id(), new_id()
    starting, called = ReportStream(harness.channel), ReportStream(harness.channel)
    refusal = [(ABORT, "parent_is_cancelled")]
    assert tree.send(starting, created(late, parent_run_id=tree.below)) == refusal
    assert tree.send(called, created(below, parent_run_id=late), entered(below, "RUNNING")) == (
        refusal * 2
    )
    run = flow_run_pb2.FlowRun(flow_name="f", state=state("PENDING"), parent_run_id=late)
    request = flow_run_service_pb2.CreateFlowRunRequest(flow_run=run)
    refused(lambda: stubs.flow_runs.CreateFlowRun(request), PRECONDITION, "STATE_CONFLICT")
    context = f"r:{late.replace('-', '')}"
    start = single_run_service_pb2.StartRunRequest(flow_name="f", run_context=context)
    refused(lambda: stubs.single_runs.StartRun(start), PRECONDITION, "STATE_CONFLICT")
    # A parent that is only late is no reason to refuse a run.
    assert tree.send(called, created(new_id(), parent_run_id=new_id())) == []
    for stream in (starting, called):
        stream.goodbye()


def test_refusals_survive_a_restart(harness: Harness, stubs: Stubs, tree: Tree) -> None:
    cancel_flow(stubs, tree.flow)
    tree.one.receive("command")
    tree.two.receive("command")
    late = new_id()
    hello = report_pb2.Hello(session_id=new_id())
    stream = ReportStream(harness.channel, session_id=hello.session_id)
    assert tree.send(stream, created(late, parent_run_id=tree.flow)) == [
        (ABORT, "parent_is_cancelled")
    ]
    stream.break_off()
    again = ReportStream(harness.channel, session_id=hello.session_id)
    assert tree.send(again, created(new_id(), kind="TASK", parent_run_id=late)) == [
        (ABORT, "parent_is_cancelled")
    ]
    again.goodbye()


def test_unknown_runs_and_long_reasons(stubs: Stubs, tree: Tree) -> None:
    refused(lambda: cancel_flow(stubs, new_id()), NOT_FOUND, "NOT_FOUND")
    refused(lambda: cancel_task(stubs, tree.flow), NOT_FOUND, "NOT_FOUND")
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    refused(lambda: cancel_flow(stubs, tree.flow, "x" * 4097), invalid, "TOO_LARGE")
    refused(lambda: cancel_flow(stubs, tree.flow, "a\0b"), invalid, "INVALID_FIELD")


def test_another_session_does_not_report_the_run(harness: Harness, tree: Tree) -> None:
    stranger = ReportStream(harness.channel)
    assert tree.send(stranger, entered(tree.task, "COMPLETED")) == [
        (verdict_pb2.VERDICT_KIND_REJECTED, "another_session_has_it")
    ]
    other = created(tree.task, kind="TASK", parent_run_id=tree.flow, run_name="another")
    assert (
        tree.send(stranger, other, entered(tree.task, "COMPLETED"))
        == [(ABORT, "creation_agrees")] * 2
    )
    stranger.goodbye()
    assert task_history(harness.channel, tree.task) == ["Pending", "Running"]
