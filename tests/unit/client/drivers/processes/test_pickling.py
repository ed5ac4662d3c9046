"""Importable flows and tasks are pickled by reference, others by value."""

from __future__ import annotations

import copy
import pickle
import sys
from types import ModuleType

import cloudpickle
import pytest

from flowspan import flow, task
from flowspan.core.events import RunRecord
from flowspan.core.run import Run
from flowspan.core.states import FAILED, State, StoredState
from flowspan.drivers.cancellation.scope import CancelScope
from flowspan.drivers.futures.future import TaskFuture
from flowspan.states import Completed, Failed


@task
def plain(x: int) -> int:
    return x + 1


@flow
def outer(x: int) -> int:
    return plain.fn(x)


class Owner:
    def __init__(self, value: int) -> None:
        self.value = value

    @task
    def method(self, x: int) -> int:
        return self.value + x

    @task
    @classmethod
    def of_class(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x

    @task
    @staticmethod
    def static(x: int) -> int:
        return x


def again(thing):
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - pickled by this test


def test_what_can_be_imported_stays_the_same_object():
    assert again(plain) is plain
    assert again(outer) is outer
    assert again([plain, plain]) == [plain, plain]


@pytest.mark.parametrize("way", [copy.copy, lambda thing: again(thing.with_options(retries=3))])
def test_a_copy_of_what_can_be_imported_is_a_copy(way):
    made = way(plain)
    assert made is not plain
    assert made.fn is plain.fn, "the module must still have the function"


def test_options_come_along():
    def condition(*_: object) -> bool:
        return True

    made = again(
        plain.with_options(
            name="other", retries=3, retry_condition_fn=condition, tags=["a"], timeout_seconds=5
        )
    )
    assert (made.name, made.retries, made.tags, made.timeout_seconds) == ("other", 3, {"a"}, 5.0)
    assert made.retry.condition(None, None, None)
    assert made.with_options(tags=["b"]).retry.retries == 3
    assert (made.__name__, made.__wrapped__) == ("plain", plain.fn)


def test_functions_inside_of_functions_go_by_value_with_what_they_use():
    offset = 10

    @task
    def inner(x: int) -> int:
        return x + offset

    @flow
    def around(x: int) -> int:
        return inner.fn(x)

    copied = again(inner)
    assert copied is not inner
    assert copied.fn(1) == 11
    copied = again(around)
    assert copied.fn(1) == 11
    assert copied.validate_parameters({"x": "3"}) == {"x": 3}


def test_a_lambda_goes_by_value():
    assert again(task(lambda x: x * 2, name="double")).fn(4) == 8


def test_a_task_that_calls_itself_can_be_pickled():
    @task
    def countdown(n: int) -> int:
        return 0 if n == 0 else countdown.fn(n - 1)

    assert again(countdown).fn(3) == 0


@pytest.mark.parametrize("way", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_methods_go_with_their_object(way):
    for method, expected in (
        (Owner(5).method, 6),
        (Owner.of_class, ("Owner", 1)),
        (Owner(5).of_class, ("Owner", 1)),
        (Owner.static, 1),
    ):
        copied = way.loads(way.dumps(method))
        assert copied.fn(1) == expected


def test_a_task_of_the_main_module_goes_by_value(monkeypatch):
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec("from flowspan import task\n@task\ndef mine(x): return x + ONE\nONE = 1", vars(main))  # noqa: S102 - as Python runs a program
    copied = again(main.mine)
    assert copied is not main.mine
    assert copied.fn(1) == 2


def test_a_module_that_cloudpickle_is_to_take_by_value_is_so_taken():
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        assert again(plain) is not plain
        assert again(plain).fn(1) == 2
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def test_states_travel():
    for state in (
        Completed(data=[1, 2], name="Skipped"),
        Failed(message="no", data=ValueError("no")),
        State(FAILED, run_id="id", time_ns=5),
        StoredState(Completed(message="on disk"), lambda: [1, 2]),
    ):
        copied = again(state)
        assert copied == state
        assert repr(copied.data) == repr(state.data)


def test_futures_and_runs_do_not_and_say_what_to_do():
    record = RunRecord(
        "id",
        is_flow=False,
        function_name="plain",
        run_name="plain-0",
        parent_run_id=None,
        root_run_id="id",
        flow_run_id=None,
    )
    run = Run(record, plain, None, None, CancelScope(), 0, False)
    with pytest.raises(TypeError, match=r"'plain-0'.*future\.result\(\)"):
        pickle.dumps(TaskFuture(run))
    with pytest.raises(TypeError, match=r"'plain-0'.*its id"):
        pickle.dumps(run)
