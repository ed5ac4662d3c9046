"""Callable objects that hide their attributes."""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.drivers.calls import aio, aio_generators, generators, sync
from flowspan.drivers.task_runners import submit
from flowspan.exceptions import ParameterError

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

BOTH = pytest.mark.parametrize("decorator", [flow, task], ids=["flow", "task"])


def refused(name: str) -> Any:
    def get(self: object) -> Any:
        raise RuntimeError(f"{name} is not to be had")

    return property(get)


def refuses(self: object, *_: object) -> Any:
    raise RuntimeError("not comparable")


def called(self: object, x: int = 1) -> int:
    """A rule."""
    return x


async def called_async(self: object, x: int = 1) -> int:
    """A rule."""
    return x


NAMES = [
    *("__signature__", "__wrapped__", "__func__", "__code__", "__name__"),
    *("__module__", "__doc__", "__annotations__", "__type_params__", "__text_signature__"),
    *("__defaults__", "__globals__", "__self__", "__partialmethod__", "_is_coroutine_marker"),
]
NAMESPACES: dict[str, dict[str, Any]] = {
    "equality": {"__eq__": refuses, "__hash__": None},
    "hash": {"__hash__": refuses},
    "truth": {"__bool__": refuses},
    "length": {"__len__": lambda _: 0},
    "repr": {"__repr__": refuses},
    "any attribute": {"__getattr__": refuses},
    "__class__": {"__class__": refused("__class__")},
    **{name: {name: refused(name)} for name in NAMES},
}
RULES = pytest.mark.parametrize("namespace", NAMESPACES.values(), ids=NAMESPACES)


def rule(namespace: dict[str, Any], call: Any = called) -> Any:
    return type("Rule", (), {"__call__": call, **namespace})()


@BOTH
@RULES
@pytest.mark.parametrize("call", [called, called_async], ids=["plain", "async"])
def test_an_object_that_refuses_is_called(
    recorder: Recorder, decorator: Any, namespace: Any, call: Any
) -> None:
    it = decorator(name="rule")(rule(namespace, call))
    value = it(3)
    assert (asyncio.run(value) if inspect.iscoroutine(value) else value) == 3
    assert recorder.end("rule") == ("COMPLETED", "Completed")


@RULES
def test_its_arguments_are_validated(recorder: Recorder, namespace: Any) -> None:
    it = flow(name="rule")(rule(namespace))
    assert it("3") == it(x="3") == 3
    with pytest.raises(ParameterError):
        it("many")


@RULES
def test_it_is_submitted_copied_and_has_a_name(recorder: Recorder, namespace: Any) -> None:
    it = task(rule(namespace)).with_options(retries=1)
    assert it.name in {"Rule", "rule"}

    @flow
    def outer() -> Any:
        return it.submit(1).result(), it.map([2, 3]).result()

    assert outer() == (1, [2, 3])


@BOTH
@RULES
def test_a_name_function_that_refuses(recorder: Recorder, decorator: Any, namespace: Any) -> None:
    def named(self: object, parameters: dict[str, Any]) -> str:
        return f"name {parameters['x']}"

    option = {f"{decorator.__name__}_run_name": rule(namespace, named)}

    @decorator(**option)
    def it(x: int) -> int:
        return x

    it(3)
    assert recorder.run("it").run_name == "name 3"


@BOTH
def test_a_class_method_that_gives_values_and_was_not_looked_up(
    recorder: Recorder, decorator: Any
) -> None:
    @decorator
    @classmethod
    def values(cls: Any) -> Any:
        yield 1

    with pytest.raises(TypeError):
        next(values())
    assert recorder.end("values")[0] == "FAILED"


@BOTH
def test_a_coroutine_that_no_loop_runs(recorder: Recorder, decorator: Any) -> None:
    @decorator
    async def it() -> int:
        return 1

    coroutine = it()
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)
    assert recorder.end("it")[0] == "FAILED"


def broken(*_: object, **__: object) -> Any:
    raise OSError("nothing left")


PLACES: list[tuple[Any, str]] = [
    (sync, "begin_ending_with_process"),
    (sync, "taking_commands"),
    (aio, "begin_ending_with_process"),
    (aio, "taking_commands"),
    (aio, "interruptible"),
    (generators, "taking_commands"),
    (generators, "copy_context"),
    (aio_generators, "taking_commands"),
    (submit, "copy_context"),
]


def plain() -> int:
    return 1


async def later() -> int:
    return 1


def plain_values() -> Any:
    yield 1


async def later_values() -> Any:
    yield 1


@BOTH
@pytest.mark.parametrize("function", [plain, later, plain_values, later_values])
@pytest.mark.parametrize(("module", "name"), PLACES)
def test_what_breaks_between_announcement_and_execution_ends_the_run(
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    decorator: Any,
    function: Any,
    module: Any,
    name: str,
) -> None:
    it = decorator(function)

    async def gone_through(values: Any) -> list[Any]:
        return [each async for each in values]

    monkeypatch.setattr(module, name, broken)
    with suppress(OSError):
        value = it()
        if inspect.iscoroutine(value):
            asyncio.run(value)
        elif inspect.isasyncgen(value):
            asyncio.run(gone_through(value))
        elif inspect.isgenerator(value):
            list(value)
    if decorator is task:
        with suppress(OSError):
            it.submit().wait(60)
    # At the end, the recorder looks for open runs.


def test_the_scope_of_a_submitted_run_breaks(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = task(name="it", task_run_name="{after}")(lambda after: after)
    is_over = threading.Event()

    @task
    def wait() -> int:
        is_over.wait(60)
        return 1

    @flow
    def outer() -> None:
        needed = wait.submit()
        monkeypatch.setattr(submit, "copy_context", broken)
        try:
            it.submit(needed)
        finally:
            monkeypatch.undo()
            is_over.set()

    with pytest.raises(OSError, match="nothing left"):
        outer()
    assert recorder.end("it")[0] == "FAILED"
