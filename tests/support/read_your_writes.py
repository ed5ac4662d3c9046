"""API client calls that read what the same process reported a moment before."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any

from flowspan import flow, get_client, get_run_logger, runtime, task
from flowspan.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from flowspan.client import ArtifactFilter, RunFilter, RunSnapshot, SnapshotEnd, StateType

if TYPE_CHECKING:
    from collections.abc import Generator

    Questions = Generator[tuple[str, tuple[Any, ...], dict[str, Any]], Any, None]

_numbers = count()


@task
def small(number: int) -> int:
    get_run_logger().info("small %d", number)
    if number < 0:
        raise ValueError(number)
    return number


def _here() -> str:
    return str(runtime.flow_run.id)


@flow
def inner() -> str:
    small(1)
    return _here()


def _ask(name: str, *args: Any, **kwargs: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    return name, args, kwargs


def _report() -> str:
    """Report a task run, an artifact and a log record; return the key that marks the latter two."""
    key = f"key-{next(_numbers)}-{os.getpid()}"
    small(1)
    create_link_artifact("https://example.com", key=key)
    get_run_logger().info("said %s", key)
    return key


def _subflow() -> Generator[Any, Any, Any]:
    """Run a flow and read its run."""
    run = yield _ask("read_flow_run", inner())
    assert run.state.is_completed(), run
    runs = yield _ask("read_flow_runs", RunFilter(parent_run_id=run.parent_run_id))
    assert run in runs
    return run


def own_flow_run() -> Questions:
    run = yield _ask("read_flow_run", _here())
    assert run.state.is_running(), run
    states = yield _ask("read_flow_run_states", _here())
    assert [state.name for state in states] == ["Pending", "Running"], states
    history = yield _ask("read_flow_run_transitions", _here())
    assert [each.ordinal for each in history] == [1, 2], history


def ended_tasks() -> Questions:
    for number in (1, -1):
        small(number, return_state=True)
        runs = yield _ask("read_task_runs", RunFilter(flow_run_id=_here()))
        run = yield _ask("read_task_run", runs[0].id)
        assert run.state.is_completed() if number > 0 else run.state.is_failed(), run
        states = yield _ask("read_task_run_states", run.id)
        assert len(states) == 3, states
        history = yield _ask("read_task_run_transitions", run.id)
        assert len(history) == 3, history


def logs() -> Questions:
    key = _report()
    records = yield _ask("read_logs", _here(), include_descendants=True)
    assert f"said {key}" in [each.message for each in records], records


def artifacts() -> Questions:
    key = _report()
    latest = yield _ask("read_latest_artifact", key)
    found = yield _ask("read_artifact", latest.id)
    assert found == latest
    assert (yield _ask("read_artifacts", ArtifactFilter(key=key))) == [latest]
    assert (yield _ask("read_latest_artifacts", key_prefix=key)) == [latest]


def changed_artifacts() -> Questions:
    made = create_progress_artifact(1.0)
    update_progress_artifact(made, 50.0)
    found = yield _ask("read_artifact", made)
    assert found.data.json() == 50.0, found
    made = create_progress_artifact(2.0)
    changed = yield _ask("update_artifact", made, data=60.0)
    assert changed.data.json() == 60.0, changed
    made = create_progress_artifact(3.0)
    assert (yield _ask("delete_artifact", made)) is True


def counts() -> Questions:
    here = RunFilter(flow_run_id=_here())
    before = yield _ask("count_task_runs", here)
    small(1)
    after = yield _ask("count_task_runs", here)
    assert sum(after.values()) == sum(before.values()) + 1, (before, after)
    before = yield _ask("count_flow_runs")
    inner()
    after = yield _ask("count_flow_runs")
    assert sum(after.values()) == sum(before.values()) + 1, (before, after)


def flows() -> Questions:
    inner()
    known = yield _ask("read_flow_by_name", "inner")
    assert (yield _ask("read_flow", known.id)).name == "inner"
    assert "inner" in [each.name for each in (yield _ask("read_flows"))]


def ended_flows() -> Questions:
    run = yield from _subflow()
    assert (yield _ask("wait_for_flow_run", run.id)).id == run.id
    items = yield _ask("watch", run.id)
    assert [type(each) for each in items] == [RunSnapshot, RunSnapshot, SnapshotEnd], items
    records = yield _ask("tail_logs", run.id, include_descendants=True)
    assert "small 1" in [each.message for each in records], records
    answer = yield _ask("set_flow_run_state", run.id, StateType.RUNNING)
    assert not answer.verdict.is_accepted, answer
    assert (yield _ask("delete_flow_run", run.id)) == 2


_ALL = (
    own_flow_run,
    ended_tasks,
    logs,
    artifacts,
    changed_artifacts,
    counts,
    flows,
    ended_flows,
)


def ask_all() -> None:
    """Run all questions in the current flow run with the sync client."""
    with get_client(sync_client=True) as client:
        for questions in _ALL:
            steps, answer = questions(), None
            while (step := _next(steps, answer)) is not None:
                name, args, kwargs = step
                answer = getattr(client, name)(*args, **kwargs)
                if hasattr(answer, "__next__"):
                    answer = list(answer)


async def ask_all_async() -> None:
    """Run all questions with the async client."""
    async with get_client() as client:
        for questions in _ALL:
            steps, answer = questions(), None
            while (step := _next(steps, answer)) is not None:
                name, args, kwargs = step
                answer = getattr(client, name)(*args, **kwargs)
                if hasattr(answer, "__aiter__"):
                    answer = [item async for item in answer]
                else:
                    answer = await answer


def _next(steps: Questions, answer: Any) -> Any:
    try:
        return steps.send(answer)
    except StopIteration:
        return None
