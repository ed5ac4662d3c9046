"""Logs and calls of a function in another process are stored with the run of its context."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import pytest

from flowspan import flow, get_run_logger, tags, task
from flowspan.context import FlowRunContext, get_run_context, with_context

if TYPE_CHECKING:
    from flowspan.testing import Harness

METHODS = ["fork", "spawn"]


@task
def double(x: int) -> int:
    return 2 * x


def work(x: int) -> int:
    get_run_logger().info("working on %s", x)
    logging.getLogger("program").warning("seen %s", x)
    print("printed", x)  # noqa: T201 - logged by log_prints
    return double(x)


@task(log_prints=True)
def carry(method: str) -> list[int]:
    # Leaving the block terminates the pool.
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(with_context(work), [1, 2], chunksize=1)


@pytest.mark.parametrize("method", METHODS)
def test_logs_and_runs_of_other_processes_belong_to_the_run(
    method: str, flowspan_harness: Harness
) -> None:
    @flow
    def around() -> list[int]:
        with tags("a"):
            return carry(method)

    assert around() == [2, 4]
    run = flowspan_harness.task_run("carry")
    said = ["printed 1", "printed 2", "seen 1", "seen 2", "working on 1", "working on 2"]
    assert [line for line in sorted(run.logs) if line in said] == said
    called = flowspan_harness.task_runs_of(double)
    assert [each.state.name for each in called] == ["Completed", "Completed"]
    assert [list(each.tags) for each in called] == [["a"], ["a"]]
    assert all("double" in each.name for each in called)


@task
def alone() -> str:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(with_context(run_name)).result()


def run_name() -> str:
    assert FlowRunContext.get() is None
    return str(get_run_context().run.name)


def test_a_task_outside_of_flows_is_taken_along(flowspan_harness: Harness) -> None:
    assert alone() == flowspan_harness.task_run(alone).name


def test_outside_of_runs_it_is_the_function_alone() -> None:
    call = with_context(time.strftime)
    assert call("x") == "x"


def test_a_function_that_cannot_be_pickled_is_called_in_threads_only(
    flowspan_harness: Harness,
) -> None:
    lock = threading.Lock()

    @task
    def carry_it() -> bool:
        call = with_context(lock.locked)
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(call)
        return call()

    assert carry_it() is False
    assert flowspan_harness.task_run(carry_it).state.is_completed()
