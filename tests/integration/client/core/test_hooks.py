"""Hooks: when they are called, their arguments, and the handling of their errors."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, get_run_logger, runtime, task
from flowspan.core.events import STATE
from flowspan.exceptions import CancelRun
from flowspan.states import Cancelled, Crashed, Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorder import Recorder

OPTIONS = ("on_running", "on_completion", "on_failure", "on_cancellation", "on_crashed")


class Calls:
    """Hooks that record their calls as (option, state name, attempt)."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.made: list[tuple[str, str, int]] = []

    def hook(self, option: str, *, is_async: bool) -> Callable[..., Any]:
        def note(definition: Any, run: Any, state: Any) -> None:
            # The state was reported first.
            assert self.recorder.last_event(self.recorder.run(definition.name))[4] == state.name
            assert run.state is state
            assert run.run_count == run.attempt
            self.made.append((option, state.name, run.run_count))

        async def note_later(definition: Any, run: Any, state: Any) -> None:
            await asyncio.sleep(0)
            note(definition, run, state)

        return note_later if is_async else note

    def options(self, *names: str, is_async: bool = False) -> dict[str, Any]:
        return {name: [self.hook(name, is_async=is_async)] for name in names}


@pytest.fixture
def calls(recorder: Recorder) -> Calls:
    return Calls(recorder)


async def _returned(outcome: Any) -> Any:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def run(kind: Any, outcome: Any, options: dict[str, Any], *, is_async: bool) -> None:
    """Run a sync or async flow or task that returns or raises the outcome."""

    def plain() -> Any:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def later() -> Any:
        return await _returned(outcome)

    made = kind(name="it", **options)(later if is_async else plain)
    with suppress(Exception, CancelRun, SystemExit, KeyboardInterrupt):
        asyncio.run(made()) if is_async else made()


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("hooks_are_async", [False, True])
@pytest.mark.parametrize(
    ("outcome", "option", "name"),
    [
        (1, "on_completion", "Completed"),
        (ValueError("no"), "on_failure", "Failed"),
        (Failed(name="Unlucky"), "on_failure", "Unlucky"),
        (CancelRun("stop"), "on_cancellation", "Cancelled"),
        (Cancelled(), "on_cancellation", "Cancelled"),
        (SystemExit(3), "on_crashed", "Crashed"),
        (KeyboardInterrupt(), "on_crashed", "Crashed"),
        (Crashed(), "on_crashed", "Crashed"),
    ],
)
def test_a_flows_hooks(
    calls: Calls,
    outcome: Any,
    option: str,
    name: str,
    is_async: bool,
    hooks_are_async: bool,
) -> None:
    options = calls.options(*OPTIONS, is_async=hooks_are_async)
    run(flow, outcome, options, is_async=is_async)
    assert calls.made == [("on_running", "Running", 1), (option, name, 1)]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("outcome", "made"),
    [
        (1, [("on_running", "Running", 1), ("on_completion", "Completed", 1)]),
        (
            ValueError("no"),
            [
                ("on_running", "Running", 1),
                ("on_running", "Retrying", 2),
                ("on_failure", "Failed", 2),
            ],
        ),
        (CancelRun("stop"), [("on_running", "Running", 1)]),
    ],
)
def test_a_tasks_hooks(calls: Calls, outcome: Any, made: Any, is_async: bool) -> None:
    options = calls.options("on_running", "on_completion", "on_failure")
    run(task, outcome, {**options, "retries": 1}, is_async=is_async)
    assert calls.made == made


def test_a_hook_that_raises_is_logged_and_stops_nobody(recorder: Recorder, calls: Calls) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("broken hook")

    for is_async in (False, True):
        calls.made.clear()
        recorder.events.clear()
        options = calls.options("on_running", "on_completion", "on_failure")
        run(task, 5, {name: [breaks, *hooks] for name, hooks in options.items()}, is_async=is_async)
        assert [option for option, _, _ in calls.made] == ["on_running", "on_completion"]
        assert recorder.end("it") == ("COMPLETED", "Completed")
        (first, second) = recorder.logs("it", level=40)
        assert first.startswith("The on_running hook 'breaks' raised")
        assert second.startswith("The on_completion hook 'breaks' raised")
        assert "RuntimeError: broken hook" in second


def test_hooks_are_inside_of_the_run(recorder: Recorder) -> None:
    seen: list[Any] = []

    def hook(definition: Any, run: Any, state: Any) -> None:
        get_run_logger().info("from the hook of %s", definition.name)
        seen.append(
            (str(run.id), run.name, run.parameters, run.tags, runtime.flow_run.id, state.data)
        )

    @flow(flow_run_name="n-{n}", on_completion=[hook])
    def doubled(n: int) -> int:
        return 2 * n

    @flow(name="later", on_completion=[hook])
    async def later() -> str:
        return "done"

    doubled(4)
    asyncio.run(later())
    first, second = recorder.run("doubled"), recorder.run("later")
    assert seen == [
        (first.id, "n-4", {"n": 4}, [], first.id, 8),
        (second.id, second.run_name, {}, [], second.id, "done"),
    ]
    assert "from the hook of doubled" in recorder.logs("doubled")
    assert "from the hook of later" in recorder.logs("later")


def test_the_call_returns_after_its_hooks_and_before_them_nobody_waits(recorder: Recorder) -> None:
    flushed: list[int] = []

    @flow(on_completion=[lambda *_: flushed.append(recorder.flushes)])
    def top() -> None: ...

    top()
    assert (flushed, recorder.flushes) == ([0], 1)


def test_hooks_of_runs_that_never_began(recorder: Recorder, calls: Calls) -> None:
    options = calls.options(*OPTIONS)
    task_options = calls.options("on_running", "on_completion", "on_failure")

    def fn(n: int) -> int:
        return n

    async def fn_later(n: int) -> int:
        return n

    def bad_name() -> str:
        raise ValueError("no name")

    assert flow(name="a", **options)(fn)("x", return_state=True).is_failed()
    state = asyncio.run(flow(name="b", **options)(fn_later)("x", return_state=True))
    assert state.is_failed()
    assert calls.made == [("on_failure", "Failed", 1)] * 2
    calls.made.clear()
    named = task(name="c", task_run_name=bad_name, **task_options)(fn)
    assert named(1, return_state=True).is_failed()
    assert calls.made == [("on_failure", "Failed", 1)]
    calls.made.clear()

    @flow
    def outer() -> None:
        named.with_options(name="d").submit(1).wait()
        down = task(name="e", **task_options)(fn).submit(named.with_options(name="f").submit(1))
        down.wait()

    outer()
    # The task that was not ready is neither completed nor failed.
    assert calls.made == [("on_failure", "Failed", 1)] * 2
    assert recorder.end("e") == ("CANCELLED", "NotReady")


def test_hooks_of_submitted_and_mapped_tasks(recorder: Recorder) -> None:
    seen: list[str] = []

    async def later(_task: Any, run: Any, _state: Any) -> None:
        await asyncio.sleep(0)
        seen.append(run.name)

    def plain(_task: Any, run: Any, _state: Any) -> None:
        seen.append(run.name)

    @task(on_completion=[later, plain])
    def one(n: int) -> int:
        return n

    @task(on_completion=[later, plain])
    async def two(n: int) -> int:
        return n

    @flow
    def outer() -> list[int]:
        return [*one.map(range(2)).result(), *two.map(range(2)).result()]

    assert outer() == [0, 1, 0, 1]
    # A future is done only after the hooks of its run.
    assert sorted(seen) == ["one-0", "one-0", "one-1", "one-1", "two-0", "two-0", "two-1", "two-1"]


def test_hooks_may_call_tasks_also_when_the_run_was_cancelled(recorder: Recorder) -> None:
    @task
    def clean_up(how: str) -> None: ...

    def hook(*_: object) -> None:
        clean_up("called")
        clean_up.submit("submitted")

    async def hook_later(*_: object) -> None:
        clean_up("called")
        clean_up.submit("submitted")

    def fn() -> None:
        recorder.cancels[recorder.runs[0].id]("somebody asked")
        clean_up("too late")

    async def fn_later() -> None:
        recorder.cancels[recorder.runs[0].id]("somebody asked")
        await asyncio.sleep(30)

    for function in (fn, fn_later):
        recorder.events.clear()
        made = flow(name="it", on_cancellation=[hook, hook_later])(function)
        state = made(return_state=True)
        state = asyncio.run(state) if asyncio.iscoroutine(state) else state
        assert state.is_cancelled()
        (top, *cleaned) = recorder.runs
        assert [run.parent_run_id for run in cleaned] == [top.id] * 4
        assert {recorder.end(run) for run in cleaned} == {("COMPLETED", "Completed")}


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("is_async", [False, True])
def test_ctrl_c_in_a_hook_of_the_end_goes_on_to_the_caller(
    recorder: Recorder, signal: type[BaseException], is_async: bool
) -> None:
    """The run keeps its reported state, its other hooks are skipped, and its caller crashes."""
    seen: list[str] = []

    def interrupted(*_: object) -> None:
        raise signal

    options = {"on_completion": [interrupted, lambda *_: seen.append("after")]}

    def fn() -> None: ...

    async def fn_later() -> None: ...

    inner = task(name="inner", **options)(fn_later if is_async else fn)

    @flow
    def outer() -> None:
        inner()

    @flow(name="outer")
    async def outer_later() -> None:
        await inner()

    with pytest.raises(signal):
        asyncio.run(outer_later()) if is_async else outer()
    assert recorder.end("inner") == ("COMPLETED", "Completed")
    assert recorder.end("outer") == ("CRASHED", "Crashed")
    assert seen == []


@pytest.mark.parametrize("is_async", [False, True])
def test_ctrl_c_in_a_hook_of_running_breaks_the_run_off(recorder: Recorder, is_async: bool) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def fn() -> None:
        raise AssertionError

    async def fn_later() -> None:
        raise AssertionError

    it = task(name="it", on_running=[interrupted])(fn_later if is_async else fn)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(it()) if is_async else it()
    assert recorder.end("it") == ("CRASHED", "Crashed")


@pytest.mark.parametrize("where", ["function", "hook"])
def test_ctrl_c_that_asyncio_handles(recorder: Recorder, where: str) -> None:
    """`asyncio.run` turns it into a cancellation, but it still counts as a crash."""
    seen: list[str] = []

    async def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.get_running_loop().create_future()

    async def hook(_flow: Any, _run: Any, state: Any) -> None:
        seen.append(state.name)
        if where == "hook":
            await interrupted()

    hooks = {option: [hook, hook] for option in OPTIONS[1:]}

    @flow(name="inner", **hooks)
    async def inner() -> None:
        if where == "function":
            await interrupted()

    @flow
    async def outer() -> None:
        await inner()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(outer())
    assert seen == (["Crashed", "Crashed"] if where == "function" else ["Completed"])
    assert recorder.end("inner")[1] == seen[0]
    assert recorder.end("outer") == ("CRASHED", "Crashed")


@pytest.mark.parametrize("is_async", [False, True])
def test_an_exit_in_a_hook_of_a_submitted_task_is_logged(
    recorder: Recorder, is_async: bool
) -> None:
    """An exit in a pool thread has no effect; the waiting caller gets the run's result."""

    def leave(*_: object) -> None:
        raise SystemExit

    def fn() -> int:
        return 5

    async def fn_later() -> int:
        return 5

    it = task(name="it", on_completion=[leave])(fn_later if is_async else fn)

    @flow
    def outer() -> int:
        return it.submit().result()

    assert outer() == 5
    assert recorder.logs("it", level=40)[0].startswith("Its hooks were interrupted")


def test_a_closed_coroutine_still_calls_plain_hooks(recorder: Recorder, calls: Calls) -> None:
    async def never(*_: object) -> None:
        raise AssertionError

    @flow(name="it", on_crashed=[never, *calls.options("on_crashed")["on_crashed"]])
    async def it() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        coroutine = it()
        coroutine.send(None)
        coroutine.close()

    asyncio.run(main())
    assert calls.made == [("on_crashed", "Crashed", 1)]


@pytest.mark.parametrize("kind", [flow, task])
def test_hooks_as_decorators(kind: Any, recorder: Recorder) -> None:
    seen: list[str] = []

    @kind(name="it", on_completion=[lambda *_: seen.append("first")])
    def it() -> None: ...

    @it.on_completion
    def second(*_: object) -> None:
        seen.append("second")

    @it.on_completion()
    async def third(*_: object) -> None:
        seen.append("third")

    @it.on_running
    def begins(*_: object) -> None:
        seen.append("begins")

    assert callable(second)
    assert inspect.iscoroutinefunction(third)
    copy = it.with_options(name="copy")
    replaced = it.with_options(name="replaced", on_completion=[lambda *_: seen.append("only")])
    without = it.with_options(name="without", on_completion=[], on_running=None)
    for each, expected in (
        (it, ["begins", "first", "second", "third"]),
        (copy, ["begins", "first", "second", "third"]),
        (replaced, ["begins", "only"]),
        (without, ["begins"]),
    ):
        seen.clear()
        each()
        assert seen == expected

    @copy.on_completion
    def fourth(*_: object) -> None: ...

    assert len(it.hooks.of("on_completion")) == 3


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("hooks_are_async", [False, True])
def test_hooks_of_generators(
    recorder: Recorder, calls: Calls, is_async: bool, hooks_are_async: bool
) -> None:
    def values() -> Any:
        yield 1
        yield 2

    async def values_later() -> Any:
        yield 1
        yield 2

    options = calls.options("on_running", "on_completion", is_async=hooks_are_async)
    made = flow(name="it", **options)(values_later if is_async else values)

    async def to_the_end() -> None:
        assert [value async for value in made()] == [1, 2]

    async def closed() -> None:
        iterator = made()
        assert await anext(iterator) == 1
        await iterator.aclose()

    if is_async:
        asyncio.run(to_the_end())
    else:
        assert list(made()) == [1, 2]
    assert calls.made == [("on_running", "Running", 1), ("on_completion", "Completed", 1)]
    calls.made.clear()
    recorder.events.clear()
    if is_async:
        asyncio.run(closed())
    else:
        iterator = made()
        assert next(iterator) == 1
        iterator.close()
    assert calls.made == [("on_running", "Running", 1), ("on_completion", "Completed", 1)]


def test_hooks_of_methods(recorder: Recorder) -> None:
    seen: list[Any] = []

    class Loader:
        @task(on_completion=[lambda task, run, state: seen.append(state.result())])
        def load(self) -> str:
            return "loaded"

    Loader().load()
    assert seen == ["loaded"]


@pytest.mark.parametrize("kind", [flow, task])
@pytest.mark.parametrize(
    ("hooks", "words"),
    [
        (print, r"on_failure must be a list of functions \(on_failure=\[…\]\), not <built-in"),
        ("abc", "on_failure must be a list"),
        ([print, 5], "on_failure must be .*; 5 cannot be called"),
    ],
)
def test_bad_hooks_are_refused(kind: Any, hooks: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        kind(name="it", on_failure=hooks)(lambda: None)
    it = kind(name="it")(lambda: None)
    with pytest.raises(TypeError, match="5 cannot be called"):
        it.on_failure(5)


def test_without_hooks_there_is_no_record() -> None:
    assert flow(name="it", on_failure=[])(lambda: None).hooks is None
    assert task(name="it")(lambda: None).hooks is None


def test_hooks_come_after_the_state_in_the_events(recorder: Recorder) -> None:
    at: list[int] = []

    @task(on_failure=[lambda *_: at.append(len(recorder.events))])
    def bad() -> None:
        raise ValueError

    assert bad(return_state=True).is_failed()
    last_state = max(i for i, event in enumerate(recorder.events) if event[0] == STATE)
    assert at == [last_state + 1]
