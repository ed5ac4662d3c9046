"""The engine's generator, driven by hand: with its own clock, no threads and no sleep."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.recorder import Recorder, check_legal

from flowspan import states
from flowspan.core.engine import EngineIO, announce, execute, never_run, not_ready
from flowspan.core.events import STATE, RunRecord
from flowspan.core.retries import RetryPolicy
from flowspan.core.run import Run
from flowspan.core.steps import Call, Sleep
from flowspan.drivers.cancellation.scope import CancelScope
from flowspan.exceptions import CancelRun, DeadlinePassed, RunTimeout, UpstreamFailed
from flowspan.tasks import Task

if TYPE_CHECKING:
    from flowspan.core.states import State

START_NS = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


class Bench:
    """A run on the engine and its recorded events."""

    def __init__(self, retry: RetryPolicy | None = None) -> None:
        self.recorder = Recorder()
        self.notes: list[tuple[int, str]] = []
        self.now = START_NS
        self.io = EngineIO(
            self.recorder.events.append,
            self.clock,
            lambda low, high: high,
            lambda run, level, text, error: self.notes.append((level, text)),
        )
        definition = Task(lambda: None, name="bench")
        definition.retry = retry
        definition.update_stages()
        record = RunRecord(
            "run-1",
            is_flow=False,
            function_name="bench",
            run_name="bench-0",
            parent_run_id=None,
            root_run_id="run-1",
            flow_run_id=None,
        )
        self.run = Run(record, definition, None, None, CancelScope(), START_NS, False)
        announce(self.run, self.io)

    def clock(self) -> int:
        self.now += 1000
        return self.now

    def drive(self, outcomes: list[Any]) -> State:
        """Send one outcome per step, raising exceptions; record the delays in `waits`.

        Requested calls (hooks, conditions) are made and use up no outcome.
        """
        self.waits: list[float] = []
        steps = execute(self.run, self.io)
        try:
            step = next(steps)
            for outcome in itertools.chain(outcomes, itertools.repeat(None)):
                while isinstance(step, Call):
                    step = self._call(steps, step)
                if isinstance(step, Sleep):
                    self.waits.append(step.seconds)
                    self.now += int(step.seconds * SECOND)
                    sent = outcome if isinstance(outcome, CancelRun) else None
                else:
                    sent = outcome
                thrown = isinstance(sent, BaseException)
                step = steps.throw(sent) if thrown else steps.send(sent)
        except StopIteration as stop:
            state: State = stop.value
            return state
        raise AssertionError

    def _call(self, steps: Any, step: Call) -> Any:
        try:
            value = step.fn(*step.args)
        except BaseException as error:  # noqa: BLE001 - drivers do the same
            return steps.throw(error)
        return steps.send(value)

    @property
    def history(self) -> list[tuple[str, int]]:
        return self.recorder.states("bench")


def test_a_call_that_returns() -> None:
    bench = Bench()
    state = bench.drive([42])
    assert bench.history == [("Running", 1), ("Completed", 1)]
    assert state.is_completed()
    assert state.result() == 42
    assert state.run_id == "run-1"
    assert state.time_ns == bench.recorder.last_event("bench")[6]
    assert bench.notes == []


def test_a_call_that_raises() -> None:
    bench = Bench()
    error = ValueError("no")
    state = bench.drive([error])
    assert bench.history == [("Running", 1), ("Failed", 1)]
    event = bench.recorder.last_event("bench")
    assert event[5] == "ValueError: no"
    assert event[7].type == "ValueError"
    with pytest.raises(ValueError, match="no"):
        state.result()
    assert state.result(raise_on_failure=False) is error
    assert [level for level, _ in bench.notes] == [40]


def test_a_retry_with_a_delay_waits_in_the_old_attempt() -> None:
    bench = Bench(RetryPolicy(2, [10, 20]))
    assert bench.drive([ValueError("1"), None, ValueError("2"), None, "good"]).result() == "good"
    assert bench.history == [
        ("Running", 1),
        ("AwaitingRetry", 1),
        ("Retrying", 2),
        ("AwaitingRetry", 2),
        ("Retrying", 3),
        ("Completed", 3),
    ]
    assert bench.waits == [10, 20]
    waiting = next(e for e in bench.recorder.events if e[0] == STATE and e[4] == "AwaitingRetry")
    assert waiting[8] - waiting[6] == 10 * SECOND
    assert waiting[7] is None


def test_a_retry_without_a_delay_begins_at_once() -> None:
    bench = Bench(RetryPolicy(1))
    bench.drive([ValueError("1"), ValueError("2")])
    assert bench.history == [("Running", 1), ("Retrying", 2), ("Failed", 2)]


def test_jitter_uses_the_randomness_that_is_given() -> None:
    bench = Bench(RetryPolicy(1, 10, 0.5))
    bench.drive([ValueError(), None, 1])
    assert bench.waits == [15]


@pytest.mark.parametrize(("answer", "attempts"), [(True, 3), (False, 1), (0, 1)])
def test_the_condition_decides(answer: object, attempts: int) -> None:
    seen: list[tuple[object, object, State]] = []

    def condition(task: object, run: object, state: State) -> Any:
        seen.append((task, run, state))
        return answer

    bench = Bench(RetryPolicy(2, 0, None, condition))
    bench.drive([ValueError(), ValueError(), ValueError()])
    assert bench.run.attempt == attempts
    assert seen[0][0] is bench.run.definition
    assert seen[0][1] is bench.run
    assert seen[0][2].is_failed()


def test_a_condition_that_raises_ends_the_run() -> None:
    bench = Bench(RetryPolicy(2, 0, None, lambda *_: 1 / 0))
    assert bench.drive([ValueError("the reason")]).message == "ValueError: the reason"
    assert any("retry_condition_fn" in text for _, text in bench.notes)


class ForeignEnd(BaseException):
    """Neither an Exception nor a signal to end the process."""


@pytest.mark.parametrize("crash", [ForeignEnd("worker is gone"), states.Crashed(message="gone")])
def test_a_crash_is_retried_where_the_condition_says_so(crash: object) -> None:
    seen: list[State] = []

    def only_crashes(task: object, run: object, state: State) -> bool:
        seen.append(state)
        return state.is_crashed()

    bench = Bench(RetryPolicy(3, 0, None, only_crashes))
    assert bench.drive([crash, ValueError("no")]).is_failed()
    assert bench.history == [("Running", 1), ("Retrying", 2), ("Failed", 2)]
    assert [state.name for state in seen] == ["Crashed", "Failed"]


def test_a_crash_without_a_condition_is_not_retried() -> None:
    bench = Bench(RetryPolicy(3))
    assert bench.drive([ForeignEnd()]).is_crashed()
    assert bench.history == [("Running", 1), ("Crashed", 1)]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), CancelRun()])
def test_the_end_of_the_process_and_a_cancellation_are_never_retried(end: BaseException) -> None:
    def never(*_: object) -> bool:
        raise AssertionError("asked")

    bench = Bench(RetryPolicy(3, 0, None, never))
    bench.drive([end])
    assert bench.run.attempt == 1
    assert not any("retry_condition_fn" in text for _, text in bench.notes)


@pytest.mark.parametrize("broken_off", [KeyboardInterrupt(), CancelRun("stop")])
def test_a_condition_that_is_broken_off_ends_the_run_so(broken_off: BaseException) -> None:
    def condition(*_: object) -> bool:
        raise broken_off

    state = Bench(RetryPolicy(3, 0, None, condition)).drive([ValueError("no")])
    assert state.data is broken_off


def test_who_is_cancelled_while_the_condition_is_asked_is_not_retried() -> None:
    def condition(_: object, run: Run, __: object) -> bool:
        run.scope.cancel("meanwhile")
        return True

    bench = Bench(RetryPolicy(3, 0, None, condition))
    assert bench.drive([ValueError("no")]).is_cancelled()
    assert bench.history == [("Running", 1), ("Cancelled", 1)]


def test_a_returned_failed_state_is_retried() -> None:
    bench = Bench(RetryPolicy(1))
    assert bench.drive([states.Failed(message="not yet"), 5]).result() == 5
    assert bench.history == [("Running", 1), ("Retrying", 2), ("Completed", 2)]


@pytest.mark.parametrize(
    ("error", "type_", "name", "words"),
    [
        (KeyboardInterrupt(), "CRASHED", "Crashed", "keyboard"),
        (SystemExit(3), "CRASHED", "Crashed", "exit"),
        (GeneratorExit(), "CRASHED", "Crashed", "closed"),
        (CancelRun("somebody asked"), "CANCELLED", "Cancelled", "somebody asked"),
        (DeadlinePassed("flow is over time", "other"), "CANCELLED", "Cancelled", "over time"),
        (RunTimeout("took too long", "run-1"), "FAILED", "TimedOut", "took too long"),
        (RunTimeout("of another run", "other"), "FAILED", "Failed", "of another run"),
        (StopIteration(5), "FAILED", "Failed", "StopIteration"),
    ],
)
def test_how_it_ends(error: BaseException, type_: str, name: str, words: str) -> None:
    bench = Bench()
    state = bench.drive([error])
    assert bench.recorder.end("bench") == (type_, name)
    assert words in bench.recorder.last_event("bench")[5]
    assert state.data is error


def test_a_timeout_is_retried_and_a_signal_is_not() -> None:
    bench = Bench(RetryPolicy(1))
    bench.drive([RunTimeout("late", "run-1"), 1])
    assert bench.history == [("Running", 1), ("Retrying", 2), ("Completed", 2)]
    for error in (KeyboardInterrupt(), CancelRun(), DeadlinePassed()):
        bench = Bench(RetryPolicy(1))
        bench.drive([error])
        assert bench.run.attempt == 1


def test_cancelling_a_wait_ends_the_run() -> None:
    bench = Bench(RetryPolicy(5, 60))
    assert bench.drive([ValueError(), CancelRun("enough")]).is_cancelled()
    assert bench.history == [("Running", 1), ("AwaitingRetry", 1), ("Cancelled", 1)]


def test_a_cancelled_run_is_not_tried_again() -> None:
    bench = Bench(RetryPolicy(5))
    bench.run.scope.cancel("enough")
    assert bench.drive([ValueError()]).message == "enough"
    assert bench.history == [("Running", 1), ("Cancelled", 1)]

    bench = Bench()
    bench.run.scope.cancel("enough")
    bench.drive([ValueError("its own end")])
    assert bench.history == [("Running", 1), ("Failed", 1)]


def test_a_run_that_never_begins() -> None:
    bench = Bench()
    error = UpstreamFailed("upstream failed")
    state = not_ready(bench.run, bench.io, "upstream failed", error)
    assert (state.type.name, state.name) == ("PENDING", "NotReady")
    with pytest.raises(UpstreamFailed):
        state.result()
    assert bench.history == [("NotReady", 1), ("NotReady", 1)]
    assert bench.recorder.end("bench") == ("CANCELLED", "NotReady")

    bench = Bench()
    assert never_run(bench.run, bench.io, TypeError("args")).is_failed()
    assert bench.history == [("Failed", 1)]
    check_legal(bench.recorder.events)


outcomes = st.one_of(
    st.integers(),
    st.builds(ValueError, st.text(max_size=5)),
    st.builds(lambda: RunTimeout("late", "run-1")),
    st.builds(CancelRun, st.just("enough")),
    st.builds(KeyboardInterrupt),
    st.builds(DeadlinePassed),
    st.sampled_from([states.Failed, states.Completed, states.Cancelled, states.Crashed]).map(
        lambda make: make(message="returned")
    ),
    st.sampled_from([states.Pending, states.Running, states.Scheduled, states.Paused]).map(
        lambda make: make()
    ),
    st.lists(st.sampled_from([states.Failed(), states.Completed(), states.Cancelled()])),
)
policies = st.none() | st.builds(
    RetryPolicy, st.integers(0, 4), st.lists(st.sampled_from([0, 0.5, 60]), max_size=3)
)


@settings(deadline=None)
@given(policies, st.lists(outcomes, max_size=12), st.booleans())
def test_promise_a_legal_history_whatever_happens(
    policy: RetryPolicy | None, sent: list[Any], is_cancelled: bool
) -> None:
    bench = Bench(policy)
    if is_cancelled:
        bench.run.scope.cancel("enough")
    state = bench.drive(sent)
    (run,) = check_legal(bench.recorder.events)
    assert run.state.is_terminal
    assert (run.state.type, run.state.name) == (state.type.number, state.name)
    assert run.attempt == bench.run.attempt
