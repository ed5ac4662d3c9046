"""Stages: what is called around the attempts of a run, in which order, in each kind of code."""

from __future__ import annotations

import asyncio
import pickle
import time
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.core.hooks import HOOKS
from flowspan.core.result_options import RESULTS
from flowspan.core.retries import RETRIES
from flowspan.core.run import current_run
from flowspan.core.stages import NO_STAGES, RETRY, Stage, add_stage, stages_of
from flowspan.core.states import COMPLETED, State
from flowspan.core.steps import CallBlocking, CallUser, Sleep
from flowspan.exceptions import CancelRun
from flowspan.transactions import get_transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.recorder import Recorder

    from flowspan.core.engine import EngineIO
    from flowspan.core.run import Run
    from flowspan.core.stages import Retry
    from flowspan.core.steps import Steps

POINTS = (
    "before_run",
    "before_attempt",
    "after_attempt",
    "after_failed_attempt",
    "before_retry",
    "before_end",
    "after_end",
)


class Probe(Stage):
    """Notes each point by steps of its own, and answers or raises what a test wants there."""

    def __init__(self, **answers: Any) -> None:
        self.seen: list[tuple[str, str]] = []
        self.answers = answers
        self.was_broken_off = False

    def note(self, point: str, state: str) -> str:
        self.seen.append((point, state))
        return point

    async def note_later(self, point: str, state: str) -> str:
        await asyncio.sleep(0)
        return self.note(point, state)

    def _at(self, point: str, state: State | None) -> Steps[Any]:
        name = "" if state is None else state.name
        yield Sleep(0)
        assert (yield CallBlocking(str.upper, (point,))) == point.upper()
        note = self.note_later if len(self.seen) % 2 else self.note
        assert (yield CallUser(note, (point, name))) == point
        answer = self.answers.get(point)
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer

    def before_run(self, _run: Run, _io: EngineIO) -> Steps[State | None]:
        return self._at("before_run", None)

    def before_attempt(self, _run: Run, _io: EngineIO, state: State) -> Steps[None]:
        return self._at("before_attempt", state)

    def after_attempt(self, _run: Run, _io: EngineIO, state: State) -> Steps[None]:
        return self._at("after_attempt", state)

    def after_failed_attempt(
        self, _run: Run, _io: EngineIO, state: State
    ) -> Steps[State | Retry | None]:
        return self._at("after_failed_attempt", state)

    def before_retry(self, _run: Run, _io: EngineIO) -> Steps[None]:
        return self._at("before_retry", None)

    def before_end(self, _run: Run, _io: EngineIO, state: State) -> Steps[State | None]:
        return self._at("before_end", state)

    def after_end(self, _run: Run, _io: EngineIO, state: State) -> Steps[None]:
        return self._at("after_end", state)

    def broken_off(self, _run: Run) -> None:
        self.was_broken_off = True


def completed(name: str) -> Callable[[], State]:
    return lambda: State(COMPLETED, name, time_ns=time.time_ns())


def plain(outcome: Callable[[], Any]) -> Any:
    return outcome()


async def later(outcome: Callable[[], Any]) -> Any:
    await asyncio.sleep(0)
    return outcome()


def generator(outcome: Callable[[], Any]) -> Any:
    yield outcome()


async def async_generator(outcome: Callable[[], Any]) -> Any:
    yield outcome()


def call(definition: Any, *args: Any) -> None:
    """Calls a flow or task of any kind to its end; what it raises is not of interest here."""

    async def consume() -> None:
        if definition.is_generator:
            async for _ in definition(*args):
                pass
        else:
            await definition(*args)

    try:
        if definition.is_async:
            asyncio.run(consume())
        elif definition.is_generator:
            list(definition(*args))
        else:
            definition(*args)
    except ValueError:
        pass


def outcomes(*given: Any) -> Callable[[], Any]:
    """A function that returns or raises one thing after the other."""
    left = list(given)

    def outcome() -> Any:
        value = left.pop(0)
        if isinstance(value, BaseException):
            raise value
        return value

    return outcome


every_kind = pytest.mark.parametrize("fn", [plain, later, generator, async_generator])


@every_kind
@pytest.mark.parametrize("decorator", [flow, task])
def test_a_stage_sees_each_point_in_order(recorder: Recorder, fn: Any, decorator: Any) -> None:
    definition, probe = decorator(fn), Probe()
    definition.stages = stages_of(probe)
    call(definition, outcomes(1))
    assert probe.seen == [
        ("before_run", ""),
        ("before_attempt", "Running"),
        ("after_attempt", "Completed"),
        ("before_end", "Completed"),
        ("after_end", "Completed"),
    ]
    assert recorder.states(recorder.runs[0]) == [("Running", 1), ("Completed", 1)]
    assert not probe.was_broken_off


@every_kind
def test_a_stage_sees_a_retry(recorder: Recorder, fn: Any) -> None:
    definition, probe = task(retries=1)(fn), Probe()
    definition.stages = stages_of(probe, *definition.stages.all)
    call(definition, outcomes(ValueError("no"), 1))
    assert probe.seen == [
        ("before_run", ""),
        ("before_attempt", "Running"),
        ("after_attempt", "Failed"),
        ("after_failed_attempt", "Failed"),
        ("before_retry", ""),
        ("before_attempt", "Retrying"),
        ("after_attempt", "Completed"),
        ("before_end", "Completed"),
        ("after_end", "Completed"),
    ]
    assert recorder.states(recorder.runs[0])[-1] == ("Completed", 2)


@every_kind
def test_a_stage_may_ask_for_a_retry(recorder: Recorder, fn: Any) -> None:
    definition, probe = task(fn), Probe(after_failed_attempt=RETRY)
    definition.stages = stages_of(probe)
    call(definition, outcomes(ValueError("1"), ValueError("2"), 3))
    assert [name for name, _ in probe.seen].count("before_retry") == 2
    assert recorder.states(recorder.runs[0])[-1] == ("Completed", 3)


@every_kind
def test_a_stage_may_end_a_run_that_has_not_begun(recorder: Recorder, fn: Any) -> None:
    first = Probe(before_run=completed("Found"))
    second = Probe()
    definition = task(fn)
    definition.stages = stages_of(first, second)
    call(definition, outcomes())
    assert first.seen == [("before_run", ""), ("after_end", "Found")]
    assert second.seen == [("after_end", "Found")]
    assert recorder.states(recorder.runs[0]) == [("Found", 1)]


@every_kind
def test_a_stage_may_replace_the_terminal_state(recorder: Recorder, fn: Any) -> None:
    first = Probe(before_end=completed("Replaced"))
    second = Probe()
    definition = task(fn)
    definition.stages = stages_of(first, second)
    call(definition, outcomes(1))
    assert ("before_end", "Replaced") in second.seen
    assert first.seen[-1] == ("after_end", "Replaced")
    assert recorder.end(recorder.runs[0]) == ("COMPLETED", "Replaced")


@every_kind
@pytest.mark.parametrize("point", POINTS[:-1])
def test_an_error_of_a_stage_ends_the_run(recorder: Recorder, fn: Any, point: str) -> None:
    answers: dict[str, Any] = {point: ValueError("of the stage")}
    if point == "before_retry":
        answers["after_failed_attempt"] = RETRY
    definition, probe = task(fn), Probe(**answers)
    definition.stages = stages_of(probe)
    call(definition, outcomes(ValueError("of the task")))
    assert recorder.end(recorder.runs[0]) == ("FAILED", "Failed")
    assert recorder.last_event(recorder.runs[0])[5] == "ValueError: of the stage"
    is_left_to_the_engine = point not in {"after_attempt", "after_failed_attempt", "before_retry"}
    assert probe.was_broken_off is not is_left_to_the_engine
    assert (probe.seen[-1][0] == "after_end") is is_left_to_the_engine


def test_an_error_after_the_end_goes_to_the_caller(recorder: Recorder) -> None:
    definition, probe = task(plain), Probe(after_end=CancelRun("late"))
    definition.stages = stages_of(probe)
    with pytest.raises(CancelRun, match="late"):
        definition(outcomes(1))
    assert recorder.end(recorder.runs[0]) == ("COMPLETED", "Completed")
    assert not probe.was_broken_off


def test_a_stage_that_is_added_during_the_run_sees_the_rest(recorder: Recorder) -> None:
    probe = Probe()

    @task
    def adds() -> None:
        run = current_run.get()
        assert run is not None
        assert run.stages is NO_STAGES
        add_stage(run, probe)

    adds()
    assert [point for point, _ in probe.seen] == ["after_attempt", "before_end", "after_end"]


def test_a_run_that_never_begins_passes_no_point(recorder: Recorder) -> None:
    probe = Probe()

    @flow
    def needs(x: int) -> None: ...

    needs.stages = stages_of(probe)
    with pytest.raises(Exception, match="x"):
        needs()  # type: ignore[call-arg]
    assert probe.seen == []


def test_the_stages_follow_from_the_options(recorder: Recorder, tmp_path: Path) -> None:
    seen: list[Any] = []

    def stages() -> tuple[Stage, ...]:
        run = current_run.get()
        assert run is not None
        return run.stages.all

    ordinary: Any = task(lambda: seen.append(stages()))
    ordinary()
    assert ordinary.stages is NO_STAGES

    ordinary.retries = 2
    assert ordinary.stages.all == (RETRIES,)
    ordinary.on_failure(lambda *_: None)
    assert ordinary.stages.all == (HOOKS, RETRIES)
    ordinary()
    ordinary.with_options(persist_result=True, result_storage=tmp_path)()
    assert seen == [(), (HOOKS, RETRIES), (RESULTS, HOOKS, RETRIES)]

    ordinary.retries = 0
    assert ordinary.stages is stages_of(HOOKS)


def test_a_run_whose_transaction_is_asked_for_keeps_its_result_from_then_on(
    recorder: Recorder,
) -> None:
    @task
    def asks() -> tuple[Any, Any]:
        run = current_run.get()
        assert run is not None
        before = run.stages.all
        get_transaction()
        return before, run.stages.all

    assert asks() == ((), (RESULTS,))


def hook(*_: object) -> None: ...


@task(retries=1, on_failure=[hook])
def importable() -> None: ...


def test_a_copy_has_the_stages_too() -> None:
    copied = importable.with_options(name="copied")
    assert copied.stages is importable.stages
    by_value = pickle.loads(pickle.dumps(copied))  # noqa: S301 - our own
    assert by_value.stages is importable.stages
