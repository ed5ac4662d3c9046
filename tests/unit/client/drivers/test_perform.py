"""The performers of steps, and where a deadline may interrupt the user code that they call."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

from flowspan import flow, task, telemetry
from flowspan.core import steps
from flowspan.core.stages import Stage, stages_of
from flowspan.core.steps import RUN_FUNCTION, CallBlocking, CallUser, RunFunction, Sleep, Step
from flowspan.drivers import perform, perform_async
from flowspan.drivers.calls import aio, aio_generators, deadlines, generators, sync
from flowspan.drivers.cancellation import safe_points
from flowspan.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

    from tests.support.recorder import Recorder

    from flowspan.core.engine import EngineIO
    from flowspan.core.run import Run
    from flowspan.core.steps import Steps

# The alarm must be free: a test runner that guards its tests with it would keep it.
pytestmark = pytest.mark.timeout(300, method="thread")

FAR_S = 300.0


class Ask(Step):
    """A step that only this test knows."""

    def __init__(self, question: str) -> None:
        self.question = question


class AskingStage(Stage):
    def __init__(self) -> None:
        self.answers: list[Any] = []

    def before_end(self, _run: Run, _io: EngineIO, state: Any) -> Steps[Any]:
        self.answers.append((yield Ask("how?")))
        try:
            yield Ask("")
        except ValueError as error:
            self.answers.append(str(error))
        return None


def test_a_new_step_needs_one_performer_for_each_kind_of_driver(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(step: Ask, run: Run | None, _span: object) -> str:
        assert run is not None
        if not step.question:
            raise ValueError("no question")
        return f"{step.question} {run.definition.name}"

    async def answer_later(step: Ask, run: Run | None, span: object) -> str:
        await asyncio.sleep(0)
        return answer(step, run, span)

    monkeypatch.setitem(perform.PERFORMERS, Ask, answer)
    monkeypatch.setitem(perform_async.PERFORMERS, Ask, answer_later)
    stage = AskingStage()

    @task
    def plain() -> None: ...

    @task
    async def later() -> None: ...

    @task
    def generator() -> Any:
        yield 1

    @task
    async def async_generator() -> Any:
        yield 1

    async def consume() -> list[Any]:
        return [value async for value in async_generator()]

    for definition in (plain, later, generator, async_generator):
        definition.stages = stages_of(stage)
    plain()
    asyncio.run(later())
    assert list(generator()) == [1]
    assert asyncio.run(consume()) == [1]
    names = ("plain", "later", "generator", "async_generator")
    assert stage.answers == [text for name in names for text in (f"how? {name}", "no question")]


def test_both_performers_know_each_step() -> None:
    known = {
        each for each in vars(steps).values() if isinstance(each, type) and issubclass(each, Step)
    } - {Step, steps.Call, RunFunction}
    assert set(perform.PERFORMERS) == known
    assert set(perform_async.PERFORMERS) == known


def test_steps_are_performed_outside_of_runs_too() -> None:
    def some() -> Steps[list[Any]]:
        seen = [(yield CallUser(len, ("ab",))), (yield CallBlocking(max, (1, 3))), (yield Sleep(0))]
        try:
            yield CallBlocking(int, ("x",))
        except ValueError:
            seen.append("raised")
        return seen

    assert perform.perform_all(some(), None) == [2, 3, None, "raised"]
    assert asyncio.run(perform_async.perform_all(some())) == [2, 3, None, "raised"]


def test_a_closed_coroutine_performs_plain_user_code_only() -> None:
    run: Any = MagicMock()
    assert perform_async.perform_closed(CallUser(len, ("ab",)), run) == 2
    assert perform_async.perform_closed(CallBlocking(len, ("ab",)), run) is None
    assert perform_async.perform_closed(Sleep(FAR_S), run) is None
    assert perform_async.perform_closed(RUN_FUNCTION, run) is None


# Where a deadline may interrupt: each frame of flowspan's between user code and the driver below it
# is marked. Each form below calls `Frames.look` from user code.

DRIVERS: dict[CodeType, str] = {
    function.__code__: name
    for name, function in {
        "sync": sync.drive,
        "generator": generators.iterate,
        "deadline": deadlines._call,
        "steps": perform.perform_all,
        "async": aio.drive,
        "async generator": aio_generators.iterate,
    }.items()
}
"""The functions where a driver begins, or where a deadline does."""


class Frames:
    """The frames between user code and the driver that called it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, list[CodeType], bool]] = []

    def look(self, *_: object) -> bool:
        """Called by user code, or as user code: notes the frames below it."""
        frame: FrameType | None = sys._getframe()
        may_interrupt = safe_points.may_interrupt(frame)
        between: list[CodeType] = []
        while frame is not None:
            if frame.f_globals["__name__"].startswith("flowspan."):
                between.append(frame.f_code)
                if frame.f_code in DRIVERS:
                    self.seen.append((DRIVERS[frame.f_code], between, may_interrupt))
                    return True
            frame = frame.f_back
        raise AssertionError("no driver called this")


Form = tuple[str, "Callable[[Frames], object]"]
forms: dict[str, tuple[str, Callable[[Frames], object]]] = {}
"""How user code is called, by name: the driver that is expected, and what does it."""


def form(driver: str) -> Callable[[Callable[[Frames], object]], Callable[[Frames], object]]:
    def add(do: Callable[[Frames], object]) -> Callable[[Frames], object]:
        forms[do.__name__.strip("_").replace("_", " ")] = driver, do
        return do

    return add


@form("sync")
def _a_task(frames: Frames) -> None:
    task(frames.look)()


@form("sync")
def _a_flow_and_a_task_in_it(frames: Frames) -> None:
    @flow
    def outer() -> None:
        frames.look()
        task(frames.look)()
        flow(frames.look)()

    outer()


@form("sync")
def _a_submitted_task(frames: Frames) -> None:
    task(frames.look).submit().result()


@form("deadline")
def _a_task_with_a_deadline(frames: Frames) -> None:
    task(timeout_seconds=FAR_S)(frames.look)()


@form("deadline")
def _a_task_with_a_deadline_in_a_thread(frames: Frames) -> None:
    thread = threading.Thread(target=task(timeout_seconds=FAR_S)(frames.look))
    thread.start()
    thread.join()


@form("deadline")
def _a_flow_with_a_deadline(frames: Frames) -> None:
    flow(timeout_seconds=FAR_S)(frames.look)()


def _consume(values: Any) -> None:
    next(values)
    values.send(1)
    with pytest.raises(StopIteration):
        values.throw(ValueError)


def _body(frames: Frames) -> Callable[[], Iterator[int]]:
    def body() -> Iterator[int]:
        try:
            frames.look()
            yield 1
            frames.look()
            yield 2
        except ValueError:
            frames.look()
        finally:
            frames.look()

    return body


@form("generator")
def _a_generator(frames: Frames) -> None:
    _consume(task(_body(frames))())
    _consume(flow(_body(frames))())


@form("generator")
def _a_generator_that_is_closed(frames: Frames) -> None:
    values = task(_body(frames))()
    next(values)
    values.close()


@form("deadline")
def _a_generator_with_a_deadline(frames: Frames) -> None:
    _consume(task(timeout_seconds=FAR_S)(_body(frames))())


@form("sync")
def _a_generator_that_is_submitted(frames: Frames) -> None:
    task(_body(frames)).submit().result()


@form("sync")
def _a_generator_that_a_plain_function_returns(frames: Frames) -> None:
    made = _body(frames)()
    task(lambda: made)()


@form("sync")
def _a_hook(frames: Frames) -> None:
    task(on_running=[frames.look], on_completion=[frames.look])(lambda: 1)()
    flow(on_running=[frames.look], on_completion=[frames.look])(lambda: 1)()


@form("generator")
def _a_hook_of_a_generator(frames: Frames) -> None:
    hooked = task(on_running=[frames.look], on_completion=[frames.look])
    list(hooked(lambda: (yield 1))())


@form("sync")
def _a_retry_condition(frames: Frames) -> None:
    failing = task(retries=1, retry_condition_fn=frames.look)(lambda: 1 / 0)
    failing(return_state=True)


@form("sync")
def _a_hook_of_a_task_s_transaction(frames: Frames) -> None:
    task(on_commit=[frames.look])(lambda: 1)()


@form("steps")
def _a_hook_of_a_block(frames: Frames) -> None:
    committed, rolled_back = task(on_commit=[frames.look]), task(on_rollback=[frames.look])
    with transaction():
        committed(lambda: 1)()
    with transaction() as block:
        rolled_back(lambda: 1)()
        block.rollback()


@pytest.mark.parametrize("is_traced", [False, True], ids=["", "traced"])
@pytest.mark.parametrize("name", forms)
def test_promise_each_frame_from_user_code_to_the_driver_is_marked(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, name: str, is_traced: bool
) -> None:
    if is_traced:
        monkeypatch.setattr(telemetry, "start_run", lambda *_: MagicMock())
    driver, do = forms[name]
    frames = Frames()
    do(frames)
    assert frames.seen
    for found, between, may_interrupt in frames.seen:
        assert found == driver
        assert may_interrupt
        unmarked = [
            code.co_qualname
            for code in between
            if code not in safe_points._calling and code not in safe_points._waiting
        ]
        assert not unmarked, f"mark with @calls_user_code: {unmarked}"


def test_coroutines_are_interrupted_through_asyncio(recorder: Recorder) -> None:
    """So a deadline of plain code around them never raises in the middle of a loop."""
    frames = Frames()

    async def look(*_: object) -> None:
        frames.look()

    async def body() -> Any:
        frames.look()
        yield 1

    async def consume() -> None:
        await task(look)()
        await task(on_running=[frames.look, look])(look)()
        await flow(timeout_seconds=FAR_S)(look)()
        async for _ in task(body)():
            pass

    asyncio.run(consume())
    assert [driver for driver, _, _ in frames.seen] == ["async"] * 5 + ["async generator"]
    marked = safe_points._calling | safe_points._waiting
    for _, between, may_interrupt in frames.seen:
        assert not may_interrupt
        assert not marked.intersection(between)
