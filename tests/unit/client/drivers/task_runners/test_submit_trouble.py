"""Errors between the creation of a submitted run and its end: no flow hangs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.sync_and_async import ASYNC, PLAIN, Kind
from tests.support.user_values import (
    HOSTILE,
    Touched,
    touched,
)

from flowspan import State, flow, task, unmapped
from flowspan.drivers.task_runners import thread_pool
from flowspan.drivers.task_runners.threads import RunningThreads

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

    from flowspan.drivers.futures.future import TaskFuture

WAIT_S = 60


@pytest.fixture(params=[PLAIN, ASYNC], ids=repr)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(autouse=True)
def _untouched() -> None:
    touched.clear()


@pytest.mark.parametrize("maker", HOSTILE)
def test_what_is_submitted_ends_and_its_flow_with_it(
    recorder: Recorder, kind: Kind, maker: str
) -> None:
    @kind.task
    async def take(value: Any) -> str:
        return type(value).__name__

    @kind.flow
    async def outer() -> list[str]:
        futures = [take.submit(HOSTILE[maker]()), *take.map([HOSTILE[maker]()])]
        return [future.result(WAIT_S) for future in futures]

    assert kind.run(outer) == [type(HOSTILE[maker]()).__name__] * 2
    assert touched == []


@pytest.mark.parametrize("how", ["submit", "map"])
@pytest.mark.parametrize("place", ["looking", "putting", "thread", "later"])
def test_a_submit_that_goes_wrong_fails_its_run_and_the_flow_ends(  # noqa: C901 - four cases
    recorder: Recorder, kind: Kind, monkeypatch: pytest.MonkeyPatch, how: str, place: str
) -> None:
    is_broken = threading.Event()

    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("can't start new thread")

    @kind.task
    async def one(value: object = None, after: object = None) -> int:
        return 1

    @task
    def wait() -> None:
        is_broken.wait(WAIT_S)

    def break_it() -> None:
        if place == "looking":
            monkeypatch.setattr("flowspan.drivers.task_runners.submit.has_upstream", broken)
        elif place == "thread" and not kind.is_async:
            monkeypatch.setattr(thread_pool.threading.Thread, "start", broken)
        else:
            monkeypatch.setattr(RunningThreads, "start_async" if kind.is_async else "start", broken)

    @kind.flow
    async def outer() -> list[State]:
        needed = wait.submit() if place == "later" else None
        if place != "later":
            break_it()
        futures: list[TaskFuture[Any]] = (
            [one.submit(1, needed)] if how == "submit" else list(one.map([1, 2], unmapped(needed)))
        )
        if place == "later":
            break_it()
            is_broken.set()
        for future in futures:
            future.wait()
        monkeypatch.undo()
        return [future.state for future in futures]

    if place == "looking":
        with pytest.raises(RuntimeError, match="new thread"):
            kind.run(outer)
    else:
        assert {state.type for state in kind.run(outer)} == {"FAILED"}
        assert recorder.end("outer")[0] == "FAILED"
    runs = [run for run in recorder.runs if run.function_name == "one"]
    if place == "looking":  # It failed before anything was reported.
        assert runs == []
        return
    assert len(runs) == (1 if how == "submit" else 2)
    assert {recorder.end(run)[0] for run in runs} == {"FAILED"}


def test_a_submit_that_is_interrupted_ends_its_run(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    @task
    def one() -> int:
        return 1

    @flow
    def outer() -> None:
        monkeypatch.setattr(RunningThreads, "start", interrupt)
        one.submit()

    with pytest.raises(KeyboardInterrupt):
        outer()
    assert recorder.end("one")[0] == "CRASHED"


def test_a_pool_that_cannot_grow_goes_on_with_the_threads_it_has(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    @task
    def hold() -> None:
        go_on.wait(WAIT_S)

    @task
    def one() -> int:
        return 1

    def broken(_: object) -> None:
        raise RuntimeError("can't start new thread")

    @flow
    def outer() -> int:
        first = hold.submit()
        monkeypatch.setattr(thread_pool.threading.Thread, "start", broken)
        future = one.submit()
        monkeypatch.undo()
        second = one.submit()  # The pool tries to grow again.
        go_on.set()
        first.wait()
        return future.result(WAIT_S) + second.result(WAIT_S)

    assert outer() == 2


def test_a_done_callback_that_exits_does_not_hold_up_the_flow(recorder: Recorder) -> None:
    go_on = threading.Event()

    @task
    def hold() -> int:
        go_on.wait(WAIT_S)
        return 1

    def leave(_: object) -> None:
        raise SystemExit

    @flow
    def outer() -> int:
        future = hold.submit()
        future.add_done_callback(leave)
        go_on.set()
        return future.result(WAIT_S)

    assert outer() == 1


def test_callbacks_are_not_compared(recorder: Recorder) -> None:
    class Callback:
        __hash__ = None  # type: ignore[assignment] # the subject of the test

        def __eq__(self, other: object) -> bool:
            raise Touched("__eq__")

        def __call__(self, _: object) -> None:
            calls.append(1)

        def method(self, _: object) -> None:
            calls.append(2)

    calls: list[int] = []
    go_on = threading.Event()

    @task
    def hold() -> int:
        go_on.wait(WAIT_S)
        return 1

    @flow
    def outer() -> None:
        future = hold.submit()
        callback = Callback()
        future.add_done_callback(callback)
        future.add_done_callback(callback.method)
        future.remove_done_callback(callback.method)
        future.wait(timeout=0)  # This adds and removes an internal callback.
        go_on.set()
        future.wait()

    outer()
    assert calls == [1]
