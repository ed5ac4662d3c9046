"""Deadlines have one contract, whatever breaks the function off.

In the main thread this is an alarm signal, in other threads an asynchronous exception, and in
coroutines a cancellation by asyncio. Each case runs in each place.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.sync_and_async import ASYNC, PLAIN, Kind, ended

from flowspan.exceptions import RunTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.support.recorder import Recorder

# Keep the alarm signal free: pytest-timeout's default method would occupy it.
pytestmark = pytest.mark.timeout(300, method="thread")

WAIT_S = 30.0
FOREVER_S = 300.0
DEADLINE_S = 0.05


def in_thread(function: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join(WAIT_S)
    return found[0]


def without_alarm(function: Callable[[], Any]) -> Any:
    """Call a function while the program uses the alarm signal."""

    def handler(*_: object) -> None: ...

    before = signal.signal(signal.SIGALRM, handler)
    try:
        return function()
    finally:
        assert signal.signal(signal.SIGALRM, before) is handler


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for the effects of a function that was interrupted in its own thread."""
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def at_once(function: Callable[[], Any]) -> Any:
    return function()


@dataclass(frozen=True)
class Place:
    """A place in which a task runs.

    Attributes:
        kind: The kind of function: plain or asynchronous.
        around: Calls the flow.
        is_submitted: True if the flow submits the task instead of calling it.
    """

    kind: Kind
    around: Callable[[Callable[[], Any]], Any] = at_once
    is_submitted: bool = False


PLACES = {
    "main thread": Place(PLAIN),
    "main thread without the alarm": Place(PLAIN, without_alarm),
    "other thread": Place(PLAIN, in_thread),
    "submitted": Place(PLAIN, is_submitted=True),
    "coroutine": Place(ASYNC),
    "coroutine in another thread": Place(ASYNC, in_thread),
    "submitted coroutine": Place(ASYNC, is_submitted=True),
}


@dataclass
class Body:
    """The function of a task, with what it observed.

    Attributes:
        kind: The kind of function.
        seen: The observations, in order.
        calls: The number of calls.
    """

    kind: Kind
    seen: list[str] = field(default_factory=list)
    calls: int = 0

    async def sleep(self, seconds: float = FOREVER_S) -> None:
        """Sleep. A plain function wakes up often: a thread is interrupted between steps only."""
        if self.kind.is_async:
            await asyncio.sleep(seconds)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.001)  # noqa: ASYNC251 - this is the plain function

    async def in_time(self) -> str:
        return "value"

    async def own_error(self) -> None:
        raise TimeoutError("its own")

    async def cleaning_up(self) -> None:
        try:
            await self.sleep()
        except Exception:  # noqa: BLE001 - the subject of the test
            self.seen.append("caught")
        finally:
            self.seen.append("cleaned up")

    async def too_late(self) -> str:
        try:
            await self.sleep()
        except BaseException:  # noqa: BLE001 - the subject of the test
            self.seen.append("went on")
        return "value"

    async def second_time(self) -> str:
        self.calls += 1
        if self.calls == 1:
            await self.sleep()
        return f"value {self.calls}"

    async def calling(self) -> None:
        @self.kind.task(retries=3)
        async def child() -> None:
            await self.sleep()

        await ended(child())
        self.seen.append("the child returned")

    async def nested(self) -> str:
        @self.kind.task(timeout_seconds=DEADLINE_S)
        async def child() -> None:
            await self.sleep()

        try:
            await ended(child())
        except RunTimeout:
            self.seen.append("inner deadline")
        return "value"


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return PLACES[request.param]


def run(
    place: Place, make: Callable[[Body], Callable[[], Coroutine[Any, Any, Any]]], **options: Any
) -> tuple[Any, Body]:
    """Run a task in a place; return its state, and the body with its observations."""
    kind, body = place.kind, Body(place.kind)
    function = make(body)

    @kind.task(**{"name": "work", "timeout_seconds": DEADLINE_S, **options})
    async def work() -> Any:
        return await function()

    @kind.flow
    async def outer() -> Any:
        if place.is_submitted:
            return [work.submit(return_state=True)]
        return [await ended(work(return_state=True))]

    found: list[Any] = []

    def call() -> None:
        found.append(kind.run(outer, return_state=True))

    place.around(call)
    (state,) = found[0].data if isinstance(found[0].data, list) else [found[0].data]
    return state, body


def test_a_value_in_time_is_the_result(recorder: Recorder, place: Place) -> None:
    state, _ = run(place, lambda body: body.in_time, timeout_seconds=WAIT_S)
    assert (state.name, state.data) == ("Completed", "value")


def test_an_error_of_the_functions_own_is_that_error(recorder: Recorder, place: Place) -> None:
    state, _ = run(place, lambda body: body.own_error, timeout_seconds=WAIT_S)
    assert (state.type, state.name) == ("FAILED", "Failed")
    assert type(state.data) is TimeoutError


def test_a_function_past_its_deadline_is_broken_off_and_cleans_up(
    recorder: Recorder, place: Place
) -> None:
    began = time.monotonic()
    state, body = run(place, lambda body: body.cleaning_up)
    assert time.monotonic() - began < WAIT_S
    assert (state.type, state.name) == ("FAILED", "TimedOut")
    assert type(state.data) is RunTimeout
    assert "Task run 'work" in str(state.data)
    assert "exceeded its timeout of 0.05 s" in str(state.data)
    assert "in cleaning_up" in recorder.last_event("work")[7].stack_trace
    wait_until(lambda: body.seen == ["cleaned up"])


def test_a_value_that_comes_too_late_is_discarded(recorder: Recorder, place: Place) -> None:
    state, body = run(place, lambda body: body.too_late)
    assert (state.type, state.name) == ("FAILED", "TimedOut")
    wait_until(lambda: body.seen == ["went on"])


def test_each_attempt_has_the_whole_time(recorder: Recorder, place: Place) -> None:
    state, body = run(place, lambda body: body.second_time, timeout_seconds=1.0, retries=1)
    assert (state.name, state.data, body.calls) == ("Completed", "value 2", 2)
    assert recorder.states("work") == [("Running", 1), ("Retrying", 2), ("Completed", 2)]


def test_the_called_tasks_are_cancelled(recorder: Recorder, place: Place) -> None:
    state, body = run(place, lambda body: body.calling)
    assert (state.type, state.name) == ("FAILED", "TimedOut")
    wait_until(lambda: recorder.end("child") == ("CANCELLED", "Cancelled"))
    assert body.seen == []


def test_a_call_that_blocks_in_c_ends_its_run_at_the_deadline(
    recorder: Recorder, place: Place
) -> None:
    """In the main thread it is interrupted; in another thread it is abandoned, not awaited."""
    go = threading.Event()

    async def block() -> None:
        await asyncio.sleep(FOREVER_S) if place.kind.is_async else go.wait(WAIT_S)

    state, _ = run(place, lambda body: block)
    assert (state.type, state.name, go.is_set()) == ("FAILED", "TimedOut", False)
    go.set()


def test_an_inner_deadline_leaves_the_outer_one_alone(recorder: Recorder, place: Place) -> None:
    state, body = run(place, lambda body: body.nested, timeout_seconds=WAIT_S)
    assert (state.name, state.data) == ("Completed", "value")
    assert recorder.end("child") == ("FAILED", "TimedOut")
    assert body.seen == ["inner deadline"]
