"""Deadlines. They interrupt sleeps, so no test depends on speed."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.exceptions import RunTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorder import Recorder

# Keep the alarm signal free: pytest-timeout's default method would occupy it.
pytestmark = pytest.mark.timeout(300, method="thread")

WAIT_S = 30.0
FOREVER_S = 300.0
DEADLINE_S = 0.05


@task(timeout_seconds=DEADLINE_S)
def sleep_long() -> None:
    time.sleep(FOREVER_S)


@task(timeout_seconds=DEADLINE_S)
def spin() -> None:
    until = time.monotonic() + FOREVER_S
    while time.monotonic() < until:
        pass


@task(timeout_seconds=DEADLINE_S)
async def sleep_later() -> None:
    await asyncio.sleep(FOREVER_S)


def in_thread(function: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join(WAIT_S)
    return found[0]


@pytest.mark.parametrize("work", [sleep_long, spin], ids=["asleep", "busy"])
@pytest.mark.parametrize("place", ["main thread", "other thread", "submitted"])
def test_promise_a_run_ends_as_timed_out_wherever_it_runs(
    recorder: Recorder, work: Any, place: str
) -> None:
    @flow
    def outer() -> Any:
        if place == "submitted":
            return work.submit(return_state=True)
        return work(return_state=True)

    def run() -> Any:
        return outer(return_state=True)

    state = in_thread(run) if place == "other thread" else run()
    assert (state.type, state.data.type, state.data.name) == ("FAILED", "FAILED", "TimedOut")
    with pytest.raises(TimeoutError, match=r"exceeded its timeout of 0.05 s"):
        state.result()
    trace = recorder.last_event(work.name)[7].stack_trace
    assert f"in {work.fn.__name__}" in trace  # The trace shows where the time was spent.
    assert "deadlines.py" not in trace


def test_an_asynchronous_run_is_broken_off(recorder: Recorder) -> None:
    @flow
    async def outer() -> None:
        with pytest.raises(RunTimeout):
            await sleep_later()
        assert sleep_later.submit(return_state=True).name == "TimedOut"  # type: ignore[attr-defined]

    asyncio.run(outer())
    assert {recorder.end(run)[1] for run in recorder.runs[1:]} == {"TimedOut"}


def test_the_failure_of_an_asynchronous_run_says_where_it_was(recorder: Recorder) -> None:
    state = asyncio.run(sleep_later(return_state=True))  # type: ignore[call-overload]
    assert "in sleep_later\n" in state.failure.stack_trace
    assert state.data.__context__ is None or state.data.__suppress_context__


def test_each_attempt_has_the_whole_time(recorder: Recorder) -> None:
    calls = 0

    @task(timeout_seconds=1.0, retries=1)
    def once() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            time.sleep(FOREVER_S)
        return "done"

    @flow
    def outer() -> Any:
        return once()

    assert outer() == "done"
    assert recorder.states("once") == [("Running", 1), ("Retrying", 2), ("Completed", 2)]


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "asynchronous"])
def test_a_flows_deadline_ends_what_it_called(recorder: Recorder, is_async: bool) -> None:
    @task(retries=3)
    def slow() -> None:
        time.sleep(FOREVER_S)

    @task(retries=3)
    async def slow_later() -> None:
        await asyncio.sleep(FOREVER_S)

    @flow(timeout_seconds=DEADLINE_S)
    def outer() -> None:
        slow()

    @flow(timeout_seconds=DEADLINE_S)
    async def outer_later() -> None:
        await slow_later()

    def run() -> None:
        asyncio.run(outer_later()) if is_async else outer()

    with pytest.raises(RunTimeout, match="Flow run"):
        run()
    top, child = recorder.runs
    assert recorder.end(top) == ("FAILED", "TimedOut")
    assert recorder.end(child) == ("CANCELLED", "Cancelled")


def test_a_flow_that_waits_for_a_future_is_broken_off(recorder: Recorder) -> None:
    go = threading.Event()
    ended = threading.Event()

    @task
    def stuck() -> None:
        go.wait(WAIT_S)

    @task
    def after(_: object) -> None: ...

    @flow(timeout_seconds=DEADLINE_S)
    def outer() -> None:
        future = stuck.submit()
        after.submit(future).add_done_callback(lambda _: ended.set())
        future.result()

    with pytest.raises(RunTimeout):
        outer()
    go.set()
    assert ended.wait(WAIT_S)
    assert recorder.end("after") == ("CANCELLED", "Cancelled")
    assert "exceeded its timeout" in recorder.last_event("after")[5]


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "asynchronous"])
def test_the_time_for_what_a_flow_submitted_counts(recorder: Recorder, is_async: bool) -> None:
    go = threading.Event()

    @task
    def stuck() -> None:
        go.wait(WAIT_S)

    @flow(timeout_seconds=DEADLINE_S)
    def outer() -> None:
        stuck.submit()

    @flow(timeout_seconds=DEADLINE_S)
    async def outer_later() -> None:
        stuck.submit()

    def run() -> None:
        asyncio.run(outer_later()) if is_async else outer()

    with pytest.raises(RunTimeout):
        run()
    assert not go.is_set()
    ended = threading.Event()
    go.set()
    while recorder.end("stuck")[0] == "RUNNING":
        ended.wait(0.001)


def test_the_inner_deadline_comes_first_and_the_outer_one_still_holds(recorder: Recorder) -> None:
    @flow(timeout_seconds=DEADLINE_S * 20)
    def outer() -> None:
        with pytest.raises(RunTimeout, match="Task run"):
            sleep_long()
        time.sleep(FOREVER_S)

    with pytest.raises(RunTimeout, match="Flow run"):
        outer()


def test_ordinary_handlers_do_not_catch_the_deadline(recorder: Recorder) -> None:
    seen: list[str] = []

    @task(timeout_seconds=DEADLINE_S)
    def careful() -> None:
        try:
            time.sleep(FOREVER_S)
        except Exception:  # noqa: BLE001 - the subject of the test
            seen.append("caught")
        finally:
            seen.append("cleaned up")

    assert careful(return_state=True).name == "TimedOut"
    assert seen == ["cleaned up"]


def test_a_result_that_comes_too_late_is_thrown_away(recorder: Recorder) -> None:
    @task(timeout_seconds=DEADLINE_S)
    def stubborn() -> str:
        try:
            time.sleep(FOREVER_S)
        except BaseException:  # noqa: BLE001 - the subject of the test
            return "went on"
        return ""

    @task(timeout_seconds=DEADLINE_S)
    async def stubborn_later() -> str:
        try:
            await asyncio.sleep(FOREVER_S)
        except asyncio.CancelledError:
            return "went on"
        return ""

    assert stubborn(return_state=True).name == "TimedOut"
    assert asyncio.run(stubborn_later(return_state=True)).name == "TimedOut"


def test_an_error_before_the_deadline_is_that_error(recorder: Recorder) -> None:
    @task(timeout_seconds=WAIT_S)
    def bad() -> None:
        raise TimeoutError("one of its own")

    @task(timeout_seconds=WAIT_S)
    async def bad_later() -> None:
        raise TimeoutError("one of its own")

    assert bad(return_state=True).name == "Failed"
    assert in_thread(lambda: bad(return_state=True)).name == "Failed"
    assert asyncio.run(bad_later(return_state=True)).name == "Failed"


def test_what_is_in_time_is_in_time(recorder: Recorder) -> None:
    @task(timeout_seconds=WAIT_S)
    def quick() -> int:
        return 1

    @flow(timeout_seconds=WAIT_S)
    def outer() -> int:
        return quick() + quick.submit().result(WAIT_S)

    assert outer() == 2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no timers")
def test_the_alarm_is_restored_and_never_taken_from_its_user(recorder: Recorder) -> None:
    sleep_long(return_state=True)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0

    def mine(*_: object) -> None: ...

    signal.signal(signal.SIGALRM, mine)
    try:
        assert sleep_long(return_state=True).name == "TimedOut"
        assert signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_a_task_given_up_may_call_no_more_tasks(recorder: Recorder) -> None:
    go, ended = threading.Event(), threading.Event()
    refused: list[BaseException] = []

    @task
    def more() -> None:
        raise AssertionError("not to be called")

    @task(timeout_seconds=DEADLINE_S)
    def stuck() -> None:
        try:
            while not go.is_set():
                try:
                    go.wait(WAIT_S)
                except BaseException:  # noqa: BLE001, S112 - it ignores every interruption
                    continue
            more()
        except BaseException as error:  # noqa: BLE001 - the subject of the test
            refused.append(error)
        finally:
            ended.set()

    @flow
    def outer() -> None:
        assert stuck.submit(return_state=True).name == "TimedOut"  # type: ignore[attr-defined]
        go.set()
        assert ended.wait(WAIT_S)

    outer()
    assert [type(error).__name__ for error in refused] == ["DeadlinePassed"]
    assert [run.function_name for run in recorder.runs] == ["outer", "stuck"]


@pytest.mark.parametrize("decorator", [flow, task])
def test_asynchronous_code_that_blocks_its_loop_past_the_deadline(
    recorder: Recorder, decorator: Any
) -> None:
    @decorator(timeout_seconds=0.01)
    async def blocks() -> int:
        time.sleep(0.05)  # noqa: ASYNC251 - it must block the loop
        return 1

    with pytest.raises(RunTimeout):
        asyncio.run(blocks())
    assert recorder.end(recorder.runs[0]) == ("FAILED", "TimedOut")
