"""Consistency checker for the run histories that a service reports.

It follows docs/states.md and the comments of the protos, not the service's rules, so that a mistake
in the rules cannot hide here.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from flowspan.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    state_pb2,
    task_run_service_pb2,
    task_run_service_pb2_grpc,
    transition_pb2,
    watch_service_pb2,
    watch_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import grpc

PAGE_SIZE = 1000
CALLS_AT_ONCE = 64
MANY_RUNS = 500
"""From this number of runs, histories are read from the watch, which saves a call per run."""
TIMEOUT_S = 60.0

BEGINNINGS = "SCHEDULED PENDING"
RETRY_BEGINNINGS = "SCHEDULED PENDING RUNNING"
ENDS = "COMPLETED FAILED CANCELLED CRASHED"
FOLLOWS = {
    "SCHEDULED": f"SCHEDULED PENDING RUNNING PAUSED CANCELLING {ENDS}",
    "PENDING": f"SCHEDULED PENDING RUNNING PAUSED CANCELLING {ENDS}",
    "RUNNING": f"SCHEDULED RUNNING PAUSED CANCELLING {ENDS}",
    "PAUSED": f"SCHEDULED PENDING RUNNING CANCELLING {ENDS}",
    "CANCELLING": ENDS,
    "COMPLETED": "",
    "FAILED": "",
    "CANCELLED": "",
    "CRASHED": "",
}
NOT_TRIED_AGAIN = "COMPLETED CANCELLED CANCELLING"


def check_all_histories(channel: grpc.Channel, *, token: str) -> int:
    """Check the history of every run of a service; return the number of runs.

    Args:
        channel: A channel to the service.
        token: The start of a watch from before the first run (see `watch_from_here`).

    Raises:
        AssertionError: A history is illegal; the message names the run and shows its history.
    """
    flow_stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    task_stub = task_run_service_pb2_grpc.TaskRunServiceStub(channel)
    flow_runs = list(
        _pages(flow_stub.ListFlowRuns, flow_run_service_pb2.ListFlowRunsRequest, "flow_runs")
    )
    task_runs = list(
        _pages(task_stub.ListTaskRuns, task_run_service_pb2.ListTaskRunsRequest, "task_runs")
    )
    runs = [*flow_runs, *task_runs]
    watched = _watched_histories(channel, token, runs) if len(runs) > MANY_RUNS else {}
    histories = [
        *_histories(
            flow_stub.ListFlowRunTransitions,
            flow_run_service_pb2.ListFlowRunTransitionsRequest,
            flow_runs,
            watched,
        ),
        *_histories(
            task_stub.ListTaskRunTransitions,
            task_run_service_pb2.ListTaskRunTransitionsRequest,
            task_runs,
            watched,
        ),
    ]
    positions: set[int] = set()
    for run, history in zip(runs, histories, strict=True):
        check_history(run, history)
        for transition in history:
            assert transition.position not in positions, f"{transition.position} occurs twice"
            positions.add(transition.position)
    return len(runs)


def watch_from_here(channel: grpc.Channel) -> str:
    """Return a token for watching everything that happens from now on."""
    stub = watch_service_pb2_grpc.WatchServiceStub(channel)
    call = stub.Watch(watch_service_pb2.WatchRequest(), timeout=TIMEOUT_S)
    token: str = next(item.resume_token for item in call if item.HasField("snapshot_end"))
    call.cancel()
    return token


def check_history(run: Any, transitions: Sequence[transition_pb2.Transition]) -> None:
    """Check one run (FlowRun or TaskRun) against its transitions.

    Raises:
        AssertionError: The history is illegal; the message names the run and shows its history.
    """
    try:
        assert transitions, "the run has no transitions"
        _check_first(transitions[0])
        for before, after in pairwise(transitions):
            _check_step(before, after)
        _check_ends(transitions)
        _check_row(run, transitions)
    except AssertionError as error:
        told = "\n".join(map(describe, transitions))
        msg = f"run {run.id}: {error}\n{told}\n{run}"
        raise AssertionError(msg) from error


def describe(transition: transition_pb2.Transition) -> str:
    """Format a transition as one line."""
    cause = transition_pb2.TransitionCause.Name(transition.cause)
    return (
        f"  {transition.ordinal}. attempt {transition.attempt} {type_name(transition)} "
        f"{transition.state.name!r} {cause} position {transition.position}"
    )


def type_name(transition: transition_pb2.Transition) -> str:
    """Return the name of the state type, such as RUNNING."""
    return state_pb2.StateType.Name(transition.state.type).removeprefix("STATE_TYPE_")


def _check_first(first: transition_pb2.Transition) -> None:
    assert first.ordinal == 1, "the first ordinal is not 1"
    assert first.attempt == 1, "the first attempt is not 1"
    assert type_name(first) in BEGINNINGS.split(), f"the first state is {type_name(first)}"


def _check_step(before: transition_pb2.Transition, after: transition_pb2.Transition) -> None:
    old, new = type_name(before), type_name(after)
    step = f"step {before.ordinal} to {after.ordinal} ({old} to {new})"
    assert after.run_id == before.run_id, f"{step}: belongs to another run"
    assert after.ordinal == before.ordinal + 1, f"{step}: a gap in the ordinals"
    assert after.position > before.position, f"{step}: positions must increase"
    assert _micros(after.commit_time) >= _micros(before.commit_time), (
        f"{step}: the commit time decreases"
    )
    if after.attempt == before.attempt:
        if is_silence(before):
            assert after.cause == transition_pb2.TRANSITION_CAUSE_REPORTED, (
                f"{step}: only a report may revive a lost run"
            )
        elif not is_rollback(before, after):
            assert new in FOLLOWS[old].split(), f"{step}: not an allowed transition"
    else:
        assert after.attempt == before.attempt + 1, f"{step}: attempts must increase by one"
        assert old not in NOT_TRIED_AGAIN.split(), f"{step}: {old} allows no further attempt"
        assert new in RETRY_BEGINNINGS.split(), f"{step}: an attempt cannot begin with {new}"


def _check_ends(transitions: Sequence[transition_pb2.Transition]) -> None:
    ends: dict[int, int] = {}
    for before, transition in pairwise([None, *transitions]):
        assert transition is not None, "only the first item of pairwise can be None"
        if before is not None and is_rollback(before, transition):
            continue
        if type_name(transition) in ENDS.split() and not is_silence(transition):
            ends[transition.attempt] = ends.get(transition.attempt, 0) + 1
    assert all(count == 1 for count in ends.values()), "an attempt has more than one terminal state"


def _check_row(run: Any, transitions: Sequence[transition_pb2.Transition]) -> None:
    last = transitions[-1]
    assert run.state == last.state, "the run's state differs from its last transition"
    assert run.attempt == last.attempt, "the run's attempt differs from its last transition"
    assert run.transition_count == len(transitions), "the run's transition_count is wrong"
    running = [t for t in transitions if type_name(t) == "RUNNING"]
    assert run.HasField("start_time") == bool(running), (
        "start_time is set if and only if the run was RUNNING"
    )
    assert run.HasField("create_time"), "create_time is missing"
    begun_us = _micros(run.create_time)
    if running:
        # A reporter's clock may go back: no time of the run is before an earlier one.
        begun_us = max(begun_us, _micros(running[0].state.time))
        assert _micros(run.start_time) == begun_us, "start_time differs from the first RUNNING"
    ended = type_name(last) in ENDS.split()
    assert run.HasField("end_time") == ended, "end_time is set if and only if the run has ended"
    if ended:
        ended_us = max(begun_us, _micros(last.state.time))
        assert _micros(run.end_time) == ended_us, "end_time differs from the terminal state"
        assert run.run_duration.ToMicroseconds() <= ended_us - begun_us, (
            "run_duration is longer than the run"
        )
    assert run.run_duration.ToMicroseconds() >= 0, "run_duration is negative"
    if not running:
        assert run.run_duration.ToMicroseconds() == 0, (
            "run_duration is set, but the run was never RUNNING"
        )


def is_rollback(before: transition_pb2.Transition, after: transition_pb2.Transition) -> bool:
    """Return True if the step rolls back a completed run along with its transaction."""
    return (
        type_name(before) == type_name(after) == "COMPLETED"
        and before.state.name != "RolledBack"
        and after.state.name == "RolledBack"
        and after.cause == transition_pb2.TRANSITION_CAUSE_REPORTED
        and after.attempt == before.attempt
    )


def is_silence(transition: transition_pb2.Transition) -> bool:
    """Return True if the service crashed the run because its session fell silent."""
    lost = transition_pb2.TRANSITION_CAUSE_SESSION_LOST
    return type_name(transition) == "CRASHED" and transition.cause == lost


def _micros(time: Any) -> int:
    return int(time.ToMicroseconds())


def _pages(call: Callable[..., Any], request: Callable[..., Any], field: str) -> Iterator[Any]:
    token = ""
    while True:
        page = call(request(page_size=PAGE_SIZE, page_token=token), timeout=TIMEOUT_S)
        yield from getattr(page, field)
        token = page.next_page_token
        if not token:
            return


def _histories(
    call: Any,
    request: Callable[..., Any],
    runs: Iterable[Any],
    watched: dict[str, list[transition_pb2.Transition]],
) -> Iterator[Sequence[transition_pb2.Transition]]:
    """Yield the history of each run, in order; those not watched are fetched concurrently."""
    waiting: deque[Callable[[], Sequence[transition_pb2.Transition]]] = deque()

    def ask(run: Any) -> Callable[[], Sequence[transition_pb2.Transition]]:
        if run.id in watched:
            return lambda: watched[run.id]
        future = call.future(request(id=run.id, page_size=PAGE_SIZE), timeout=TIMEOUT_S)

        def rest() -> Sequence[transition_pb2.Transition]:
            page = future.result()
            history = list(page.transitions)
            while page.next_page_token:
                following = request(id=run.id, page_size=PAGE_SIZE, page_token=page.next_page_token)
                page = call(following, timeout=TIMEOUT_S)
                history += page.transitions
            return history

        return rest

    for run in runs:
        waiting.append(ask(run))
        if len(waiting) >= CALLS_AT_ONCE:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def _watched_histories(
    channel: grpc.Channel, token: str, runs: Sequence[Any]
) -> dict[str, list[transition_pb2.Transition]]:
    """Return the histories of the runs as the watch reports them, starting at the token.

    Raises:
        AssertionError: The watch repeats a transition.
        grpc.RpcError: The watch ends before it has reported everything (DEADLINE_EXCEEDED).
    """
    missing = sum(run.transition_count for run in runs)
    found: dict[str, list[transition_pb2.Transition]] = {run.id: [] for run in runs}
    stub = watch_service_pb2_grpc.WatchServiceStub(channel)
    call = stub.Watch(watch_service_pb2.WatchRequest(resume_token=token), timeout=TIMEOUT_S)
    for item in call:
        if not item.HasField("change"):
            continue  # a keep-alive
        transition = item.change.transition
        history = found[transition.run_id]
        assert transition.ordinal > len(history), f"the watch repeats {transition}"
        history.append(transition)
        missing -= 1
        if missing == 0:
            break
    call.cancel()
    return found
