"""Callables other than plain functions: supported ones (methods, objects, partials) and others."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.exceptions import ParameterError

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

BOTH = pytest.mark.parametrize("decorator", [flow, task], ids=["flow", "task"])


def run(value: Any) -> Any:
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


def store_class(decorator: Any, is_async: bool) -> Any:
    def made(function: Any) -> Any:
        if not is_async:
            return function

        @functools.wraps(function)
        async def later(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return later

    class Store:
        prefix = "class"

        def __init__(self) -> None:
            self.prefix = "instance"

        def _instance(self, x: int) -> str:
            return f"{self.prefix} {x!r}"

        def _class(cls, x: int) -> str:  # noqa: N805 - decorated below
            return f"{cls.prefix} {x!r}"

        def _static(x: int) -> str:  # noqa: N805 - decorated below
            return f"static {x!r}"

        instance = decorator(name="instance")(made(_instance))
        class_outside = classmethod(decorator(name="class")(made(_class)))
        class_inside = decorator(name="class")(classmethod(made(_class)))
        static_outside = staticmethod(decorator(name="static")(made(_static)))
        static_inside = decorator(name="static")(staticmethod(made(_static)))

    return Store


CLASSMETHOD_CHAINS = sys.version_info < (3, 13)
"""True if classmethod binds the flow or task that it wraps instead of only passing the class."""
METHODS = [
    ("instance", "instance"),
    ("class_outside", "class"),
    ("class_inside", "class"),
    ("static_outside", "static"),
    ("static_inside", "static"),
]


@BOTH
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize(("attribute", "result"), METHODS)
def test_methods(
    recorder: Recorder, decorator: Any, is_async: bool, attribute: str, result: str
) -> None:
    store_type = store_class(decorator, is_async)
    is_bound = attribute != "class_outside" or CLASSMETHOD_CHAINS
    holders = [store_type()] if attribute == "instance" else [store_type, store_type()]
    for holder in holders:
        method = getattr(holder, attribute)
        assert run(method(5)) == f"{result} 5"
        assert run(method(x=5, return_state=True)).result() == f"{result} 5"
        if not is_bound:
            with pytest.raises((ParameterError, TypeError), match="'x'"):
                run(method.with_options(retries=1)(5))
            continue
        other = method.with_options(name="other", retries=1)
        assert (other.name, other.retry.retries) == ("other", 1)
        assert run(other(5)) == f"{result} 5"
        if decorator is task:
            assert method.submit(5).result() == f"{result} 5"
            assert method.map([5, 6]).result() == [f"{result} 5", f"{result} 6"]
        else:
            assert run(method("5")) == f"{result} 5", "it must be validated like the function"
            assert method.validate_parameters({"x": "5"}) == {"x": 5}
    assert {each.function_name for each in recorder.runs} == {result, *(("other",) * is_bound)}


@BOTH
def test_a_bound_method_shows_its_own_signature(recorder: Recorder, decorator: Any) -> None:
    class Store:
        @decorator
        def get(self, key: int) -> int:
            """Gets it."""
            return key

    assert list(inspect.signature(Store().get).parameters) == ["key"]
    assert list(inspect.signature(Store.get).parameters) == ["self", "key"]
    assert Store.get(Store(), 5) == 5
    assert (Store.get.__name__, Store.get.__doc__) == ("get", "Gets it.")


@BOTH
def test_objects_and_partials(recorder: Recorder, decorator: Any) -> None:
    class Adder:
        """Adds."""

        def __init__(self, to: int) -> None:
            self.to = to

        def __call__(self, x: int) -> int:
            return self.to + x

        async def later(self, x: int) -> int:
            return self.to + x

        def each(self, x: int) -> Any:
            yield self.to + x

    def add(a: int, b: int) -> int:
        """Adds two."""
        return a + b

    async def add_later(a: int, b: int) -> int:
        return a + b

    later_name = "add-later" if decorator is flow else "add_later"
    called = [
        (Adder(1), "Adder", "Adds."),
        (functools.partial(add, 1), "add", "Adds two."),
        (functools.partial(functools.partial(add), b=1), "add", "Adds two."),
        (functools.partial(add_later, 1), later_name, None),
        (Adder(1).later, "later", None),
        (functools.partial(Adder(1).later), "later", None),
        (max, "max", inspect.getdoc(max)),
    ]
    for fn, name, description in called:
        made = decorator(fn)
        assert (made.name, made.description) == (name, description)
        args = (2,) if fn is not max else ([2, 3],)
        assert run(made(*args)) == 3
        assert run(made.with_options(name="x")(*args)) == 3
    assert list(decorator(functools.partial(Adder(1).each, 2))()) == [3]
    if decorator is flow:
        assert flow(functools.partial(add, 1))("2") == 3, "it must be validated like the function"
        with pytest.raises(ParameterError, match="'b'"):
            flow(functools.partial(add, 1))("x")


@BOTH
@pytest.mark.parametrize("reserved", ["return_state", "wait_for"])
def test_reserved_parameters_are_refused(decorator: Any, reserved: str) -> None:
    names: dict[str, Any] = {}
    exec(  # noqa: S102 - four kinds of one function
        f"def plain({reserved}): ...\n"
        f"async def later(*, {reserved}=None): ...\n"
        f"def each({reserved}): yield\n"
        f"class Object:\n    def __call__(self, {reserved}): ...\n"
        f"    @classmethod\n    def of(cls, {reserved}): ...\n",
        names,
    )
    object_type = names["Object"]
    partial = functools.partial(names["plain"])
    for fn in (names["plain"], names["later"], names["each"], object_type(), object_type.of):
        with pytest.raises(TypeError, match=f"{reserved!r}.*another name"):
            decorator(fn)
    with pytest.raises(TypeError, match=f"{reserved!r}"):
        decorator(partial)
    with pytest.raises(TypeError, match=f"{reserved!r}"):
        decorator(object_type.__dict__["of"])


@BOTH
def test_with_options_keeps_what_is_not_given(decorator: Any) -> None:
    def hook(*_: Any) -> None: ...

    given = {
        "name": "first",
        "description": "about it",
        "version": "1",
        "retries": 2,
        "retry_delay_seconds": [1, 2],
        "timeout_seconds": 5,
        "log_prints": True,
        "on_failure": [hook],
    }

    @decorator(**given)
    def first() -> None: ...

    second = first.with_options(retries=3).with_options(name="second")
    assert (first.name, first.retry.retries) == ("first", 2)
    assert (second.name, second.retry.retries) == ("second", 3)
    for attribute in ("description", "version", "timeout_s", "log_prints"):
        assert getattr(second, attribute) == getattr(first, attribute)
    assert second.retry.delays_s == first.retry.delays_s == (1, 2)
    assert second.hooks.of("on_failure") == (hook,)
    with pytest.raises(TypeError, match="retry"):
        first.with_options(retry=1)


@BOTH
def test_names_of_runs_are_texts_or_functions(decorator: Any) -> None:
    option = f"{decorator.__name__}_run_name"
    with pytest.raises(TypeError, match=f"{option} must be a string or a function.*, not 5"):
        decorator(name="it", **{option: 5})(lambda: None)


@BOTH
def test_a_parameter_may_be_named_self(recorder: Recorder, decorator: Any) -> None:
    @decorator
    def add(x: int, self: int) -> int:
        return x + self

    assert add(1, self=2) == 3
    if decorator is task:
        assert add.submit(1, self=2).result() == 3
        assert add.map([1], self=[2]).result() == [3]


@BOTH
def test_what_was_never_awaited_is_named(recorder: Recorder, decorator: Any) -> None:
    @decorator
    async def forgotten() -> None: ...

    with pytest.warns(RuntimeWarning, match="coroutine 'forgotten' was never awaited"):
        forgotten()


@pytest.mark.parametrize("runner", ["threads", 4, dict])
def test_a_task_runner_is_one(runner: Any) -> None:
    with pytest.raises(TypeError, match=r"task_runner must be .*ThreadPoolTaskRunner.*not"):
        flow(task_runner=runner, name="it")(lambda: None)
