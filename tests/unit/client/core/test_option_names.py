"""Unknown options are rejected with a suggestion; None stands for the default."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import Flow, Task, flow, task
from flowspan.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

if TYPE_CHECKING:
    from tests.support.recorder import Recorder


def nothing(x: int = 1) -> int:
    return x


async def nothing_later(x: int = 1) -> int:
    return x


def anything(x: int = 1, **options: Any) -> Any:
    return options


a_task, a_flow = task(nothing), flow(nothing)

MISSPELT = {
    "@task": (lambda: task(retry=3), "`@task` has no option 'retry'; did you mean 'retries'?"),
    "@flow": (
        lambda: flow(timeout_second=3),
        "`@flow` has no option 'timeout_second'; did you mean 'timeout_seconds'?",
    ),
    "@task of a function": (
        lambda: task(nothing, cache_key=3),
        "`@task` has no option 'cache_key'; did you mean 'cache_key_fn'?",
    ),
    "Task": (
        lambda: Task(nothing, retry=3),
        "`Task` has no option 'retry'; did you mean 'retries'?",
    ),
    "Flow": (lambda: Flow(nothing, nam="x"), "`Flow` has no option 'nam'; did you mean 'name'?"),
    "with_options of a task": (
        lambda: a_task.with_options(retry=3),
        "`Task.with_options` has no option 'retry'; did you mean 'retries'?",
    ),
    "with_options of a flow": (
        lambda: a_flow.with_options(log_print=True),
        "`Flow.with_options` has no option 'log_print'; did you mean 'log_prints'?",
    ),
    "with_options, called as its own parameter is": (
        lambda: a_task.with_options(self=1),
        "`Task.with_options` has no option 'self'; its options are name, description, ",
    ),
    "with_options of a flow, likewise": (
        lambda: a_flow.with_options(self=1),
        "`Flow.with_options` has no option 'self'; its options are name, version, ",
    ),
    "submit": (
        lambda: a_task.submit(waitfor=[]),
        "`submit` of task 'nothing' has no option 'waitfor'; did you mean 'wait_for'?",
    ),
    "map": (
        lambda: a_task.map([1], return_sate=True),
        "`map` of task 'nothing' has no option 'return_sate'; did you mean 'return_state'?",
    ),
    "a call of a task": (
        lambda: a_task(retrun_state=True),
        "a call of task 'nothing' has no option 'retrun_state'; did you mean 'return_state'?",
    ),
    "a call of a flow": (
        lambda: a_flow(wait_fr=[]),
        "a call of flow 'nothing' has no option 'wait_fr'; did you mean 'wait_for'?",
    ),
    "a call of an asynchronous one": (
        lambda: task(nothing_later)(wait_fors=[]),
        "a call of task 'nothing_later' has no option 'wait_fors'; did you mean 'wait_for'?",
    ),
    "ThreadPoolTaskRunner": (
        lambda: ThreadPoolTaskRunner(max_worker=3),
        "`ThreadPoolTaskRunner` has no option 'max_worker'; did you mean 'max_workers'?",
    ),
    "ProcessPoolTaskRunner": (
        lambda: ProcessPoolTaskRunner(workers=3),
        "`ProcessPoolTaskRunner` has no option 'workers'; did you mean 'max_workers'?",
    ),
}

UNKNOWN = {
    "of a task": (lambda: task(asset_deps=[]), "`@task` has no option 'asset_deps'; its options"),
    "of a flow alone": (
        lambda: task(on_crashed=[]),
        "`@task` has no option 'on_crashed'; it is an option of `@flow`.",
    ),
    "of a task alone": (
        lambda: a_flow.with_options(tags=["x"]),
        "`Flow.with_options` has no option 'tags'; it is an option of `@task`.",
    ),
    "of the decorator, given to submit": (
        lambda: a_task.submit(retries=3),
        "'retries'; it is an option of `@task`: set it there, or for one call by with_options",
    ),
    "of a runner": (
        lambda: ProcessPoolTaskRunner(processors=print),
        "`ProcessPoolTaskRunner` has no option 'processors'; its options are max_workers, "
        "initializer, initargs.",
    ),
    "a name": (lambda: task("load"), "take a function, not 'load'; a name is given by name="),
}


@pytest.mark.parametrize("case", [*MISSPELT.values(), *UNKNOWN.values()], ids=[*MISSPELT, *UNKNOWN])
def test_an_option_that_there_is_not_is_refused(recorder: Recorder, case: Any) -> None:
    wrong, message = case
    with pytest.raises(TypeError) as caught:
        wrong()
    assert message in str(caught.value)
    assert not recorder.runs


def test_arguments_of_the_function_are_no_options(recorder: Recorder) -> None:
    assert task(anything)(waitfor=1, retries=2) == {"waitfor": 1, "retries": 2}
    assert task(anything).submit(retries=2).result() == {"retries": 2}
    assert flow(anything)(return_sate=1) == {"return_sate": 1}

    def takes(retries: int, *, wait_fors: int) -> Any:
        return retries, wait_fors

    assert task(takes)(retries=1, wait_fors=2) == (1, 2)
    assert task(takes).map(retries=[1], wait_fors=[2]).result() == [(1, 2)]


def test_another_argument_fails_the_run_as_ever(recorder: Recorder) -> None:
    with pytest.raises(TypeError, match="'other'"):
        a_task(other=1)
    with pytest.raises(TypeError, match="'other'"):
        a_flow(other=1)
    assert {recorder.end(run) for run in recorder.runs} == {("FAILED", "Failed")}


def options_of(kind: Any) -> list[str]:
    return [name for name in inspect.signature(kind).parameters if name != "fn"]


@pytest.mark.parametrize("function", [nothing, nothing_later])
@pytest.mark.parametrize(
    ("kind", "option"),
    [(kind, option) for kind in (Flow, Task) for option in options_of(kind)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_none_is_the_default_of_every_option(
    recorder: Recorder, kind: Any, option: str, function: Any
) -> None:
    decorator: Any = flow if kind is Flow else task
    other = decorator(name="other", retries=1, log_prints=True)(function)
    for made in (
        decorator(**{option: None})(function),
        other.with_options(**{option: None}),
    ):
        value = made("5" if kind is Flow else 5)
        assert (asyncio.run(value) if inspect.iscoroutine(value) else value) == 5
        if option == "retries":
            # As in Prefect, with_options keeps a flow's retries and resets a task's.
            assert made.retries == (1 if kind is Flow and made.name == "other" else 0)
        if option in {"persist_result", "cache_result_in_memory"}:
            assert made.result_policy is None, "None must not create a result policy"


def test_all_of_them_may_be_none_at_once(recorder: Recorder) -> None:
    for kind, decorator in ((Flow, flow), (Task, task)):
        made: Any = decorator
        made = made(**dict.fromkeys(options_of(kind)))(nothing)
        plain: Any = decorator(nothing)  # type: ignore[operator] # one of two decorators
        assert made("5" if kind is Flow else 5) == 5
        assert (made.name, made.retry, made.timeout_s, made.run_tags) == (
            plain.name,
            plain.retry,
            plain.timeout_s,
            plain.run_tags,
        )
        assert kind is Task or made.result_policy is None
        assert kind is Flow or made.result_policy.is_uncached  # The same effect as NO_CACHE.
    assert ThreadPoolTaskRunner(max_workers=None).max_workers is None


def test_no_delay_is_no_delay(recorder: Recorder) -> None:
    attempts: list[int] = []

    @task(retries=1, retry_delay_seconds=None, retry_jitter_factor=None)
    def flaky() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError
        return 5

    assert flaky() == 5
    assert recorder.states("flaky") == [("Running", 1), ("Retrying", 2), ("Completed", 2)]


@pytest.mark.parametrize(("decorator", "name"), [(flow, "my-function"), (task, "my_function")])
def test_names_are_those_that_prefect_gives(decorator: Any, name: str) -> None:
    def my_function() -> None: ...

    class Store:
        @decorator
        def my_function(self) -> None: ...

    assert decorator(my_function).name == name
    assert Store().my_function.name == name
    assert decorator(name="my_own-name")(my_function).name == "my_own-name"
