"""A run of the process pool enters Running when its worker process is there, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.cache_policies import INPUTS
from flowspan.drivers.processes.pool import WorkerPool
from flowspan.exceptions import WorkerProcessDied
from flowspan.task_runners import ProcessPoolTaskRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.recorder import Recorder

    from flowspan.drivers.process import ProcessContext
    from flowspan.drivers.processes.worker_handle import WorkerHandle

ONE = ProcessPoolTaskRunner(max_workers=1)


@task
def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[WorkerPool]:
    """Return the worker pools of the test."""
    made: list[WorkerPool] = []
    real = WorkerPool.__init__

    def init(pool: WorkerPool) -> None:
        real(pool)
        made.append(pool)

    monkeypatch.setattr(WorkerPool, "__init__", init)
    return made


@pytest.fixture
def on_take(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return a function that registers a callback for each worker that is taken."""

    def register(callback: Callable[[], object]) -> None:
        real = WorkerPool.take

        def take(pool: WorkerPool, process: ProcessContext) -> WorkerHandle:
            callback()
            return real(pool, process)

        monkeypatch.setattr(WorkerPool, "take", take)

    return register


def test_a_run_is_pending_while_its_worker_starts(recorder: Recorder, on_take: Any) -> None:
    seen: list[list[tuple[str, int]]] = []
    on_take(lambda: seen.append(recorder.states("double")))

    @flow(task_runner=ONE)
    def outer() -> int:
        return double.submit(4).result()

    assert outer() == 8
    assert seen == [[]], "it was taken once, before Running"
    assert recorder.states("double") == [("Running", 1), ("Completed", 1)]


def test_a_retry_begins_when_its_worker_is_there(recorder: Recorder, on_take: Any) -> None:
    seen: list[list[tuple[str, int]]] = []
    on_take(lambda: seen.append(recorder.states("flaky")))

    @task(retries=1)
    def flaky() -> None:
        raise ValueError("no")

    @flow(task_runner=ONE)
    def outer() -> None:
        flaky.submit().wait()

    outer()
    assert seen == [[], [("Running", 1)]]
    assert [name for name, _ in recorder.states("flaky")] == ["Running", "Retrying", "Failed"]


def test_a_cached_run_needs_no_worker(recorder: Recorder, on_take: Any, tmp_path: Path) -> None:
    taken: list[None] = []
    stored = double.with_options(
        cache_policy=INPUTS, persist_result=True, result_storage=str(tmp_path)
    )

    @flow(task_runner=ONE)
    def outer() -> int:
        return stored.submit(4).result()

    assert outer() == 8
    on_take(lambda: taken.append(None))
    assert outer() == 8
    assert taken == []
    assert recorder.end(recorder.runs[-1])[1] == "Cached"


def test_a_worker_that_cannot_start_fails_the_attempt(recorder: Recorder, on_take: Any) -> None:
    problems = [WorkerProcessDied("no memory")]

    def fail_once() -> None:
        if problems:
            raise problems.pop()

    on_take(fail_once)
    brave = double.with_options(retries=1, retry_condition_fn=lambda *_: True)

    @flow(task_runner=ONE)
    def outer() -> int:
        return brave.submit(4).result()

    assert outer() == 8
    assert [name for name, _ in recorder.states("double")] == ["Running", "Retrying", "Completed"]


def test_a_worker_that_is_not_needed_is_given_back(
    recorder: Recorder, pools: list[WorkerPool]
) -> None:
    """The run is cancelled after the worker was reserved, before the function is called."""

    def cancel(_task: Any, run: Any, _state: Any) -> None:
        run.scope.cancel("changed my mind")

    hooked = double.with_options(name="hooked", on_running=[cancel])
    idle: list[int] = []

    @flow(task_runner=ONE)
    def outer() -> None:
        hooked.submit(4).wait()
        idle.append(len(pools[0]._idle))
        assert double.submit(4).result() == 8

    outer()
    assert recorder.end("hooked")[0] == "CANCELLED"
    assert idle == [1]
