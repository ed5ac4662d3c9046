"""Flows and tasks from the user's view, sync and async."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import flowspan
from flowspan import flow, task
from flowspan.exceptions import CancelRun, ParameterError, RunFailed, UpstreamFailed
from flowspan.states import Cancelled, Completed, Failed

if TYPE_CHECKING:
    from tests.support.recorder import Recorder


@task
def double(x: int) -> int:
    return 2 * x


@task
async def double_later(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


@task
def fail(message: str = "no") -> None:
    raise ValueError(message)


@task
async def fail_later(message: str = "no") -> None:
    raise ValueError(message)


def test_a_flow_and_its_tasks_are_a_tree(recorder: Recorder) -> None:
    @flow
    def inner(x: int) -> int:
        return double(x)

    @task
    def between(x: int) -> int:
        return inner(x) + 1

    @flow
    def outer() -> int:
        return between(3) + double(1)

    assert outer() == 9
    runs = {run.function_name: run for run in recorder.runs[:4]}
    top = runs["outer"]
    assert (top.parent_run_id, top.root_run_id, top.flow_run_id) == (None, top.id, top.id)
    assert runs["between"].parent_run_id == top.id
    assert runs["between"].flow_run_id == top.id
    assert runs["inner"].parent_run_id == runs["between"].id
    assert runs["inner"].flow_run_id == runs["inner"].id
    assert runs["double"].parent_run_id == runs["inner"].id
    assert runs["double"].flow_run_id == runs["inner"].id
    assert {run.root_run_id for run in recorder.runs} == {top.id}
    assert [run.id for run in recorder.runs] == sorted(run.id for run in recorder.runs)
    assert recorder.states(top) == [("Running", 1), ("Completed", 1)]


def test_only_the_outermost_run_waits_for_the_service(recorder: Recorder) -> None:
    @flow
    def inner() -> None:
        double(1)

    @flow
    def outer() -> None:
        inner()
        assert recorder.flushes == 0

    outer()
    assert recorder.flushes == 1
    double(1)
    assert recorder.flushes == 2


def test_a_task_outside_of_flows(recorder: Recorder) -> None:
    assert double(4) == 8
    run = recorder.run("double")
    assert (run.parent_run_id, run.flow_run_id, run.root_run_id) == (None, None, run.id)
    assert run.run_name.startswith("double-")


def test_recursion(recorder: Recorder) -> None:
    @flow
    def countdown(n: int) -> int:
        return n if n == 0 else countdown(n - 1)

    assert countdown(20) == 0
    assert len(recorder.runs) == 21


def test_names(recorder: Recorder) -> None:
    @task(name="my task", task_run_name="do-{x}")
    def first(x: int) -> None: ...

    @task(task_run_name=lambda: "made")
    def second() -> None: ...

    @flow(flow_run_name="{day}!")
    def plan_of_the_day(day: str = "monday") -> None:
        first(5)
        second()
        double(1)
        double(1)

    plan_of_the_day()
    names = [(run.function_name, run.run_name) for run in recorder.runs]
    assert names == [
        ("plan-of-the-day", "monday!"),
        ("my task", "do-5"),
        ("second", "made"),
        ("double", "double-0"),
        ("double", "double-1"),
    ]


def test_a_flow_run_gets_a_name_of_two_words(recorder: Recorder) -> None:
    @flow
    def nameless() -> None: ...

    nameless()
    assert recorder.run("nameless").run_name.count("-") == 1


@pytest.mark.parametrize(
    "template",
    ["{missing}", lambda: 5, lambda: 1 / 0],
    ids=["unknown parameter", "no text", "raises"],
)
def test_a_name_that_cannot_be_made_fails_the_run(recorder: Recorder, template: Any) -> None:
    @task(task_run_name=template)
    def one() -> None:
        raise AssertionError("not to be called")

    @flow(flow_run_name=template)
    def two() -> None:
        raise AssertionError("not to be called")

    for function in (one, two):
        state = function(return_state=True)
        assert state.is_failed()
        with pytest.raises((ValueError, TypeError, ZeroDivisionError)):
            state.result()


def test_the_version_is_a_hash_of_the_file(recorder: Recorder) -> None:
    @flow
    def by_default() -> None: ...

    @flow(version="7")
    def given() -> None: ...

    by_default()
    given()
    content = Path(__file__).read_bytes()
    assert recorder.run("by-default").version == hashlib.sha256(content).hexdigest()[:16]
    assert recorder.run("given").version == "7"
    names: dict[str, Any] = {"flow": flow}
    exec("@flow\ndef typed_in(): ...", names)  # noqa: S102 - simulates an interactive interpreter
    assert names["typed_in"].version is None


def test_tags(recorder: Recorder) -> None:
    @task(tags=["b", "a", "b"])
    def tagged() -> None: ...

    @flow
    def outer() -> None:
        tagged()
        with flowspan.tags("inside", "a"):
            tagged()
        tagged()

    with flowspan.tags("all"):
        outer()
    assert [run.tags for run in recorder.runs] == [
        ("all",),
        ("b", "a", "all"),
        ("b", "a", "all", "inside"),
        ("b", "a", "all"),
    ]


def test_parameters_are_validated_and_stored(recorder: Recorder) -> None:
    @flow
    def add(a: int, b: int = 2, *rest: int, **more: int) -> int:
        return a + b + sum(rest) + sum(more.values())

    assert add("1", "2", 3, x=4) == 10  # type: ignore[arg-type]
    data = recorder.run("add").parameters
    assert data is not None
    assert json.loads(data) == {"a": 1, "b": 2, "rest": [3], "more": {"x": 4}}


def test_promise_bad_parameters_fail_the_run_and_say_which(recorder: Recorder) -> None:
    @flow
    def add(a: int, b: int) -> int:
        raise AssertionError("not to be called")

    with pytest.raises(ParameterError, match="Flow 'add': parameter 'b'"):
        add(1, "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="missing a required argument: 'b'"):
        add(1)  # type: ignore[call-arg]
    for run in recorder.runs:
        assert recorder.end(run) == ("FAILED", "Failed")
        assert "'b'" in recorder.last_event(run)[5]
    assert recorder.flushes == 2


def test_promise_an_unserialisable_parameter_never_fails_the_run(recorder: Recorder) -> None:
    @flow
    def take(thing: Any, n: int) -> bool:
        return callable(thing)

    assert take(len, 1)
    data = recorder.run("take").parameters
    assert data is not None
    assert json.loads(data)["n"] == 1
    assert "builtin_function_or_method" in data.decode()
    (warning,) = recorder.logs("take", logging.WARNING)
    assert warning.startswith("Parameter 'thing'")


def test_without_validation_values_pass_as_they_are(recorder: Recorder) -> None:
    @flow(validate_parameters=False)
    def take(n: int) -> Any:
        return n

    assert take("5") == "5"  # type: ignore[arg-type]


def test_an_exception_fails_the_run_and_comes_out_as_it_is(recorder: Recorder) -> None:
    error = KeyError("k")

    @task
    def bad() -> None:
        raise error

    @flow
    def outer() -> None:
        bad()

    with pytest.raises(KeyError) as caught:
        outer()
    assert caught.value is error
    for name in ("bad", "outer"):
        assert recorder.end(name) == ("FAILED", "Failed")
        failure = recorder.last_event(name)[7]
        assert failure.type == "KeyError"
        assert "in bad" in failure.stack_trace
        assert "engine.py" not in failure.stack_trace
        assert "sync.py" not in failure.stack_trace


def test_a_caught_failure_does_not_fail_the_flow(recorder: Recorder) -> None:
    @flow
    def outer() -> str:
        try:
            fail()
        except ValueError:
            return "went on"
        return ""

    assert outer() == "went on"
    assert recorder.end("fail") == ("FAILED", "Failed")
    assert recorder.end("outer") == ("COMPLETED", "Completed")


def test_return_state(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        state = fail(return_state=True)
        assert state.is_failed()
        assert isinstance(state.result(raise_on_failure=False), ValueError)
        assert double(2, return_state=True).result() == 4

    state = outer(return_state=True)
    assert state.is_completed()
    assert state.is_final()


def test_the_final_state_of_a_flow(recorder: Recorder) -> None:
    @flow
    def returns_state() -> Any:
        return Completed(name="Skipped", message="nothing to do", data=7)

    @flow
    def returns_failed() -> Any:
        return Failed(message="bad day")

    @flow
    def returns_cancelled() -> Any:
        return Cancelled(message="off")

    @flow
    def returns_states() -> Any:
        return [double(1, return_state=True), fail(return_state=True)]

    @flow
    def returns_state_of_task() -> Any:
        return fail("of the task", return_state=True)

    @flow
    def ignores_failed() -> int:
        fail(return_state=True)
        return 1

    assert returns_state() == 7
    assert recorder.end("returns-state") == ("COMPLETED", "Skipped")
    with pytest.raises(RunFailed, match="bad day"):
        returns_failed()
    with pytest.raises(CancelRun, match="off"):
        returns_cancelled()
    assert recorder.end("returns-cancelled") == ("CANCELLED", "Cancelled")
    good, bad = returns_states()
    assert (good.data, bad.is_failed()) == (2, True)
    assert recorder.end("returns-states") == ("FAILED", "Failed")
    with pytest.raises(ValueError, match="no"):
        returns_states(return_state=True).result()
    with pytest.raises(ValueError, match="of the task"):
        returns_state_of_task()
    assert ignores_failed() == 1


def test_retries_of_tasks_and_flows(recorder: Recorder) -> None:
    calls = {"task": 0, "flow": 0}

    @task(retries=2)
    def flaky() -> str:
        calls["task"] += 1
        if calls["task"] % 2:
            raise ValueError("flaky")
        return "done"

    @flow(retries=1, retry_delay_seconds=[0])
    def outer() -> str:
        calls["flow"] += 1
        done = flaky()
        if calls["flow"] == 1:
            raise KeyError("once more")
        return done

    assert outer() == "done"
    assert calls == {"task": 2, "flow": 2}  # The second attempt reuses the task's result.
    assert recorder.states("outer") == [("Running", 1), ("Retrying", 2), ("Completed", 2)]
    assert [run.run_name for run in recorder.runs][1:] == ["flaky-0", "flaky-1"]
    assert recorder.logs(level=logging.WARNING)


def test_the_condition_gets_task_run_and_state(recorder: Recorder) -> None:
    def only_value_errors(task_: Any, run: Any, state: Any) -> bool:
        assert task_.name == "picky"
        assert run.name == "picky-0"
        return isinstance(state.result(raise_on_failure=False), ValueError)

    errors = [ValueError(), ValueError(), KeyError(), ValueError()]

    @task(retries=9, retry_condition_fn=only_value_errors)
    def picky() -> None:
        raise errors.pop(0)

    @flow
    def outer() -> None:
        picky()

    with pytest.raises(KeyError):
        outer()
    assert len(errors) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_breaking_off_is_a_crash_and_passes_through(
    recorder: Recorder, error: type[BaseException]
) -> None:
    @task(retries=5)
    def broken() -> None:
        raise error

    @flow(retries=5)
    def outer() -> None:
        broken(return_state=True)  # Asking for the state does not stop the crash.

    with pytest.raises(error):
        outer()
    assert recorder.end("broken") == ("CRASHED", "Crashed")
    assert recorder.end("outer") == ("CRASHED", "Crashed")
    assert recorder.flushes == 1


def test_states_as_arguments_become_their_results(recorder: Recorder) -> None:
    @flow
    def inner(x: int) -> int:
        return x + 1

    @flow
    def outer() -> None:
        good = double(1, return_state=True)
        bad = fail(return_state=True)
        assert double(good) == 4
        assert inner(good) == 3
        assert double(x=flowspan.unmapped(3)) == 6
        for function in (double, inner):
            state = function(bad, return_state=True)
            assert (state.type.name, state.name) == ("PENDING", "NotReady")
            with pytest.raises(UpstreamFailed, match="no") as caught:
                function(bad)
            assert isinstance(caught.value.__cause__, ValueError)
        with pytest.raises(UpstreamFailed):
            double(1, wait_for=[bad])
        with pytest.raises(TypeError):
            double.with_options(name="tolerant")(flowspan.allow_failure(bad)) + 1

    outer()
    not_ready = [run for run in recorder.runs if recorder.end(run)[1] == "NotReady"]
    assert len(not_ready) == 5


def test_methods(recorder: Recorder) -> None:
    class Store:
        factor = 3

        @task
        def times(self, x: int) -> int:
            return self.factor * x

        @flow
        def both(self, x: int) -> int:
            return self.times(x) + self.of_class(x) + self.static(x)

        @task
        @classmethod
        def of_class(cls, x: int) -> int:
            return cls.factor * x

        @task
        @staticmethod
        def static(x: int) -> int:
            return x

        @staticmethod
        @task
        def outside(x: int) -> int:
            return x

    store = Store()
    assert store.both(x="2") == 14  # type: ignore[arg-type]
    assert Store.of_class(1) == 3
    assert Store.static(1) == 1
    assert Store.outside(1) == 1
    assert Store.times(store, 2) == 6
    assert isinstance(Store.both, flowspan.Flow)


def test_with_options_changes_a_copy() -> None:
    other = double.with_options(name="other", retries=3)
    assert (other.name, other.retry is not None and other.retry.retries) == ("other", 3)
    assert (double.name, double.retry) == ("double", None)

    @flow(log_prints=True, timeout_seconds=5)
    def original() -> None:
        """What it does."""

    changed = original.with_options(timeout_seconds=0)
    assert (changed.timeout_seconds, changed.log_prints) == (None, True)
    assert original.with_options(timeout_seconds=None).timeout_seconds == 5
    assert changed.description == "What it does."


def test_decorated_functions_look_like_the_function() -> None:
    assert double.__name__ == "double"
    assert double.__wrapped__ is double.fn
    assert double.fn(2) == 4
    assert repr(double) == "<Task 'double'>"


@pytest.mark.parametrize("decorator", [flow, task])
@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"name": " "}, ValueError, "name"),
        ({"name": 5}, TypeError, "name"),
        ({"name": "x" * 257}, ValueError, "name"),
        ({"retries": -1}, ValueError, "retries"),
        ({"timeout_seconds": -1}, ValueError, "timeout_seconds"),
        ({"timeout_seconds": "5"}, TypeError, "timeout_seconds"),
        ({"retry_jitter_factor": -1}, ValueError, "retry_jitter_factor"),
        ({"unknown": 1}, TypeError, "unknown"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_bad_options_are_refused_by_name(
    decorator: Any, options: dict[str, Any], error: type[Exception], word: str
) -> None:
    with pytest.raises(error, match=word):
        decorator(**options)(double.fn)


@pytest.mark.parametrize(
    "tags",
    ["text", [1], [""], ["x" * 257], 5, [f"t{i}" for i in range(65)]],
    ids=["one text", "number", "empty", "long", "no collection", "too many"],
)
def test_bad_tags_are_refused(tags: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="tag"):
        task(tags=tags, name="x")(lambda: None)


def test_functions_that_cannot_be_flows_are_refused() -> None:
    def reserved(wait_for): ...

    with pytest.raises(TypeError, match="'wait_for'"):
        flow(reserved)
    with pytest.raises(TypeError, match="function"):
        flow(5)  # type: ignore[call-overload]
