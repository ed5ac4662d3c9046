"""A flow over a wrapper passes on the caller's arguments; only the values may be coerced."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from pydantic import Field

from flowspan import flow, runtime, task
from flowspan.exceptions import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorder import Recorder


def noting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a wrapper that returns its arguments."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return args, list(kwargs.items())

    return wrapper


def noting_async(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return args, list(kwargs.items())

    return wrapper


def noting_values(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        yield args, list(kwargs.items())

    return wrapper


class NotingObject:
    """An object that wraps a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args, list(kwargs.items())


def every_kind(a: int, /, b: int, c: int = 3, *rest: int, d: int = 4, e: float = 5.0, **more: int):
    """Take a parameter of each kind."""


CALLS: list[tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...], dict[str, Any]]] = [
    (("1", "2"), {}, (1, 2), {}),
    (("1",), {"b": "2"}, (1,), {"b": 2}),
    (("1",), {"e": "5", "b": "2"}, (1,), {"e": 5.0, "b": 2}),
    (("1",), {"c": "3", "b": "2", "d": "4"}, (1,), {"c": 3, "b": 2, "d": 4}),
    (("1", "2", "3", "4", "5"), {"d": "6"}, (1, 2, 3, "4", "5"), {"d": 6}),
    (("1",), {"z": "9", "b": "2", "a": "7"}, (1,), {"z": "9", "b": 2, "a": "7"}),
]


def ended(value: Any) -> Any:
    if inspect.iscoroutine(value):
        return asyncio.run(value)
    return next(value) if inspect.isgenerator(value) else value


@pytest.mark.parametrize("wrap", [noting, noting_async, noting_values, NotingObject])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: str(call[:2]))
def test_the_wrapper_gets_what_the_caller_gave(recorder: Recorder, wrap: Any, call: Any) -> None:
    args, kwargs, expected_args, expected_kwargs = call
    validated = flow(name="it")(wrap(every_kind))
    assert ended(validated(*args, **kwargs)) == (expected_args, list(expected_kwargs.items()))
    for other in (
        flow(name="it", validate_parameters=False)(wrap(every_kind)),
        task(name="it")(wrap(every_kind)),
    ):
        assert ended(other(*args, **kwargs)) == (args, list(kwargs.items())), "nor do tasks"


def test_methods_partials_and_subflows(recorder: Recorder) -> None:
    class Store:
        @flow(name="method")
        @noting
        def method(self, a: int, b: int = 2) -> None: ...

        @classmethod
        @flow(name="of_class")
        @noting
        def of_class(cls, a: int, b: int = 2) -> None: ...

        @flow(name="static")
        @staticmethod
        @noting
        def static(a: int, b: int = 2) -> None: ...

    partial = flow(name="partial")(functools.partial(noting(every_kind), 1, c=3))

    @flow
    def outer() -> None:
        store = Store()
        assert store.method(a="1") == ((store,), [("a", 1)])
        assert Store.static("1") == ((1,), [])
        assert partial("2", z="9") == ((1, 2), [("c", 3), ("z", "9")])

    outer()


def test_the_parameters_of_the_run_are_complete_all_the_same(recorder: Recorder) -> None:
    def known(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return runtime.flow_run.parameters

        return wrapper

    it = flow(name="it", flow_run_name="{b}-{c}")(known(every_kind))
    expected = {"a": 1, "b": 2, "c": 3, "rest": (), "d": 4, "e": 5, "more": {}}
    assert it(1, b="2") == expected
    assert recorder.run("it").run_name == "2-3"


def test_pydantic_fields_as_defaults_are_still_filled_in(recorder: Recorder) -> None:
    a_field: Any = Field(default=4, gt=0)
    a_list: Any = Field(default_factory=list)

    @flow
    @noting
    def by_keyword(a: int, b: int = a_field, *, c: list[int] = a_list) -> None: ...

    @flow
    @noting
    def by_position(a: int = 1, b: int = a_field, /) -> None: ...

    assert by_keyword("1") == ((1,), [("b", 4), ("c", [])])
    assert by_keyword(b="2", a="1") == ((), [("b", 2), ("a", 1), ("c", [])])
    assert by_position() == ((1, 4), [])
    assert by_position("2") == ((2, 4), [])


def with_session(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a wrapper that adds an argument."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, session="made", **kwargs)

    return wrapper


def test_a_wrapper_that_adds_an_argument(recorder: Recorder) -> None:
    @flow
    @with_session
    def load(day: int, *, session: str) -> Any:
        return day, session, runtime.flow_run.parameters

    assert load("5") == load(day="5") == (5, "made", {"day": 5})
    with pytest.raises(ParameterError, match="'day'"):
        load("monday")
    with pytest.raises(TypeError, match="'other'"):
        load("5", other=1)

    @flow
    @with_session
    def read(day: int, session: str) -> Any:
        return day, session

    assert read(day="5") == (5, "made")
    assert read("5") == ("5", "made"), "the argument could belong to either parameter"

    @flow
    @mock.patch("os.getcwd")
    def patched(day: int, getcwd: Any) -> Any:
        return day, isinstance(getcwd, mock.Mock)

    assert patched(5) == (5, True)
    assert recorder.end("patched") == ("COMPLETED", "Completed")


def test_a_wrapper_that_takes_an_argument_away(recorder: Recorder) -> None:
    def loud(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, loud: bool = False, **kwargs: Any) -> Any:
            return function(*args, **kwargs), loud

        return wrapper

    @flow
    @loud
    def say(text: str) -> str:
        return text

    assert say("hello", loud=True) == ("hello", True)
    assert say("hello") == ("hello", False)


def named_option(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, loud: str = "no", **kwargs: Any) -> Any:
        return loud, function(*args, **kwargs)

    return wrapper


def popped_option(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return kwargs.pop("loud", "no"), function(*args, **kwargs)

    return wrapper


def option_and_session(function: Callable[..., Any]) -> Callable[..., Any]:
    return popped_option(with_session(function))


def own_parameters(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(a: Any, loud: str = "no") -> Any:
        return loud, function(a)

    return wrapper


@pytest.mark.parametrize("wrap", [named_option, popped_option, option_and_session, own_parameters])
def test_a_keyword_of_the_wrapper_alone_leaves_the_others_validated(
    recorder: Recorder, wrap: Any
) -> None:
    @flow(flow_run_name="{a}")
    @wrap
    def it(a: int, *, session: str = "none") -> Any:
        return a, runtime.flow_run.parameters["a"]

    assert it("1") == ("no", (1, 1))
    assert it("1", loud="5") == it(loud="5", a="1") == ("5", (1, 1))
    for kwargs in ({}, {"loud": "yes"}):
        with pytest.raises(ParameterError, match="'a'"):
            it("many", **kwargs)
    assert not [line for line in recorder.logs() if "not validated" in line]
    assert recorder.runs[1].run_name == "1"
    parameters = recorder.runs[1].parameters
    assert parameters is not None
    assert b'"loud":"5"' in parameters.replace(b" ", b"")


def prefixed(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(first: Any, *args: Any, **kwargs: Any) -> Any:
        return first, function(*args, **kwargs)

    return wrapper


def renamed(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(**kwargs: Any) -> Any:
        return kwargs.pop("first"), function(kwargs["a"])

    return wrapper


@pytest.mark.parametrize(
    ("wrap", "args", "kwargs"),
    [(prefixed, (0, "1"), {}), (renamed, (), {"first": 0, "a": "1"})],
)
def test_a_warning_says_that_arguments_cannot_be_told_apart(
    recorder: Recorder, wrap: Any, args: Any, kwargs: Any
) -> None:
    @flow
    @wrap
    def it(a: int, /) -> Any:
        return a

    assert it(*args, **kwargs) == it(*args, **kwargs) == (0, "1")
    (line,) = [line for line in recorder.logs() if "not validated" in line]
    assert line.startswith("Flow 'it': the arguments of a call are not validated")

    @flow
    @wrap
    def other(a, /):
        return a

    assert other(*args, **kwargs) == (0, "1")
    assert len([line for line in recorder.logs() if "not validated" in line]) == 1, "none would be"


@pytest.mark.parametrize(
    ("args", "words"), [((), "missing a required argument: 'a'"), ((1, 2, 3), "too many")]
)
def test_without_a_wrapper_a_wrong_call_is_refused(
    recorder: Recorder, args: Any, words: str
) -> None:
    @flow
    def two(a: int, b: int = 2) -> None:
        raise AssertionError("not to be called")

    with pytest.raises(ParameterError, match=words):
        two(*args)
