"""Task runners: the number of concurrent tasks, and reports about blocked threads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.config import load
from flowspan.exceptions import ConfigError
from flowspan.task_runners import (
    ConcurrentTaskRunner,
    ProcessPoolTaskRunner,
    ThreadPoolTaskRunner,
)

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

WAIT_S = 30.0
THREADS = "FLOWSPAN_TASK_RUNNER_THREAD_POOL_MAX_WORKERS"
PROCESSES = "FLOWSPAN_TASK_RUNNER_PROCESS_POOL_MAX_WORKERS"


class Crowd:
    """Counts concurrent visitors; holds them until `size` of them are inside together."""

    def __init__(self, size: int) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(size)

    def visit(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self._barrier.wait(WAIT_S)
        with self._lock:
            self._now -= 1


def most_at_once(runner: Any, size: int) -> int:
    crowd = Crowd(size)

    @task
    def visit() -> None:
        crowd.visit()

    @flow(task_runner=runner)
    def outer() -> None:
        for future in [visit.submit() for _ in range(3 * size)]:
            future.result(timeout=WAIT_S)

    outer()
    return crowd.most


@pytest.mark.parametrize("size", [1, 3])
def test_as_many_tasks_run_at_once_as_there_are_workers(recorder: Recorder, size: int) -> None:
    assert most_at_once(ThreadPoolTaskRunner(max_workers=size), size) == size


@pytest.mark.parametrize("runner", [None, ThreadPoolTaskRunner, ThreadPoolTaskRunner()])
def test_the_environment_says_how_many_where_the_flow_does_not(
    recorder: Recorder, runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(THREADS, "2")
    assert most_at_once(runner, 2) == 2


def test_a_thread_of_another_flow_does_not_help_out(recorder: Recorder) -> None:
    crowd = Crowd(1)

    @task
    def visit() -> None:
        crowd.visit()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def inner() -> None:
        for future in [visit.submit() for _ in range(20)]:
            future.wait()

    @task
    def calls() -> None:
        inner()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def outer() -> None:
        calls.submit().wait()

    outer()
    assert crowd.most == 1


def test_what_may_be_set() -> None:
    assert load({THREADS: "7"}).task_runner_thread_pool_max_workers == 7
    assert load({PROCESSES: "7"}).task_runner_process_pool_max_workers == 7
    for wrong in ("0", "-1", "two", "1.5"):
        with pytest.raises(ConfigError, match=f"{THREADS}='{wrong}': expected a whole number"):
            load({THREADS: wrong})
    for kind in (ThreadPoolTaskRunner, ProcessPoolTaskRunner):
        with pytest.raises(ValueError, match="at least 1"):
            kind(max_workers=0)
        assert kind(3).duplicate() == kind(3) != kind(4)
        assert hash(kind(3)) == hash(kind(3))
        assert repr(kind(3)) == f"{kind.__name__}(max_workers=3)"
    assert ThreadPoolTaskRunner(3) != ProcessPoolTaskRunner(3)


def test_the_older_name_of_the_thread_pool_is_there() -> None:
    assert ConcurrentTaskRunner is ThreadPoolTaskRunner


def test_promise_a_thread_that_cannot_be_interrupted_is_said_to_go_on(recorder: Recorder) -> None:
    go_on = threading.Event()

    @task(timeout_seconds=0.02)
    def stubborn() -> None:
        while not go_on.is_set():
            try:
                time.sleep(0.01)
            except BaseException:  # noqa: BLE001, S112 - the subject of the test
                continue

    @flow
    def outer() -> str:
        future = stubborn.submit()
        future.wait()
        return future.state.name

    assert outer() == "TimedOut"
    go_on.set()
    (warning,) = recorder.logs("stubborn", level=30)[:1]
    assert "continues in thread" in warning


def test_one_that_stops_is_not(recorder: Recorder) -> None:
    @task(timeout_seconds=0.02)
    def quick_to_stop() -> None:
        while True:
            time.sleep(0.001)

    @flow
    def outer() -> None:
        quick_to_stop.submit().wait()

    outer()
    assert recorder.end("quick_to_stop") == ("FAILED", "TimedOut")
    assert not [text for text in recorder.logs("quick_to_stop") if "goes on" in text]
