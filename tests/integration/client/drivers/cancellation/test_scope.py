"""Cancellation from outside, as the service does it: through the reporter's callback."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.core.engine import never_run
from flowspan.drivers.cancellation.scope import CancelScope
from flowspan.drivers.task_runners import submit as submit_module
from flowspan.exceptions import CancelRun, DeadlinePassed
from flowspan.futures import as_completed
from flowspan.task_runners import ThreadPoolTaskRunner

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

WAIT_S = 30.0
FOREVER_S = 300.0


@task
def work(x: int = 0) -> int:
    return x


@task
async def wait_later() -> None:
    await asyncio.sleep(FOREVER_S)


def cancel(recorder: Recorder, name: str) -> None:
    recorder.cancels[recorder.run(name).id]("somebody asked")


def test_nothing_new_begins_in_a_cancelled_flow(recorder: Recorder) -> None:
    @flow
    def inner() -> None: ...

    @flow
    def outer() -> None:
        work(1)
        cancel(recorder, "outer")
        for call in (work, work.submit, inner, lambda: work.map([1])):
            with pytest.raises(CancelRun, match="somebody asked"):
                call()
        work(2)

    with pytest.raises(CancelRun, match="somebody asked"):
        outer()
    assert recorder.end("outer") == ("CANCELLED", "Cancelled")
    assert recorder.last_event("outer")[5] == "somebody asked"
    assert len(recorder.runs) == 2


def test_an_ordinary_handler_does_not_hold_it_up(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        cancel(recorder, "outer")
        while True:
            try:
                work()
            except Exception:  # noqa: BLE001, S112 - the subject of the test
                continue

    assert outer(return_state=True).is_cancelled()


def test_what_it_called_is_cancelled_with_it(recorder: Recorder) -> None:
    @task
    def between() -> None:
        cancel(recorder, "outer")
        work()

    @flow
    def inner() -> None:
        between()

    @flow
    def outer() -> None:
        inner()

    assert outer(return_state=True).is_cancelled()
    assert [recorder.end(run)[0] for run in recorder.runs] == ["CANCELLED"] * 3


def test_a_subflow_alone(recorder: Recorder) -> None:
    @flow
    def inner() -> None:
        cancel(recorder, "inner")
        work()

    @flow
    def outer() -> int:
        assert inner(return_state=True).is_cancelled()
        return work(5)

    assert outer() == 5


def test_promise_a_retry_that_waits_is_woken(recorder: Recorder) -> None:
    @task(retries=3, retry_delay_seconds=FOREVER_S)
    def flaky() -> None:
        threading.Thread(target=cancel_while_it_waits).start()
        raise ValueError

    def cancel_while_it_waits() -> None:
        while recorder.states("flaky")[-1][0] != "AwaitingRetry":
            time.sleep(0.001)
        cancel(recorder, "outer")

    @flow
    def outer() -> None:
        flaky()

    assert outer(return_state=True).is_cancelled()
    assert recorder.states("flaky") == [("Running", 1), ("AwaitingRetry", 1), ("Cancelled", 1)]


def test_a_flow_that_waits_for_futures_is_woken(recorder: Recorder) -> None:
    go = threading.Event()

    @task
    def stuck() -> None:
        go.wait(WAIT_S)

    for how in ("result", "as_completed"):
        go.clear()
        recorder.events.clear()

        @flow
        def outer(how: str = how) -> None:
            future = stuck.submit()
            threading.Timer(0.01, cancel, (recorder, "outer")).start()
            try:
                if how == "result":
                    future.result()
                else:
                    list(as_completed([future]))
            finally:
                go.set()

        assert outer(return_state=True).is_cancelled()


def test_what_was_submitted_and_has_not_begun_is_cancelled(recorder: Recorder) -> None:
    go = threading.Event()

    @task
    def stuck() -> None:
        go.wait(WAIT_S)

    @flow
    def outer() -> None:
        first = stuck.submit()
        after = work.submit(wait_for=[first])
        cancel(recorder, "outer")
        go.set()
        after.wait(WAIT_S)
        work()

    assert outer(return_state=True).is_cancelled()
    assert recorder.end("stuck") == ("COMPLETED", "Completed")
    assert recorder.end("work") == ("CANCELLED", "Cancelled")


def test_promise_an_asynchronous_flow_is_broken_off_where_it_waits(recorder: Recorder) -> None:
    @flow
    async def inner() -> None:
        await wait_later()

    @flow
    async def outer() -> None:
        threading.Timer(0.02, cancel, (recorder, "outer")).start()
        wait_later.submit()
        await asyncio.gather(inner(), wait_later())

    async def main() -> Any:
        state = await outer(return_state=True)
        await asyncio.sleep(0)  # A second cancellation would interrupt this.
        return state

    assert asyncio.run(main()).is_cancelled()
    assert {recorder.end(run)[0] for run in recorder.runs} == {"CANCELLED"}


def test_asynchronous_tasks_that_wait_for_room_are_cancelled_too(recorder: Recorder) -> None:
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def outer() -> None:
        futures = [wait_later.submit() for _ in range(3)]
        threading.Timer(0.02, cancel, (recorder, "outer")).start()
        futures[0].result()

    assert outer(return_state=True).is_cancelled()
    assert {recorder.end(run)[0] for run in recorder.runs} == {"CANCELLED"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_flow_that_is_broken_off_lets_nothing_new_begin(
    recorder: Recorder, error: type[BaseException]
) -> None:
    go = threading.Event()

    @task
    def stuck() -> None:
        go.wait(WAIT_S)

    @flow
    def outer() -> None:
        first = stuck.submit()
        work.submit(wait_for=[first])
        threading.Timer(0.01, go.set).start()
        raise error

    with pytest.raises(error):
        outer()
    assert recorder.end("outer") == ("CRASHED", "Crashed")
    assert recorder.end("work") == ("CANCELLED", "Cancelled")


def test_a_flow_that_ends_by_itself_stays_completed(recorder: Recorder) -> None:
    @flow
    def outer() -> int:
        cancel(recorder, "outer")
        return 1

    @flow
    async def outer_later() -> int:
        cancel(recorder, "outer-later")
        return 1

    async def main() -> int:
        found = await outer_later()
        await asyncio.sleep(0)  # The cancellation must not interrupt the code after the run.
        return found

    assert outer() == 1
    assert asyncio.run(main()) == 1


def test_a_top_level_task_can_be_cancelled(recorder: Recorder) -> None:
    @task
    def top() -> None:
        cancel(recorder, "top")
        work()

    assert top(return_state=True).is_cancelled()

    @task
    async def top_later() -> None:
        cancel(recorder, "top_later")
        await asyncio.sleep(FOREVER_S)

    assert asyncio.run(top_later(return_state=True)).is_cancelled()


def test_scopes() -> None:
    top = CancelScope()
    inner = top.child()
    late: list[str] = []
    top.add_interrupt("key", lambda: late.append("top"))
    inner.add_interrupt("key", lambda: late.append("inner"))
    top.cancel("why", deadline_of="run-1")
    assert late == ["top"]  # Only the outermost interrupt of a key is called.
    assert (inner.cancelled, inner.reason) == (True, "why")
    with pytest.raises(DeadlinePassed) as caught:
        inner.check()
    assert caught.value.run_id == "run-1"
    with pytest.raises(DeadlinePassed):
        top.child().check()
    top.add_interrupt("other", lambda: late.append("at once"))
    assert late[-1] == "at once"
    inner.close()
    top.cancel("again")
    assert top.reason == "why"


def test_an_asynchronous_task_in_a_plain_flow_is_broken_off_where_it_waits(
    recorder: Recorder,
) -> None:
    @task
    async def asleep() -> None:
        (cancel,) = recorder.cancels.values()
        threading.Thread(target=cancel, args=("by the test",)).start()
        await asyncio.sleep(600)

    @flow
    def outer() -> None:
        asyncio.run(asleep())

    with pytest.raises(CancelRun, match="by the test"):
        outer()
    assert recorder.end("asleep") == recorder.end("outer") == ("CANCELLED", "Cancelled")


def test_a_cancelled_future_is_finished_once_though_its_loop_looks_just_then(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its coroutine exits while `cancel` has claimed the run but not yet reported the end."""

    def looked_meanwhile(run: Any, *rest: Any) -> Any:
        if run.record.id in pending:
            pending[run.record.id]._ensure_finished()
        return never_run(run, *rest)

    pending: dict[str, Any] = {}
    monkeypatch.setattr(submit_module, "never_run", looked_meanwhile)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def outer() -> None:
        first = wait_later.submit()
        second = wait_later.submit()
        pending[str(second.task_run_id)] = second._pending
        assert second.cancel()
        assert second.state.is_cancelled()
        first.cancel()

    outer()
    (cancelled,) = [run for run in recorder.runs if run.id in pending]
    assert recorder.end(cancelled) == ("CANCELLED", "Cancelled")
