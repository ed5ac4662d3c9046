"""The facts that all runs of a flow or task report: description, attempts, place of the code."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.sync_and_async import ASYNC, PLAIN, Kind, ended

from flowspan import task
from flowspan.core.run_details import RunDetails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.recorder import Recorder


def logged(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


def plain() -> None:
    """Do nothing."""


class Owner:
    @task
    def method(self) -> None:
        """Belong to an object."""


@task
def numbers() -> Iterator[int]:
    """Count."""
    yield 1


def line_of(fn: Any) -> int:
    return inspect.getsourcelines(fn)[1]


@pytest.mark.parametrize(
    "fn", [plain, logged(plain), functools.partial(plain)], ids=["plain", "wrapped", "partial"]
)
def test_the_place_is_that_of_the_innermost_function(fn: Any) -> None:
    details = RunDetails(fn, None, None)
    assert (details.file_path, details.line) == (__file__, line_of(plain))
    assert details.function == f"{__name__}.plain"


def test_callables_without_code_have_no_place() -> None:
    details = RunDetails(len, None, None)
    assert (details.file_path, details.line, details.description) == ("", 0, "")
    assert details.function == "builtins.len"


def test_methods_and_generators(recorder: Recorder) -> None:
    Owner().method()
    assert list(numbers()) == [1]
    assert numbers.submit().result() == [1]
    method, *generators = recorder.runs
    assert method.details is not None
    assert method.details.function == f"{__name__}.Owner.method"
    assert method.details.description == "Belong to an object."
    for run in generators:
        assert run.details is not None
        assert run.details.function == f"{__name__}.numbers"
        assert run.details.description == "Count."


@pytest.mark.parametrize("kind", [PLAIN, ASYNC], ids=str)
def test_every_run_of_a_definition_has_the_same_object(recorder: Recorder, kind: Kind) -> None:
    @kind.task(name="step", retries=3, description="Given.")
    async def step() -> None: ...

    @kind.flow(name="outer")
    async def outer() -> None:
        for _ in range(3):
            await ended(step())

    kind.run(outer)
    first, *others = [run.details for run in recorder.runs if run.function_name == "step"]
    assert first is not None
    assert all(each is first for each in others)
    assert (first.description, first.max_attempts) == ("Given.", 4)
    top = recorder.run("outer").details
    assert top is not None
    assert (top.description, top.max_attempts) == ("", 1)


def test_changed_options_count_for_later_runs(recorder: Recorder) -> None:
    step = task(plain, name="step")
    step()
    step.retries = 2
    step.description = "Changed."
    step()
    step.with_options(retries=5)()
    facts = [
        (run.details.max_attempts, run.details.description) for run in recorder.runs if run.details
    ]
    assert facts == [(1, "Do nothing."), (3, "Changed."), (6, "Do nothing.")]


def test_a_description_of_another_type_is_left_out(recorder: Recorder) -> None:
    step: Any = task(plain, name="step")
    step.description = 17
    step()
    assert recorder.run("step").details.description == ""  # type: ignore[union-attr] # it has them


def test_pickled_details_are_the_same_object_again() -> None:
    details = RunDetails(plain, "text", None)
    first, second = (pickle.loads(pickle.dumps(details)) for _ in range(2))  # noqa: S301 - our own
    assert first is second
    assert (first.description, first.max_attempts) == ("text", 1)
    assert (first.file_path, first.line, first.function) == (
        details.file_path,
        details.line,
        details.function,
    )


def test_copies_of_a_task_that_has_run(recorder: Recorder) -> None:
    step = task(plain, name="step")
    step()
    copied = copy.copy(step)
    copied.description = "Copied."
    copied()
    step()
    texts = [run.details.description for run in recorder.runs if run.details]
    assert texts == ["Do nothing.", "Copied.", "Do nothing."]
