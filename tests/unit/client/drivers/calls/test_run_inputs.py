"""The inputs that runs report: upstream runs by parameter, and previews of tasks' arguments."""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.sync_and_async import ASYNC, PLAIN, Kind, ended

from flowspan import allow_failure, flow, task, unmapped
from flowspan.core.limits import MAX_INPUTS
from flowspan.drivers.process import get_process
from flowspan.states import Completed
from flowspan.utilities.annotations import opaque

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

    from flowspan.core.events import RunRecord


@dataclass(eq=False)
class Table:
    rows: list[int] = field(default_factory=list)


@task
def load(n: int = 0) -> Table:
    return Table([n])


@task
def number(n: int = 0) -> int:
    return n


@task
def use(first: Any = None, *rest: Any, **named: Any) -> None:
    del first, rest, named


def inputs(recorder: Recorder, run: RunRecord) -> list[tuple[str, str]]:
    """Return the inputs of a run: the parameter and the name of the other run."""
    names = {each.id: each.run_name for each in recorder.runs}
    return [(each.parameter, names[each.run_id]) for each in run.inputs]


def previews(recorder: Recorder, name: str) -> list[Any]:
    return [
        None if run.parameters is None else json.loads(run.parameters)
        for run in recorder.runs
        if run.function_name == name
    ]


@pytest.fixture
def _previews(recorder: Recorder) -> None:
    get_process().preview_bytes = 2048


def test_runs_without_upstream_runs_have_no_inputs(recorder: Recorder) -> None:
    @flow
    def outer(n: int) -> None:
        use(n, [n], text="a")
        use.submit(n)

    outer(1)
    assert [run.inputs for run in recorder.runs] == [()] * 3


def test_futures_states_and_results_in_arguments(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        future, state = number.submit(1), number(2, return_state=True)
        use(future, [state, {"a": future}], named=(future,))
        use.submit(allow_failure(state), opaque([future]), other=state)

    outer()
    first, second = (run for run in recorder.runs if run.function_name == "use")
    assert sorted(inputs(recorder, first)) == [
        ("first", "number-0"),
        ("named", "number-0"),
        ("rest", "number-0"),
        ("rest", "number-1"),
    ]
    assert sorted(inputs(recorder, second)) == [("first", "number-1"), ("other", "number-1")]


@pytest.mark.parametrize("kind", [PLAIN, ASYNC], ids=str)
def test_results_that_are_passed_on_directly(recorder: Recorder, kind: Kind) -> None:
    @kind.task(name="take")
    async def take(table: Table | None, others: Any = None) -> None:
        del table, others

    @kind.flow
    async def outer() -> None:
        table = load()
        await ended(take(table))
        await ended(take(None, [table]))

    kind.run(outer)
    runs = [run for run in recorder.runs if run.function_name == "take"]
    assert [inputs(recorder, run) for run in runs] == [
        [("table", "load-0")],
        [("others", "load-0")],
    ]


def test_results_are_not_kept_alive(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        for n in range(3):
            use(load(n))
            gc.collect()

    outer()
    runs = [run for run in recorder.runs if run.function_name == "use"]
    assert [inputs(recorder, run) for run in runs] == [[("first", f"load-{n}")] for n in range(3)]


def test_runs_that_are_only_waited_for(recorder: Recorder) -> None:
    @flow(name="inner")
    def inner() -> None: ...

    @flow(name="outer")
    def outer() -> None:
        future = number.submit(1)
        use(wait_for=[future])
        use.submit(1, wait_for=[future])
        inner(wait_for=[future])

    outer()
    for run in recorder.runs[2:]:
        assert inputs(recorder, run) == [("wait_for", "number-0")]


def test_mapped_runs_have_the_source_of_their_element(recorder: Recorder) -> None:
    @task
    def several() -> list[int]:
        return [1, 2]

    @flow
    def outer() -> None:
        use.map(several.submit(), unmapped(number.submit())).wait()
        use.map([number.submit(5), 6]).wait()

    outer()
    runs = [inputs(recorder, run) for run in recorder.runs if run.function_name == "use"]
    assert runs == [[("first", "several-0"), ("rest", "number-0")]] * 2 + [
        [("first", "number-1")],
        [],
    ]


def test_flows_report_their_inputs(recorder: Recorder) -> None:
    @flow(name="inner")
    def inner(table: Any) -> None:
        del table

    @flow(name="outer")
    def outer() -> None:
        inner(number.submit(1))

    outer()
    assert inputs(recorder, recorder.run("inner")) == [("table", "number-0")]


def test_handmade_states_are_no_inputs(recorder: Recorder) -> None:
    use(Completed(data=1))
    assert recorder.run("use").inputs == ()


def test_the_number_of_inputs_is_bounded(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        use([number.submit(n) for n in range(MAX_INPUTS + 5)])

    outer()
    assert len(recorder.run("use").inputs) == MAX_INPUTS


def test_hooks_see_the_inputs_by_parameter(recorder: Recorder) -> None:
    seen: list[Any] = []

    def look(_task: Any, run: Any, _state: Any) -> None:
        seen.append({name: [each.id for each in found] for name, found in run.task_inputs.items()})

    step = use.with_options(on_completion=[look])

    @flow
    def outer() -> None:
        step(number.submit(1), 2, wait_for=[number.submit(2)], key=3)

    outer()
    first, second = (run for run in recorder.runs if run.function_name == "number")
    ((by_name),) = seen
    assert {name: [str(each) for each in ids] for name, ids in by_name.items()} == {
        "first": [first.id],
        "rest": [],
        "named": [],
        "wait_for": [second.id],
    }


@pytest.mark.usefixtures("_previews")
def test_previews_name_the_arguments_as_given(recorder: Recorder) -> None:
    use()
    use(1, 2, 3, key="a")
    number(n=7)
    assert previews(recorder, "use") == [None, {"first": 1, "rest": [2, 3], "key": "a"}]
    assert previews(recorder, "number") == [{"n": 7}]


@pytest.mark.usefixtures("_previews")
def test_previews_show_the_element_of_each_mapped_run(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        use.map([{"row": n} for n in range(3)], unmapped([1])).wait()

    outer()
    assert previews(recorder, "use") == [{"first": {"row": n}, "rest": [[1]]} for n in range(3)]


@pytest.mark.usefixtures("_previews")
def test_previews_of_results_that_are_not_there_yet(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        future = number.submit(4)
        use.submit(future, allow_failure([future])).wait()
        use(future)
        use.submit(opaque(number(5, return_state=True))).wait()

    outer()
    last = recorder.runs[-2] if recorder.runs[-1].function_name == "use" else recorder.runs[-1]
    assert previews(recorder, "use") == [
        {"first": "<result of number-0>", "rest": [["<result of number-0>"]]},
        {"first": 4},
        {"first": f"<result of run {last.id}>"},
    ]


@pytest.mark.usefixtures("_previews")
@pytest.mark.parametrize("kind", [PLAIN, ASYNC], ids=str)
def test_previews_are_of_the_time_of_the_call(recorder: Recorder, kind: Kind) -> None:
    @kind.task(name="change")
    async def change(items: list[int]) -> None:
        items.append(2)

    kind.run(change, [1])
    assert previews(recorder, "change") == [{"items": [1]}]


@pytest.mark.usefixtures("_previews")
def test_a_call_that_does_not_fit_has_a_preview_as_well(recorder: Recorder) -> None:
    wrong: Any = number
    with pytest.raises(TypeError):
        wrong(1, 2, other=3)
    assert previews(recorder, "number") == [{"n": 1, "1": 2, "other": 3}]


def test_without_the_setting_there_are_no_previews(recorder: Recorder) -> None:
    number(1)
    assert previews(recorder, "number") == [None]
