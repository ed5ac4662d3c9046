"""The search for runs without an inbox: any number of commands, bad ones among them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tests.support.run_queries import wait_until

from flowspan import flow, task
from flowspan.core.commands import CANCEL, Command
from flowspan.drivers.cancellation import control, live_runs
from flowspan.drivers.cancellation.search import Search

if TYPE_CHECKING:
    import pytest
    from tests.support.recorder import Recorder

TIMEOUT_S = 60.0
FLOOD = 2_000


@task
def ticks() -> int:
    return 1


def test_promise_flood_of_unknown_runs_costs_few_searches(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[None] = []

    def counted() -> list[Any]:
        searches.append(None)
        return live_runs.live_runs()

    monkeypatch.setattr("flowspan.drivers.cancellation.search.live_runs", counted)
    unknown: list[str] = []

    def elsewhere(command: Command) -> bool:
        unknown.append(command.run_id)
        return False

    search = Search(elsewhere)

    @task
    def called() -> None:
        run_id = recorder.run("called").id
        for n in range(FLOOD):
            search.ask(Command(CANCEL, f"unknown-{n}", "enough"))
        search.ask(Command(CANCEL, run_id, "enough"))
        wait_until(lambda: len(unknown) == FLOOD, "the searches")
        while True:
            ticks()

    @flow
    def outer() -> str:
        state = called(return_state=True)
        assert ticks() == 1
        return str(state.message)

    assert outer() == "enough"
    assert recorder.end("called") == ("CANCELLED", "Cancelled")
    assert recorder.end("outer") == ("COMPLETED", "Completed")
    assert len(searches) < FLOOD / 20


def test_failing_handler_does_not_end_the_search(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_run: Any, _command: Any) -> bool:
        raise RuntimeError("by the test")

    monkeypatch.setitem(control.HANDLERS, "bad", fail)
    poked = threading.Event()

    def poke(_run: Any, _command: Any) -> bool:
        poked.set()
        return False

    monkeypatch.setitem(control.HANDLERS, "poke", poke)

    @task
    def called() -> bool:
        run_id = recorder.run("called").id
        search = Search()
        search.ask(Command("bad", run_id))
        search.ask(Command("poke", run_id))
        return poked.wait(TIMEOUT_S)

    @flow
    def outer() -> bool:
        return called()

    assert outer()
    assert "by the test" in caplog.text


def test_hooks_after_the_end_are_not_cancelled(recorder: Recorder) -> None:
    """A command that comes late must not stop the calls of a hook."""

    def hook(_task: Any, run: Any, _state: Any) -> None:
        control.RunControl(run).take(Command(CANCEL, str(run.id), "late"))
        assert ticks() == 1

    @task(on_completion=[hook])
    def called() -> str:
        return "value"

    @flow
    def outer() -> str:
        value = called()
        ticks()
        return value

    assert outer() == "value"
    assert recorder.end("outer") == ("COMPLETED", "Completed")
    assert len([run for run in recorder.runs if run.function_name == "ticks"]) == 2
