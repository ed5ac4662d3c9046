"""User values are passed on without being accessed: every value on every path.

The fixture `recorder` checks that no run is left open, whatever a value or an error raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel
from tests.support.sync_and_async import ASYNC, PLAIN, Kind, ended
from tests.support.user_values import (
    ERRORS,
    VALUES,
    Hostile,
    LazyRows,
    Tensor,
    Touched,
    array,
    frame,
    touched,
)
from tests.support.value_paths import WAYS, way_of

from flowspan import State, allow_failure, flow, tags, task
from flowspan.core.failures import failure_info, summary
from flowspan.exceptions import MappingMissingIterable, RunFailed
from flowspan.states import Completed, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.recorder import Recorder


WAIT_S = 60


@pytest.fixture(params=[PLAIN, ASYNC], ids=repr)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(autouse=True)
def _untouched() -> None:
    touched.clear()


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("maker", VALUES)
def test_a_value_on_its_way(recorder: Recorder, kind: Kind, way: str, maker: str) -> None:
    make: Callable[[], Any] = VALUES[maker]
    expected = type(make())
    touched.clear()
    value = kind.run(kind.flow(way_of(kind, way)), make)
    assert touched == []
    found = value
    if way == "returned_in_a_list":
        found = value[0]
    elif way == "returned_with_future":
        found = value["a"]
        assert type(value["b"].result()) is expected
    assert type(found) is expected
    assert {recorder.end(run)[0] for run in recorder.runs} == {"COMPLETED"}


@pytest.mark.parametrize("maker", VALUES)
def test_a_value_as_an_input_of_a_flow_with_retries(
    recorder: Recorder, kind: Kind, maker: str
) -> None:
    attempts = []

    @kind.task
    async def take(value: Any) -> str:
        return type(value).__name__

    @kind.flow(retries=1)
    async def outer() -> str:
        attempts.append(1)
        name = await ended(take(VALUES[maker]()))
        if len(attempts) == 1:
            raise ValueError("once more")
        return name

    # Results of earlier attempts are found by the inputs, as far as these are hashable.
    assert kind.run(outer) == type(VALUES[maker]()).__name__


# --- mapping --------------------------------------------------------------------------------------


class Model(BaseModel):
    x: int = 0


@pytest.mark.parametrize(
    "make",
    [Model, lambda: Tensor(1.0, dim=0), lambda: array()[0][0], lambda: "text", Hostile],
    ids=["model", "0-d tensor", "0-d array", "text", "hostile"],
)
def test_what_is_one_value_is_given_to_each_call(recorder: Recorder, make: Any) -> None:
    @task
    def add(number: int, value: Any) -> tuple[int, Any]:
        return number, value

    @flow
    def outer() -> None:
        value = make()
        if type(value) is Hostile:  # It has an __iter__, which map has to call.
            with pytest.raises(Touched, match="__iter__"):
                add.map([1, 2], value)
            return
        results = add.map([1, 2], value).result(WAIT_S)
        assert [number for number, _ in results] == [1, 2]
        assert all(each is value for _, each in results)
        of_future = add.map([1], task(lambda: value, name="give").submit()).result(WAIT_S)
        assert of_future[0][1] is value
        with pytest.raises(MappingMissingIterable):
            task(lambda value: value, name="one").map(value)

    outer()


def test_a_list_of_models_is_mapped(recorder: Recorder) -> None:
    @task
    def read(model: Model) -> int:
        return model.x

    @flow
    def outer() -> list[int]:
        return read.map([Model(x=1), Model(x=2)]).result(WAIT_S)

    assert outer() == [1, 2]


def test_what_is_mapped_is_gone_through_once_and_not_asked_for_its_length(
    recorder: Recorder,
) -> None:
    class Rows(LazyRows):
        def __len__(self) -> int:
            raise Touched("__len__")

    @task
    def same(value: int) -> int:
        return value

    @flow
    def outer(rows: Rows) -> list[int]:
        return same.map(rows).result(WAIT_S)

    rows = Rows()
    assert outer(rows) == [1, 2]
    assert rows.loads == 1


# --- errors ---------------------------------------------------------------------------------------


_OPTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "bare": lambda _: {},
    "retries": lambda _: {"retries": 1},
    "condition": lambda bad: {"retries": 1, "retry_condition_fn": bad},
    "hooks": lambda bad: {"on_failure": [bad], "on_running": [bad]},
    "name": lambda bad: {"task_run_name": bad},
    "timeout": lambda _: {"timeout_seconds": WAIT_S},
}


_CASES = [
    (maker, options)
    for maker in ERRORS
    for options in _OPTIONS
    # A condition's error is logged unchanged: a lone surrogate would break the test's own report.
    if (maker, options) != ("surrogate", "condition")
]


@pytest.mark.parametrize(("maker", "options"), _CASES)
def test_a_run_fails_with_its_error_whatever_that_is(
    recorder: Recorder, kind: Kind, maker: str, options: str
) -> None:
    calls: list[type] = []

    def refuse(*_: object) -> Any:
        raise ERRORS[maker]()

    async def bad() -> None:
        calls.append(type(ERRORS[maker]()))
        raise ERRORS[maker]()

    @kind.flow
    async def outer() -> None:
        it = kind.task(bad, **_OPTIONS[options](refuse))
        for state in (
            await ended(it(return_state=True)),
            it.submit(return_state=True),
        ):
            assert state.type.name == "FAILED"
            assert type(state.data) is type(ERRORS[maker]())
            assert isinstance(state.message, str)
            state.message.encode()

    # SystemExit is not an error: hooks and conditions that exit end the process.
    kind.run(outer)
    assert len(calls) == {"retries": 4, "name": 0}.get(options, 2)


@pytest.mark.parametrize("maker", ERRORS)
def test_an_error_is_told_of_without_raising(maker: str) -> None:
    error = ERRORS[maker]()
    info = failure_info(error)
    for text in (info.type, info.message, info.stack_trace, summary(error)):
        assert type(text) is str
        text.encode()


def test_an_error_that_is_false_is_an_error(recorder: Recorder, kind: Kind) -> None:
    called = []

    def name() -> str:
        raise ERRORS["false"]()

    @kind.task(task_run_name=name)
    async def never(value: object = None) -> None:
        called.append(1)

    @kind.flow
    async def outer() -> list[Any]:
        return [
            (await ended(never(return_state=True))).name,
            never.submit(return_state=True).name,
            (await ended(never([never.submit()], return_state=True))).name,
        ]

    assert kind.run(outer) == ["Failed", "Failed", "NotReady"]
    assert called == []


def test_code_that_is_run_without_a_name_fails_as_any(recorder: Recorder) -> None:
    @task
    def run() -> None:
        exec("1/0", {"__name__": 5})  # noqa: S102 - the subject of the test

    with pytest.raises(ZeroDivisionError):
        run()
    assert recorder.end("run") == ("FAILED", "Failed")


class _Message:
    def __str__(self) -> str:
        raise Touched("__str__")


def test_a_state_whose_message_raises_fails_the_run_and_may_be_retried(
    recorder: Recorder, kind: Kind
) -> None:
    @kind.task(retries=1)
    async def odd() -> State:
        state = Completed()
        state.message = _Message()  # type: ignore[assignment] # the subject of the test
        return state

    state = kind.run(odd, return_state=True)
    assert (state.type.name, type(state.data)) == ("FAILED", Touched)
    assert recorder.states("odd") == [
        ("Running", 1),
        ("Retrying", 2),
        ("Failed", 2),
    ]


def test_exits_with_any_code_are_crashes(recorder: Recorder) -> None:
    @task
    def leave() -> None:
        raise SystemExit(Hostile())

    with pytest.raises(SystemExit):
        leave()
    assert recorder.end("leave") == ("CRASHED", "Crashed")
    message = recorder.last_event("leave")[5]
    assert message.endswith("(SystemExit: <tests.support.user_values.Hostile object>).")


# --- what surrounds a run -------------------------------------------------------------------------


def test_wait_for_is_not_asked_for_its_truth(recorder: Recorder, kind: Kind) -> None:
    class Futures(list[Any]):
        def __bool__(self) -> bool:
            raise Touched("__bool__")

        def __len__(self) -> int:
            raise Touched("__len__")

    @kind.task
    async def one() -> int:
        return 1

    @kind.flow
    async def outer() -> int:
        futures = Futures([one.submit()])
        return await ended(one(wait_for=futures)) + one.submit(wait_for=futures).result(WAIT_S)

    assert kind.run(outer) == 2


def test_a_value_with_allowed_failure(recorder: Recorder, kind: Kind) -> None:
    @kind.task
    async def bad() -> None:
        raise ERRORS["hostile"]()

    @kind.task
    async def name(error: Any) -> str:
        return type(error).__name__

    @kind.flow
    async def outer() -> list[str]:
        future = bad.submit()
        future.wait()
        return [
            await ended(name(allow_failure(future))),
            name.submit(allow_failure([future])).result(WAIT_S),
        ]

    assert kind.run(outer) == ["HostileError", "list"]


def test_generators_of_values(recorder: Recorder) -> None:
    @task
    def give() -> Iterator[Any]:
        for make in VALUES.values():
            yield make()

    @flow
    def outer() -> int:
        assert len(give.submit().result(WAIT_S)) == len(VALUES)
        touched.clear()
        return sum(1 for _ in give())

    assert outer() == len(VALUES)
    assert touched == []


def test_a_frame_in_a_state_made_by_hand(recorder: Recorder) -> None:
    @task
    def give(name: str) -> State:
        return Completed(data=frame()) if name == "good" else Failed(data=frame())

    good = give("good", return_state=True)
    assert type(good.result()) is type(frame())
    bad = give("bad", return_state=True)
    assert bad.is_failed()
    assert type(bad.result(raise_on_failure=False)) is type(frame())
    with pytest.raises(RunFailed):
        bad.result()


def test_tags_and_names_with_half_a_surrogate_pair(recorder: Recorder, kind: Kind) -> None:
    @kind.task(name="t\ud800", tags=["a\ud800", "b"], task_run_name="run\ud800")
    async def one() -> State:
        return Completed(name="n\ud800", message="m\ud800")

    @kind.flow(name="f\ud800", flow_run_name="{x}")
    async def outer(x: str) -> None:
        with tags("c\ud800"):
            await ended(one())

    kind.run(outer, "x\ud800")
    for run in recorder.runs:
        for text in (run.function_name, run.run_name, *run.tags):
            text.encode()
    (run,) = [run for run in recorder.runs if not run.is_flow]
    assert run.tags == ("a\\ud800", "b", "c\\ud800")
    assert recorder.last_event(run)[4:6] == ("n\\ud800", "m\\ud800")
