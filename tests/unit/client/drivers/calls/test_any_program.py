"""Random programs: nested flows and tasks of both kinds, called and submitted, that return, fail,
retry or are cancelled. Every event that they report must be legal.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.sync_and_async import value_of

from flowspan import flow, states, task
from flowspan.drivers.process import get_process
from flowspan.exceptions import CancelRun
from flowspan.futures import TaskFuture

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorder import Recorder


@dataclass
class Node:
    """A flow or task of a program."""

    is_flow: bool
    is_async: bool
    is_submitted: bool
    """Only for tasks."""
    ending: str
    retries: int
    children: list[Node] = field(default_factory=list)


ENDINGS = ["value", "value", "value", "error", "failed", "futures", "cancel", "catches"]

nodes = st.recursive(
    st.builds(
        Node,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.sampled_from(ENDINGS),
        st.sampled_from([0, 0, 1]),
    ),
    lambda inner: st.builds(
        Node,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.sampled_from(ENDINGS),
        st.sampled_from([0, 0, 1]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


def finish(node: Node, outcomes: list[Any], cancel: Callable[[], object]) -> Any:
    """Finish a node after its children."""
    if node.ending == "error":
        raise ValueError("as the program says")
    if node.ending == "failed":
        return states.Failed(message="as the program says")
    if node.ending == "futures":
        return outcomes
    if node.ending == "cancel":
        cancel()
    return 1


def decorated(node: Node, cancel: Callable[[], object]) -> Any:
    """Return the flow or task that a node describes."""
    children = [(child, decorated(child, cancel)) for child in node.children]

    def call(child: Node, function: Any, outcomes: list[Any]) -> Any:
        if child.is_submitted and not child.is_flow:
            # The call may depend on the previous one.
            return function.submit(*[o for o in outcomes[-1:] if isinstance(o, TaskFuture)])
        return function()

    def plain(*upstream: Any) -> Any:
        outcomes: list[Any] = []
        with suppress(ValueError) if node.ending == "catches" else nullcontext():
            for child, function in children:
                outcomes.append(value_of(call(child, function, outcomes)))
        return finish(node, outcomes, cancel)

    async def later(*upstream: Any) -> Any:
        outcomes: list[Any] = []
        with suppress(ValueError) if node.ending == "catches" else nullcontext():
            for child, function in children:
                outcome = call(child, function, outcomes)
                outcomes.append(await outcome if asyncio.iscoroutine(outcome) else outcome)
        await asyncio.sleep(0)
        return finish(node, outcomes, cancel)

    function = later if node.is_async else plain
    if node.is_flow:
        return flow(name="f", retries=node.retries, validate_parameters=False)(function)
    return task(name="t", retries=node.retries)(function)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(nodes)
def test_promise_a_legal_history_of_any_program(recorder: Recorder, node: Node) -> None:
    recorder.events.clear()

    def cancel() -> None:
        top = recorder.runs[0].id
        if top in recorder.cancels:
            recorder.cancels[top]("as the program says")

    program = decorated(node, cancel)
    with suppress(Exception, CancelRun):
        outcome = program()
        if node.is_async:
            asyncio.run(outcome)
    runner = get_process().task_runner
    if runner is not None:  # Wait for tasks that were submitted outside of flows.
        runner.wait()
    recorder.check_legal()
    assert recorder.runs[0].parent_run_id is None
