"""Settings that change between flows of one process, as in tests that set FLOWSPAN_HOME."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.service import end_local_service

from flowspan import flow, get_client, get_run_logger, task
from flowspan.testing import flowspan_test_harness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@task(persist_result=True, result_storage_key="{parameters[n]}")
def kept(n: int) -> int:
    return n


@flow
def work(n: int) -> int:
    get_run_logger().debug("in detail")
    return kept(n)


def flow_names() -> list[str]:
    with get_client(sync_client=True) as client:
        return [run.flow_name for run in client.read_flow_runs()]


@pytest.fixture
def homes(short_tmp_path: Path) -> Iterator[list[Path]]:
    homes = [short_tmp_path / name for name in ("a", "b")]
    yield homes
    for home in homes:
        end_local_service(home)


def test_each_home_gets_its_own_runs_and_results(
    homes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in (1, 2):  # There and back again.
        for n, home in enumerate(homes):
            monkeypatch.setenv("FLOWSPAN_HOME", str(home))
            assert work(n) == n
            assert len(flow_names()) == count
            assert (home / "results" / str(n)).exists()


def test_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    with flowspan_test_harness() as harness:
        for level, has_details in (("INFO", False), ("DEBUG", True), ("WARNING", False)):
            monkeypatch.setenv("FLOWSPAN_LOGGING_LEVEL", level)
            work(1)
            assert ("in detail" in harness.flow_run().logs) is has_details
        monkeypatch.delenv("FLOWSPAN_LOGGING_LEVEL")
        work(1)
        assert "in detail" not in harness.flow_run().logs


def test_an_environment_that_was_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with flowspan_test_harness() as harness:
        work(1)
        monkeypatch.setattr(os, "environ", {**os.environ, "FLOWSPAN_LOGGING_LEVEL": "DEBUG"})
        work(1)
        assert "in detail" in harness.flow_run().logs
        monkeypatch.undo()


def test_a_run_keeps_the_service_with_which_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @flow
    def slow() -> int:
        begun.set()
        go_on.wait(60)
        return work(1) + kept.submit(2).result()

    with flowspan_test_harness() as first:
        here = {name: text for name, text in os.environ.items() if name.startswith("FLOWSPAN_")}
        thread = threading.Thread(target=slow)
        thread.start()
        begun.wait(60)
        with flowspan_test_harness() as second:
            work(5)
            go_on.set()
            thread.join()
            assert len(second.flow_runs) == 1
            assert len(second.task_runs) == 1
        assert here.items() <= os.environ.items()
        assert [run.function_name for run in first.flow_runs] == ["slow", "work"]
        assert {run.state.name for run in first.task_runs} == {"Completed"}
        assert first.flow_run("slow").state.is_completed()


def test_tasks_submitted_outside_of_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    with flowspan_test_harness() as first:
        future = kept.submit(1)
        with flowspan_test_harness() as second:
            assert kept.submit(2).result() == 2
            second.task_run(kept)
        assert future.result() == 1
        assert len(first.task_runs) == 1
