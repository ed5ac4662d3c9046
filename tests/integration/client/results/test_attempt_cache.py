"""Results that a retried flow reuses: which call takes which result, and in which state."""

from __future__ import annotations

import io
import itertools
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.sync_and_async import ASYNC, PLAIN, Kind, ended

from flowspan import flow, task
from flowspan.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorder import Recorder


@pytest.fixture(params=[PLAIN, ASYNC], ids=repr)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param  # type: ignore[no-any-return]


FAILING: set[int] = set()
WAYS = ["called", "submitted", "mapped"]


async def results_of(way: str, task: Any, *calls: Any) -> list[Any]:
    """Return the results of several calls of a task, made in one of the ways."""
    if way == "called":
        return [await ended(task(each)) for each in calls]
    futures = task.map(list(calls)) if way == "mapped" else [task.submit(each) for each in calls]
    for future in futures:
        future.wait()
    return [future.state.result(_sync=True) for future in futures]


def in_two_attempts(kind: Kind, body: Callable[[int], Any], **options: Any) -> Any:
    """Return the result of a flow's second attempt; its first attempt fails at the end."""
    attempts: list[int] = []

    @kind.flow(retries=1, **options)
    async def caller() -> Any:
        attempts.append(1)
        found = await body(len(attempts))
        if len(attempts) == 1:
            raise ValueError("once")
        return found

    return kind.run(caller)


def drawing(kind: Kind) -> tuple[Any, list[Any]]:
    """Return a task that returns a new number each time, and the list of its calls."""
    calls: list[Any] = []

    @kind.task
    async def draw(x: Any) -> int:
        calls.append(x)
        return len(calls)

    return draw, calls


@pytest.mark.parametrize("way", WAYS)
def test_functions_are_inputs_of_their_own(kind: Kind, recorder: Recorder, way: str) -> None:
    @kind.task
    async def apply(fn: Any) -> Any:
        return fn(10)

    async def body(attempt: int) -> Any:
        numbers = (1, 2, 3) if attempt == 1 else (2, 3)
        return await results_of(way, apply, *(lambda v, n=n: v * n for n in numbers))

    assert in_two_attempts(kind, body) == [20, 30]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))), ids=str)
def test_the_order_does_not_matter(
    kind: Kind, recorder: Recorder, way: str, order: tuple[int, ...]
) -> None:
    draw, calls = drawing(kind)
    first: dict[int, int] = {}

    async def body(attempt: int) -> Any:
        inputs = (1, 2, 3) if attempt == 1 else order
        found = await results_of(way, draw, *inputs)
        first.update(dict(zip(inputs, found, strict=True)) if attempt == 1 else {})
        return found

    assert in_two_attempts(kind, body) == [first[x] for x in order]
    assert len(calls) == 3


@pytest.mark.parametrize("way", ["submitted", "mapped"])
@pytest.mark.parametrize("order", [(3, 1, 2), (2, 3), (3,)], ids=str)
def test_the_order_of_inputs_that_come_late_does_not_matter(
    kind: Kind, recorder: Recorder, way: str, order: tuple[int, ...]
) -> None:
    """At the time of such a call its inputs are unknown, so it counts as the task's next call."""
    draw, calls = drawing(kind)
    first: dict[int, int] = {}

    @kind.task
    async def give(x: int) -> int:
        return x

    async def body(attempt: int) -> Any:
        inputs = (1, 2, 3) if attempt == 1 else order
        found = await results_of(way, draw, *(give.submit(x) for x in inputs))
        first.update(dict(zip(inputs, found, strict=True)) if attempt == 1 else {})
        return found

    assert in_two_attempts(kind, body) == [first[x] for x in order]
    assert len(calls) == 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("inputs", [(1, 1, 1), ([1], [1], [1]), (1.0, 1, True)], ids=str)
def test_equal_calls_keep_each_its_own(
    kind: Kind, recorder: Recorder, way: str, inputs: tuple[Any, ...]
) -> None:
    draw, calls = drawing(kind)
    seen: list[Any] = []

    async def body(_attempt: int) -> Any:
        seen.append(await results_of(way, draw, *inputs))
        return seen[-1]

    assert in_two_attempts(kind, body) == seen[0]
    assert len(calls) == 3


@pytest.mark.parametrize(
    "zeros", [(0.0, -0.0), (1, True), (1.0, 1), ("a", b"a"), (0j, -0j)], ids=str
)
def test_what_only_looks_equal_is_another_call(
    kind: Kind, recorder: Recorder, zeros: tuple[Any, Any]
) -> None:
    draw, calls = drawing(kind)

    async def body(attempt: int) -> Any:
        return await ended(draw(zeros[attempt - 1]))

    assert in_two_attempts(kind, body) == 2
    assert len(calls) == 2


def test_a_call_that_is_left_out_leaves_its_result(kind: Kind, recorder: Recorder) -> None:
    """Calls at other places in the code keep their own results."""
    draw, calls = drawing(kind)

    async def body(attempt: int) -> Any:
        if attempt == 1:
            await ended(draw(0))
        return [await ended(draw(0)), await ended(draw(0))]

    assert in_two_attempts(kind, body) == [2, 3]
    assert len(calls) == 3


def test_a_call_that_is_new_is_run(kind: Kind, recorder: Recorder) -> None:
    draw, calls = drawing(kind)

    async def body(attempt: int) -> Any:
        new = None if attempt == 1 else await ended(draw(0))
        return [new, await ended(draw(0))]

    assert in_two_attempts(kind, body) == [2, 1]
    assert len(calls) == 2


def test_functions_that_call_are_told_apart(kind: Kind, recorder: Recorder) -> None:
    draw, _ = drawing(kind)

    async def helper() -> Any:
        return await ended(draw(0))

    async def body(attempt: int) -> Any:
        if attempt == 1:
            await helper()
        return await helper()

    assert in_two_attempts(kind, body) == 2


def test_a_failed_call_does_not_take_the_next_ones_result(kind: Kind, recorder: Recorder) -> None:
    calls: list[int] = []

    @kind.task
    async def flaky() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        return len(calls)

    async def body(_attempt: int) -> Any:
        states = [await ended(flaky(return_state=True)) for _ in range(2)]
        return [state.result(raise_on_failure=False, _sync=True) for state in states]

    assert in_two_attempts(kind, body) == [3, 2]


def test_late_submitted_calls_keep_their_results(recorder: Recorder) -> None:
    """The calls end in reverse order of submission."""
    turn = threading.Semaphore(0)
    calls: list[int] = []

    @task
    def draw(_x: int, me: int) -> int:
        if len(calls) < 2:
            if me == 0:
                turn.acquire()
            calls.append(me)
            turn.release()
        return me

    number = itertools.count()

    @task
    def numbered(_x: int) -> int:
        me = next(number)
        return draw.fn(_x, me)

    async def body(_attempt: int) -> Any:
        return await results_of("submitted", numbered, 0, 0)

    first: list[Any] = []

    async def noting(attempt: int) -> Any:
        first.append(await body(attempt))
        return first[-1]

    assert in_two_attempts(PLAIN, noting) == first[0]
    assert next(number) == 2


@pytest.mark.parametrize("way", WAYS)
def test_tasks_of_one_name_are_told_apart(kind: Kind, recorder: Recorder, way: str) -> None:
    async def one(x: Any) -> Any:
        return "one", x

    async def two(x: Any) -> Any:
        return "two", x

    first, second = kind.task(one, name="same"), kind.task(two, name="same")

    async def body(attempt: int) -> Any:
        found = []
        for each in (first, second) if attempt == 1 else (second, first):
            found += await results_of(way, each, 1)
        return found

    assert in_two_attempts(kind, body) == [("two", 1), ("one", 1)]


def test_nested_tasks_belong_to_the_call_around_them(recorder: Recorder) -> None:
    numbers = itertools.count()

    @task
    def inner() -> int:
        return next(numbers)

    @task
    def outer(x: int) -> Any:
        found = inner()
        if x in FAILING:
            raise ValueError
        return x, found

    async def body(attempt: int) -> Any:
        order = (1, 2) if attempt == 1 else (2, 1)
        FAILING.update({1, 2} if attempt == 1 else ())
        states = [outer(x, return_state=True) for x in order]
        FAILING.clear()
        return [state.result(raise_on_failure=False, _sync=True) for state in states]

    assert in_two_attempts(PLAIN, body) == [(2, 1), (1, 0)]


def test_completed_subflows_are_kept(kind: Kind, recorder: Recorder) -> None:
    draw, calls = drawing(PLAIN)

    @kind.flow
    async def inner(_x: int) -> Any:
        return draw(0)

    async def body(_attempt: int) -> Any:
        return [await ended(inner(1)), await ended(inner(1)), await ended(inner(2))]

    assert in_two_attempts(kind, body) == [1, 2, 3]
    assert len(calls) == 3


def test_tasks_of_failed_subflows_are_run_again(recorder: Recorder) -> None:
    draw, calls = drawing(PLAIN)

    @flow
    def inner(attempt: list[int]) -> Any:
        drawn = draw(0)
        if attempt == [1]:
            raise ValueError
        return drawn

    now: list[int] = []

    async def body(attempt: int) -> Any:
        now[:] = [attempt]
        return inner(now)

    assert in_two_attempts(PLAIN, body) == 2
    assert len(calls) == 2


def test_subflows_that_persist_nothing_are_run_again(recorder: Recorder) -> None:
    draw, calls = drawing(PLAIN)

    @flow(persist_result=False)
    def inner() -> Any:
        return draw(0)

    async def body(_attempt: int) -> Any:
        return inner()

    assert in_two_attempts(PLAIN, body) == 2
    assert len(calls) == 2


def test_generator_subflows_that_are_iterated_are_run_again(recorder: Recorder) -> None:
    draw, calls = drawing(PLAIN)

    @flow
    def inner() -> Any:
        yield draw(0)

    async def body(_attempt: int) -> Any:
        return list(inner())

    assert in_two_attempts(PLAIN, body) == [2]
    assert len(calls) == 2


@pytest.mark.parametrize(("fails_inside", "count"), [(True, 2), (False, 1)])
def test_subflows_in_transactions_are_kept_with_them(
    recorder: Recorder, *, fails_inside: bool, count: int
) -> None:
    draw, calls = drawing(PLAIN)

    @flow
    def inner() -> Any:
        return draw(0)

    async def body(attempt: int) -> Any:
        with transaction():
            drawn = inner()
            if fails_inside and attempt == 1:
                raise ValueError
        return drawn

    assert in_two_attempts(PLAIN, body) == count
    assert len(calls) == count


def test_closures_that_changed_are_other_tasks(kind: Kind, recorder: Recorder) -> None:
    table = {"name": "a"}
    number = 1

    @kind.task
    async def load() -> Any:
        return table["name"], number

    async def body(_attempt: int) -> Any:
        nonlocal number
        found = await ended(load())
        table["name"] = "b"
        number += 1
        return found

    assert in_two_attempts(kind, body) == ("b", 2)


def test_tasks_that_are_made_anew_with_equal_closures_are_kept(
    kind: Kind, recorder: Recorder
) -> None:
    calls: list[Any] = []

    async def body(_attempt: int) -> Any:
        table = {"name": "a", "rows": [1, 2]}

        @kind.task
        async def load() -> Any:
            calls.append(table["name"])
            return len(calls)

        return await ended(load())

    assert in_two_attempts(kind, body) == 1
    assert calls == ["a"]


class Loader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()

    @task
    def load(self, x: Any) -> Any:
        return self.name, x


def test_methods_belong_to_their_objects(recorder: Recorder) -> None:
    loaders = [Loader("a"), Loader("b")]

    async def body(attempt: int) -> Any:
        return [each.load(1) for each in (loaders if attempt == 1 else loaders[::-1])]

    assert in_two_attempts(PLAIN, body) == [("b", 1), ("a", 1)]
    assert [recorder.end(run)[1] for run in recorder.runs if run.function_name == "load"] == [
        *("Completed", "Completed", "Cached", "Cached"),
    ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("made", "change", "expected"),
    [
        (lambda: [1, 2, 3], lambda rows: rows.append(100), [1, 2, 3]),
        (lambda: {"a": [1]}, lambda rows: rows["a"].append(2), {"a": [1]}),
        (lambda: ([1],), lambda rows: rows[0].append(2), ([1],)),
        (lambda: bytearray(b"a"), lambda rows: rows.append(1), bytearray(b"a")),
        (lambda: {"n": {1}}, lambda rows: rows["n"].clear(), {"n": {1}}),
    ],
    ids=["list", "dict", "tuple", "bytearray", "nested"],
)
def test_what_is_changed_later_changes_nothing_kept(
    kind: Kind, recorder: Recorder, way: str, made: Any, change: Any, expected: Any
) -> None:
    @kind.task
    async def load(_x: int) -> Any:
        return made()

    attempts: list[Any] = []

    @kind.flow(retries=3)
    async def caller() -> Any:
        (rows,) = await results_of(way, load, 1)
        attempts.append(rows == expected)
        change(rows)
        if len(attempts) < 3:
            raise ValueError
        return rows

    kind.run(caller)
    assert attempts == [True, True, True]


def test_a_file_in_memory_is_read_again(kind: Kind, recorder: Recorder) -> None:
    @kind.task
    async def download() -> Any:
        return io.BytesIO(b"abc"), {"text": io.StringIO("abc")}

    read: list[Any] = []

    async def body(_attempt: int) -> Any:
        data, more = await ended(download())
        read.append((data.read(), more["text"].read()))

    in_two_attempts(kind, body)
    assert read == [(b"abc", "abc")] * 2


class Store:
    def __init__(self) -> None:
        self.rows = [1]
        self.lock = threading.Lock()


def test_what_cannot_be_copied_is_handed_on_as_it_is(kind: Kind, recorder: Recorder) -> None:
    ours, theirs = socket.socketpair()
    things = {"lock": threading.Lock(), "socket": ours, "iterator": iter([1]), "rows": [1]}
    things["numbers"] = (each for each in (1, 2))
    made: list[Store] = []

    @kind.task
    async def load() -> Any:
        return things

    @kind.task
    async def load_store() -> Any:
        made.append(Store())
        return made[-1]

    async def body(_attempt: int) -> Any:
        found, found_store = await ended(load()), await ended(load_store())
        found["rows"].append(2)
        found_store.rows.append(2)
        return found, found_store

    with ours, theirs:
        found, found_store = in_two_attempts(kind, body)
        for name in ("lock", "socket", "numbers"):
            assert found[name] is things[name]
        assert found["rows"] == found_store.rows == [1, 2]
        assert found_store.lock is made[0].lock
        assert len(made) == 1
        assert type(found_store) is Store


class Unreadable:
    def __reduce__(self) -> Any:
        return int, ("no number",)


def test_what_cannot_be_read_back_is_made_anew(kind: Kind, recorder: Recorder) -> None:
    calls: list[int] = []

    @kind.task
    async def load() -> Any:
        calls.append(1)
        return Unreadable()

    async def body(_attempt: int) -> Any:
        return await ended(load())

    assert isinstance(in_two_attempts(kind, body), Unreadable)
    assert len(calls) == 2


@pytest.mark.parametrize("options", [{}, {"persist_result": True}], ids=["kept", "stored"])
def test_in_a_transaction_it_is_kept_as_it_was_returned(
    recorder: Recorder, options: dict[str, Any]
) -> None:
    @task(**options)
    def load() -> list[int]:
        return [1]

    async def body(_attempt: int) -> Any:
        with transaction():
            rows = load()
            assert rows == [1]
            rows.append(100)
        return rows

    assert in_two_attempts(PLAIN, body) == [1, 100]
    ends = [recorder.end(run)[1] for run in recorder.runs if run.function_name == "load"]
    assert ends == ["Completed", "Cached"]
