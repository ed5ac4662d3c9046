"""A real worker process under a recorded parent, for behaviour that a fake cannot show.

Each test starts a process, which takes a while, so related checks share one test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.traced_runs import make_record

from flowspan import flow, runtime, tags, task
from flowspan.core.commands import Command
from flowspan.core.events import ARTIFACT, CREATED, LOG, STATE
from flowspan.core.run import current_run
from flowspan.core.states import CANCELLED, CRASHED
from flowspan.drivers.processes import worker_handle as handle
from flowspan.drivers.processes.event_relay import Relay
from flowspan.drivers.processes.pipe_messages import FORGET, WATCH
from flowspan.exceptions import CancelRun, WorkerProcessDied
from flowspan.task_runners import ProcessPoolTaskRunner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.recorder import Recorder

ONE = ProcessPoolTaskRunner(max_workers=1)


@task
def leaf(x: int) -> int:
    return x + 1


@task
def facts(size: int = 5) -> tuple[Any, ...]:
    leaf(1)
    run = current_run.get()
    assert run is not None
    return (
        os.getpid(),
        runtime.flow_run.name,
        runtime.flow_run.parameters,
        runtime.flow_run.root_flow_run_id,
        runtime.task_run.name,
        runtime.task_run.run_count,
        runtime.task_run.tags,
        runtime.task_run.parameters,
        run.parent is not None and run.parent.name,
    )


@task
async def gives() -> Any:
    for x in range(3):
        yield x


@task
def is_called_with(*args: object, **kwargs: object) -> tuple[Any, ...]:
    return args, kwargs


class Worker:
    def __init__(self, base: int) -> None:
        self.base = base

    @task
    def add(self, x: int) -> int:
        return self.base + x


def test_the_worker_is_used_again_and_knows_where_it_is(recorder: Recorder) -> None:
    @flow(flow_run_name="top", task_runner=ONE)
    def outer(size: int) -> None:
        with tags("a"):
            first = facts.submit()
        second = facts.with_options(name="other").submit()
        pid, *rest = first.result()
        assert pid != os.getpid()
        top = recorder.run("outer")
        assert rest == ["top", {"size": 3}, top.id, "facts-0", 1, ["a"], {"size": 5}, "top"]
        assert second.result()[0] == pid
        # A generator's values become a list, methods are sent with their object, classes by name.
        assert gives.submit().result() == [0, 1, 2]
        assert Worker(5).add.submit(1).result() == 6
        given = ((1, Worker), {"key": {"deep": [first]}})
        got = is_called_with.submit(*given[0], **given[1]).result()
        assert got == ((1, Worker), {"key": {"deep": [first.result()]}})

    outer(3)
    names = [run.run_name for run in recorder.runs if run.function_name == "leaf"]
    assert names == ["leaf-w1-0", "leaf-w1-1"]


def test_a_worker_that_died_while_idle_is_replaced(recorder: Recorder) -> None:
    @flow(task_runner=ONE)
    def outer() -> None:
        pid = facts.submit().result()[0]
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # Leave the zombie for its parent.
        assert facts.submit().result()[0] != pid

    outer()


@task
def refuses_to_stop(path: Path) -> None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    stays_open(path)


@flow
def stays_open(path: Path) -> None:
    path.touch()
    while True:
        with suppress(BaseException):
            time.sleep(0.01)


def test_promise_what_does_not_stop_when_cancelled_is_killed(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "CANCEL_GRACE_S", 0.1)
    path = tmp_path / "running"

    @flow(task_runner=ONE)
    def outer() -> None:
        future = refuses_to_stop.submit(path)
        while not path.exists():
            time.sleep(0.01)
        current_run.get().scope.cancel("enough")
        future.wait()

    with pytest.raises(CancelRun, match="enough"):
        outer()
    for name in ("refuses_to_stop", "stays-open", "outer"):
        assert recorder.end(name) == ("CANCELLED", "Cancelled")
    assert recorder.last_event("stays-open")[5] == "Stopped: enough"


def test_a_worker_that_cannot_be_started_crashes_the_run_and_says_so(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))

    @flow(task_runner=ONE)
    def outer() -> Any:
        return facts.submit()

    with pytest.raises(WorkerProcessDied, match=r"could not be started .*exit code 3") as caught:
        outer()
    assert caught.value.exit_code == 3
    assert recorder.end("facts") == ("CRASHED", "Crashed")


@pytest.mark.parametrize(
    ("code", "words", "name"),
    [
        (-signal.SIGKILL, "SIGKILL (by hand, or by the system because memory ran out)", "SIGKILL"),
        (-signal.SIGSEGV, "SIGSEGV (a fault in native code)", "SIGSEGV"),
        (-signal.SIGRTMAX, "was ended by SIGRTMAX", "SIGRTMAX"),
        (5, "ended with exit code 5", ""),
        (None, "closed its connection", ""),
    ],
)
def test_how_a_process_died_is_told(code: int | None, words: str, name: str) -> None:
    error = handle._died(7, code)
    assert "The worker process 7" in str(error)
    assert words in str(error)
    assert error.signal == name


class FakeHost:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.watched: dict[str, Any] = {}
        self.relays: dict[int, Any] = {}
        self.emit = self.events.append
        self.forget = self.watched.pop
        self.watch_commands = self.watched.__setitem__

    def now_ns(self) -> int:
        return 5


def state(run_id: str, kind: int, attempt: int = 1) -> tuple[Any, ...]:
    return (STATE, run_id, attempt, kind, "", "", 0, None, None)


def test_what_a_worker_left_open_is_ended_inner_runs_first() -> None:
    host, delivered = FakeHost(), []
    relay = Relay(host, delivered.append)  # type: ignore[arg-type] # a fake
    events = [
        (CREATED, make_record("task", id="outer"), "Pending", 1),
        (WATCH, "outer"),
        (CREATED, make_record("task", id="done"), "Pending", 2),
        state("done", 6),
        (LOG, "done", 1),
        (CREATED, make_record("task", id="inner"), "Pending", 3),
        (WATCH, "inner"),
        state("inner", 3, attempt=2),
        (FORGET, "inner"),
    ]
    relay.take(events)
    assert host.events == [event for event in events if event[0] not in {WATCH, FORGET}]
    assert set(host.watched) == {"outer"}
    command = Command("some kind", "outer", "please")
    host.watched["outer"](command)
    assert delivered == [command]
    relay.open()
    assert list(host.relays.values()) == [relay]
    without_inbox = Command("some kind", "inner", "please")
    assert relay.deliver(without_inbox)
    assert not relay.deliver(Command("some kind", "done"))
    assert delivered == [command, without_inbox]
    host.events.clear()

    assert relay.end_open(CRASHED, "gone") == 2
    assert host.events == [
        (STATE, "inner", 2, CRASHED.number, "Crashed", "gone", 5, None, None),
        (STATE, "outer", 1, CRASHED.number, "Crashed", "gone", 5, None, None),
    ]
    assert not host.watched
    assert not host.relays
    assert relay.end_open(CANCELLED, "again") == 0


@task
def sleeps(path: Path) -> None:
    path.touch()
    time.sleep(600)


def test_a_future_can_be_cancelled_while_its_task_is_in_the_middle(
    recorder: Recorder, tmp_path: Path
) -> None:
    path = tmp_path / "running"

    @flow(task_runner=ONE)
    def outer() -> int:
        future = sleeps.submit(path)
        while not path.exists():
            time.sleep(0.01)
        assert future.cancel()
        with pytest.raises(CancelRun):
            future.result()
        return is_called_with.submit(1).result()

    assert outer() == ((1,), {})
    assert recorder.end("sleeps") == ("CANCELLED", "Cancelled")
    assert recorder.end("outer") == ("COMPLETED", "Completed")


class FakeSpan:
    def __init__(self) -> None:
        self.made: list[Any] = []

    def made_artifact(self, *what: Any) -> None:
        self.made.append(what)


def test_artifacts_of_the_caller_are_noted_at_its_span() -> None:
    host, span = FakeHost(), FakeSpan()
    relay = Relay(host, lambda *what: None)  # type: ignore[arg-type] # a fake
    own = (ARTIFACT, "a1", "caller", "key", "table", "", b"1", 7)
    events = [own, (ARTIFACT, "a2", "nested", "", "link", "", b"1", 8)]
    relay.take(events)
    assert not span.made
    relay.caller = SimpleNamespace(record=make_record("task", id="caller"), span=span)  # type: ignore[assignment] # a fake
    relay.take(events)
    assert span.made == [("a1", "table", "key", 7)]
    relay.caller.span = None
    relay.take(events)
    assert host.events == 3 * events


def _prepare(name: str, value: str) -> None:
    os.environ[name] = value


def test_an_initializer_is_called_before_the_first_task_of_a_worker(recorder):
    runner = ProcessPoolTaskRunner(
        max_workers=1, initializer=_prepare, initargs=("FLOWSPAN_PREPARED_BY_TEST", "yes")
    )

    @task
    def step(i):
        return os.environ.pop("FLOWSPAN_PREPARED_BY_TEST", None)

    @flow(task_runner=runner)
    def outer():
        return [step.submit(i).result() for i in range(2)]

    assert outer() == ["yes", None]
    assert "FLOWSPAN_PREPARED_BY_TEST" not in os.environ


def _refuse(text: str) -> None:
    raise ValueError(text)


def test_what_an_initializer_raises_fails_the_task(recorder):
    runner = ProcessPoolTaskRunner(max_workers=1, initializer=_refuse, initargs=("not today",))

    @task
    def step():
        return 1

    @flow(task_runner=runner)
    def outer():
        states = [step.submit(return_state=True) for _ in range(2)]
        return [repr(state.result(raise_on_failure=False)) for state in states]

    assert outer() == ["ValueError('not today')"] * 2
    with pytest.raises(TypeError, match="initializer must be a function"):
        ProcessPoolTaskRunner(initializer=5)
    assert runner == runner.duplicate() != ProcessPoolTaskRunner(max_workers=1)
