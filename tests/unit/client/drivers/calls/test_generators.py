"""Sync generator functions as flows and tasks; the counterpart of test_async_generators."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import allow_failure, flow, runtime, tags, task
from flowspan.core.run import current_run
from flowspan.exceptions import CancelRun, RunTimeout, UpstreamFailed
from flowspan.states import Failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.recorder import Recorder

BOTH = pytest.mark.parametrize("decorator", [flow, task], ids=["flow", "task"])


def here() -> str | None:
    run = current_run.get()
    return None if run is None else run.definition.name


@task
def step(x: int) -> int:
    return x


@BOTH
def test_gives_its_values_one_by_one_while_it_runs(recorder: Recorder, decorator: Any) -> None:
    @decorator
    def numbers(count: int) -> Iterator[int]:
        yield from range(count)

    values = numbers(2)
    assert not recorder.runs, "the run must start with the first value"
    assert next(values) == 0
    assert recorder.end("numbers") == ("RUNNING", "Running")
    assert list(values) == [1]
    assert recorder.states("numbers") == [("Running", 1), ("Completed", 1)]
    assert recorder.flushes == 1


@BOTH
def test_only_the_body_is_inside_of_the_run(recorder: Recorder, decorator: Any) -> None:
    @decorator(log_prints=True)
    def numbers() -> Iterator[str | None]:
        with tags("inner"):
            step(1)
            print("printed")  # noqa: T201 - the subject of the test
            yield here()
        yield runtime.task_run.name if decorator is task else runtime.flow_run.flow_name

    @flow
    def outer() -> list[Any]:
        seen = []
        for value in numbers():
            step.with_options(name="consumer")(1)
            seen += [value, here()]
        return seen

    assert outer() == ["numbers", "outer", "numbers" if decorator is flow else "numbers-0", "outer"]
    run = recorder.run("numbers")
    inner, consumer = recorder.run("step"), [r for r in recorder.runs if r.function_name[0] == "c"]
    assert (inner.parent_run_id, inner.tags) == (run.id, ("inner",))
    assert {(r.parent_run_id, r.tags) for r in consumer} == {(recorder.run("outer").id, ())}
    assert recorder.logs(run)[:2] in (["printed"], ["Begins (flow 'numbers').", "printed"])


@BOTH
def test_what_it_raises_fails_the_run_and_reaches_the_consumer(
    recorder: Recorder, decorator: Any
) -> None:
    @decorator
    def numbers() -> Iterator[int]:
        yield 1
        raise ValueError("bad")

    values = numbers()
    assert next(values) == 1
    with pytest.raises(ValueError, match="bad"):
        next(values)
    assert recorder.end("numbers") == ("FAILED", "Failed")


@BOTH
def test_a_retry_begins_anew_and_gives_its_values_again(recorder: Recorder, decorator: Any) -> None:
    attempts = []

    @decorator(retries=1)
    def numbers() -> Iterator[int]:
        attempts.append(1)
        yield len(attempts)
        if len(attempts) == 1:
            raise ValueError

    assert list(numbers()) == [1, 2]
    assert recorder.states("numbers") == [("Running", 1), ("Retrying", 2), ("Completed", 2)]


@BOTH
def test_closing_it_completes_the_run(recorder: Recorder, decorator: Any) -> None:
    cleaned_in = []

    @decorator(retries=1)
    def numbers() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            cleaned_in.append(here())

    values = numbers()
    next(values)
    values.close()
    assert cleaned_in == ["numbers"]
    assert recorder.states("numbers") == [("Running", 1), ("Completed", 1)]
    assert recorder.last_event("numbers")[5] == "Closed by its consumer after 1 value."
    for _ in numbers():
        break
    assert cleaned_in == ["numbers"] * 2, "an abandoned generator must be closed"
    numbers().close()
    assert len(recorder.runs) == 2, "a generator that is never iterated must not start a run"


@BOTH
def test_collected_as_garbage_it_ends_as_if_closed(recorder: Recorder, decorator: Any) -> None:
    @decorator
    def numbers() -> Iterator[int]:
        yield 1
        yield 2

    def forget_in_a_circle() -> None:
        circle: list[Any] = [numbers()]
        circle.append(circle)
        next(circle[0])

    forget_in_a_circle()
    gc.collect()
    assert recorder.end("numbers") == ("COMPLETED", "Completed")
    assert current_run.get() is None


def test_an_error_while_it_is_closed_is_not_tried_again(recorder: Recorder) -> None:
    @task(retries=3)
    def numbers() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise ValueError("no clean end")

    values = numbers()
    next(values)
    with pytest.raises(ValueError, match="no clean end"):
        values.close()
    assert recorder.states("numbers") == [("Running", 1), ("Failed", 1)]


def test_send_throw_and_the_returned_value(recorder: Recorder) -> None:
    @task
    def echo() -> Any:
        got = yield "first"
        try:
            yield got
        except KeyError:
            yield "caught"
        return "end"

    values = echo()
    assert (next(values), values.send("sent"), values.throw(KeyError())) == (
        "first",
        "sent",
        "caught",
    )
    with pytest.raises(StopIteration) as stop:
        next(values)
    assert stop.value.value == "end"
    assert recorder.end("echo") == ("COMPLETED", "Completed")


def test_a_returned_state_decides(recorder: Recorder) -> None:
    @task
    def numbers() -> Any:
        yield 1
        return Failed(message="not enough")

    with pytest.raises(Exception, match="not enough"):
        list(numbers())
    assert recorder.end("numbers") == ("FAILED", "Failed")


@BOTH
def test_return_state_runs_it_to_its_end(recorder: Recorder, decorator: Any) -> None:
    @decorator
    def numbers(count: int) -> Iterator[int]:
        yield from range(count)

    state = numbers(3, return_state=True)
    assert state.result() == [0, 1, 2]
    assert len(recorder.runs) == 1


def test_submitted_and_mapped_its_result_is_the_list_of_its_values(recorder: Recorder) -> None:
    @task
    def numbers(count: int) -> Iterator[int]:
        for i in range(count):
            yield step(i)

    @flow
    def outer() -> list[Any]:
        return [numbers.submit(2).result(), numbers.map([1, 3]).result()]

    assert outer() == [[0, 1], [[0], [0, 1, 2]]]
    parents = {r.parent_run_id for r in recorder.runs if r.function_name == "step"}
    assert parents == {r.id for r in recorder.runs if r.function_name == "numbers"}


@BOTH
def test_a_returned_generator_becomes_a_list_inside_of_the_run(
    recorder: Recorder, decorator: Any
) -> None:
    @decorator
    def numbers() -> Any:
        return (step(i) for i in range(2))

    assert numbers() == [0, 1]
    assert {r.parent_run_id for r in recorder.runs[1:]} == {recorder.runs[0].id}


def test_futures_and_failures_before_it(recorder: Recorder) -> None:
    @task
    def bad() -> int:
        raise ValueError("bad")

    @task
    def numbers(count: int, other: Any = None) -> Iterator[Any]:
        yield from range(count)
        yield type(other)

    @flow
    def outer() -> None:
        assert list(numbers(step.submit(1), allow_failure(bad.submit()))) == [0, ValueError]
        with pytest.raises(UpstreamFailed, match="bad"):
            next(numbers(bad.submit()))

    outer()


def test_its_flow_waits_for_what_it_submitted(recorder: Recorder) -> None:
    release = threading.Event()

    @task
    def waits() -> None:
        release.wait()

    @flow
    def numbers() -> Iterator[int]:
        waits.submit()
        yield 1
        release.set()

    assert list(numbers()) == [1]
    ends = [e[1] for e in recorder.events if e[0] == 1 and e[4] == "Completed"]
    assert ends == [recorder.run("waits").id, recorder.run("numbers").id]


@pytest.mark.parametrize("in_thread", [False, True], ids=["alarm", "thread"])
def test_only_the_time_of_the_body_counts(recorder: Recorder, in_thread: bool) -> None:
    blocked = threading.Event()

    @task(timeout_seconds=0.2)
    def numbers() -> Iterator[int]:
        yield 1
        yield 2
        while not blocked.wait(0.01):
            pass

    def consume() -> None:
        values = numbers()
        assert next(values) == 1
        blocked.wait(0.25)  # The consumer takes longer than the timeout.
        assert next(values) == 2
        with pytest.raises(RunTimeout):
            next(values)
        done.append(1)

    done: list[int] = []
    if in_thread:
        thread = threading.Thread(target=consume)
        thread.start()
        thread.join()
    else:
        consume()
    blocked.set()
    assert done
    assert recorder.end("numbers") == ("FAILED", "TimedOut")


def test_cancelled_between_two_values_it_ends_with_the_next(recorder: Recorder) -> None:
    seen: list[BaseException] = []

    @flow(retries=2)
    def numbers() -> Iterator[int]:
        try:
            yield 1
        except BaseException as error:
            seen.append(error)
            raise

    values = numbers()
    next(values)
    (cancel,) = recorder.cancels.values()
    cancel("by the test")
    with pytest.raises(CancelRun, match="by the test"):
        next(values)
    assert isinstance(seen[0], CancelRun)
    assert recorder.end("numbers") == ("CANCELLED", "Cancelled")


def test_cancelled_and_then_closed(recorder: Recorder) -> None:
    @flow
    def numbers() -> Iterator[int]:
        yield 1

    values = numbers()
    next(values)
    (cancel,) = recorder.cancels.values()
    cancel("by the test")
    with pytest.raises(CancelRun):
        values.close()
    assert recorder.end("numbers") == ("CANCELLED", "Cancelled")


def test_hooks_see_the_end_and_two_generators_do_not_mix(recorder: Recorder) -> None:
    ends = []

    @task(on_completion=[lambda _task, run, state: ends.append((run.name, state.name))])
    def numbers() -> Iterator[str | None]:
        yield here()
        yield here()

    @flow
    def outer() -> None:
        pairs = list(zip(numbers(), numbers(), strict=True))
        assert pairs == [("numbers", "numbers")] * 2

    outer()
    assert sorted(ends) == [("numbers-0", "Completed"), ("numbers-1", "Completed")]
