"""Storing results, caching them, and reusing them in a flow's next attempt."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.sync_and_async import ASYNC, PLAIN, Kind, ended

from flowspan import task
from flowspan.cache_policies import INPUTS, NO_CACHE, RUN_ID, TASK_SOURCE
from flowspan.core.result_options import ResultPolicy
from flowspan.drivers.process import get_process
from flowspan.results import ResultStore, get_result_store
from flowspan.results.reference import load_reference
from flowspan.tasks import task_input_hash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.recorder import Recorder


@pytest.fixture(params=[PLAIN, ASYNC], ids=repr)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def results(flowspan_home: Path) -> Path:
    """Return the default folder for results."""
    return flowspan_home / "results"


class Adds:
    def __init__(self, n: int) -> None:
        self.n = n

    @task(cache_policy=INPUTS + TASK_SOURCE)
    def to(self, x: int) -> int:
        return self.n + x


class Counting:
    """Counts the calls of a function."""

    def __init__(self, kind: Kind, **options: Any) -> None:
        self.calls: list[Any] = []

        async def count(x: Any, note: str = "") -> Any:
            self.calls.append(x)
            return [x, len(self.calls)]

        self.task = kind.task(count, **options)


def called(kind: Kind, task: Any, *calls: Any, **options: Any) -> list[Any]:
    """Return the states of sequential calls of a task in one flow."""

    @kind.flow(**options)
    async def caller() -> list[Any]:
        return [await ended(task(each, return_state=True)) for each in calls]

    states = kind.run(caller)
    assert isinstance(states, list)
    return states


def names(states: list[Any]) -> list[str]:
    return [state.name for state in states]


def reference_of(recorder: Recorder, run: Any) -> dict[str, str] | None:
    detail = recorder.last_event(run)[7]
    return None if detail is None else json.loads(detail)


def test_nothing_is_stored_by_default(kind: Kind, recorder: Recorder, results: Path) -> None:
    count = Counting(kind)
    assert names(called(kind, count.task, 1, 1)) == ["Completed", "Completed"]
    assert not results.exists()
    assert all(run_is_bare(recorder, run) for run in recorder.runs)


def run_is_bare(recorder: Recorder, run: Any) -> bool:
    return recorder.last_event(run)[7] is None


def test_a_result_is_stored_and_the_state_says_where(
    kind: Kind, recorder: Recorder, results: Path
) -> None:
    count = Counting(kind, persist_result=True)
    called(kind, count.task, 1)
    reference = reference_of(recorder, "count")
    assert reference is not None
    assert reference["url"].startswith(results.as_uri())
    assert reference["serializer"] == "pickle"
    assert load_reference(json.dumps(reference).encode()) == [1, 1]
    record = ResultStore().read(reference["key"])
    assert record.run_id == recorder.run("count").id
    assert run_is_bare(recorder, recorder.run("caller"))


@pytest.mark.parametrize(
    "options",
    [
        {"cache_policy": INPUTS},
        {"cache_key_fn": task_input_hash},
        {"cache_expiration": timedelta(hours=1)},
        {"result_storage": "memory://switched-on"},
        {"result_storage_key": "k"},
        {"result_serializer": "json"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_switch_persistence_on(options: Any, recorder: Recorder) -> None:
    called(PLAIN, Counting(PLAIN, **options).task, 1)
    assert reference_of(recorder, "count") is not None
    called(PLAIN, Counting(PLAIN, persist_result=False, **options).task, 2)
    assert run_is_bare(recorder, recorder.runs[-1])


def test_a_flow_hands_its_options_down(kind: Kind, recorder: Recorder, tmp_path: Path) -> None:
    plain = Counting(kind)
    own = Counting(kind, result_serializer="compressed/pickle", result_storage=tmp_path / "own")
    off = Counting(kind, persist_result=False)

    @kind.flow
    async def inner() -> None:
        await ended(plain.task(1))
        await ended(own.task(1))
        await ended(off.task(1))

    @kind.flow(result_storage=str(tmp_path / "flows"), result_serializer="json")
    async def outer() -> None:
        assert get_result_store().url == (tmp_path / "flows").as_uri()
        await ended(inner())

    kind.run(outer)
    runs = [run for run in recorder.runs if run.function_name != "outer"]
    found = [reference_of(recorder, run) for run in runs]
    assert found[3] is None
    told = [(Path(each["url"]).parent.name, each["serializer"]) for each in found if each]
    assert told == [("flows", "json"), ("flows", "json"), ("own", "compressed/pickle")]


def test_the_settings_say_it_for_all(
    kind: Kind, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWSPAN_RESULTS_URL", str(tmp_path / "set"))
    monkeypatch.setenv("FLOWSPAN_RESULTS_SERIALIZER", "json")
    get_process().result_policy = ResultPolicy(persist=True)
    kind.run(Counting(kind).task, 1)
    reference = reference_of(recorder, "count")
    assert reference is not None
    assert reference["serializer"] == "json"
    assert Path(reference["url"]).parent.name == "set"


def test_a_result_need_not_stay_in_memory(kind: Kind, recorder: Recorder, results: Path) -> None:
    count = Counting(kind, persist_result=True, cache_result_in_memory=False)
    (state,) = called(kind, count.task, 1)
    first, second = state.result(), state.result()
    assert first == second == [1, 1]
    assert first is not second
    for path in results.iterdir():
        path.unlink()
    with pytest.raises(Exception, match="no result"):
        state.result()


def test_a_result_that_cannot_be_written_is_not_lost(
    kind: Kind, recorder: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")

    @kind.task(persist_result=True)
    async def unpicklable() -> Any:
        return threading.Lock()

    @kind.task(result_storage=tmp_path / "file")
    async def unwritable() -> int:
        return 1

    @kind.flow
    async def caller() -> Any:
        lock = await ended(unpicklable(return_state=True))
        return lock, await ended(unwritable(return_state=True))

    lock, one = kind.run(caller)
    assert lock.name == one.name == "Completed"
    assert one.result() == 1
    assert "was not stored" in lock.message
    assert run_is_bare(recorder, "unpicklable")
    assert run_is_bare(recorder, "unwritable")
    for name in ("unpicklable", "unwritable"):
        (line,) = recorder.logs(name, logging.ERROR)
        assert "was not stored" in line


def test_the_second_call_is_cached(kind: Kind, recorder: Recorder) -> None:
    count = Counting(kind, cache_policy=INPUTS)
    first = called(kind, count.task, 1, 1, 2)
    assert names(first) == ["Completed", "Cached", "Completed"]
    assert [state.result() for state in first] == [[1, 1], [1, 1], [2, 2]]
    assert names(called(kind, count.task, 2, 3)) == ["Cached", "Completed"]
    assert count.calls == [1, 2, 3]
    cached = recorder.runs[2]
    assert recorder.states(cached) == [("Cached", 1)]
    assert reference_of(recorder, cached) == reference_of(recorder, recorder.runs[1])


def test_submitted_and_mapped_tasks_are_cached(kind: Kind, recorder: Recorder) -> None:
    count = Counting(kind, cache_policy=INPUTS)
    called(kind, count.task, 1)

    @kind.flow
    async def caller() -> list[str]:
        mapped = count.task.map([1, 1])
        mapped.wait() if not kind.is_async else [await each for each in mapped]
        future = count.task.submit(mapped[0], note="")
        if kind.is_async:
            await future
        return [each.state.name for each in mapped]

    assert kind.run(caller) == ["Cached", "Cached"]
    assert count.calls == [1, [1, 1]]


def test_by_default_a_run_finds_what_it_stored_itself(kind: Kind, recorder: Recorder) -> None:
    count = Counting(kind, persist_result=True)
    assert names(called(kind, count.task, 1, 1)) == ["Completed", "Cached"]
    assert names(called(kind, count.task, 1)) == ["Completed"]


def test_inputs_may_be_left_out(kind: Kind, recorder: Recorder) -> None:
    count = Counting(kind, cache_policy=INPUTS - "note")
    task = count.task

    @kind.flow
    async def caller() -> None:
        await ended(task(1, note="a"))
        await ended(task(1, note="b"))
        await ended(task(x=1))

    kind.run(caller)
    assert count.calls == [1]


def test_refresh_and_expiration(kind: Kind, recorder: Recorder) -> None:
    count = Counting(kind, cache_policy=INPUTS)
    called(kind, count.task, 1)
    fresh = count.task.with_options(refresh_cache=True)
    assert [state.result() for state in called(kind, fresh, 1)] == [[1, 2]]
    assert [state.result() for state in called(kind, count.task, 1)] == [[1, 2]]
    brief = count.task.with_options(cache_expiration=timedelta(microseconds=1))
    assert names(called(kind, brief, 7, 7)) == ["Completed", "Completed"]
    long = count.task.with_options(cache_expiration=timedelta(hours=1))
    assert names(called(kind, long, 8, 8)) == ["Completed", "Cached"]


def test_a_function_may_make_the_key(kind: Kind, recorder: Recorder) -> None:
    seen: list[Any] = []

    def key(context: Any, parameters: dict[str, Any]) -> str | None:
        seen.append((context.task.name, context.task_run.name, parameters["x"]))
        return None if parameters["x"] == 0 else "same/../key"

    count = Counting(kind, cache_key_fn=key)
    states = called(kind, count.task, 1, 2, 0, 0)
    assert names(states) == ["Completed", "Cached", "Completed", "Completed"]
    assert seen[0] == ("count", "count-0", 1)


def test_a_storage_key_is_a_template(kind: Kind, recorder: Recorder, results: Path) -> None:
    count = Counting(kind, result_storage_key="{flow_run.flow_name}/{parameters[x]}.bin")
    assert names(called(kind, count.task, 1, 1)) == ["Completed", "Cached"]
    assert (results / "caller" / "1.bin").is_file()
    wrong = Counting(kind, result_storage_key="{nothing}")
    assert names(called(kind, wrong.task, 1)) == ["Completed"]
    assert "cannot be filled in" in recorder.logs(recorder.runs[-1], logging.WARNING)[0]


def test_an_input_that_cannot_be_hashed_is_no_hindrance(kind: Kind, recorder: Recorder) -> None:
    @kind.task(cache_policy=INPUTS)
    async def takes(lock: Any) -> int:
        return 1

    assert names(called(kind, takes, threading.Lock())) == ["Completed"]
    (line,) = recorder.logs("takes", logging.WARNING)
    assert "parameter 'lock'" in line
    assert "INPUTS - 'lock'" in line
    assert reference_of(recorder, "takes") is not None


@pytest.mark.parametrize("content", [b"", b"foreign", b"flowspan-result/1\n{}\nx"])
def test_what_cannot_be_read_is_computed_anew(
    content: bytes, recorder: Recorder, results: Path
) -> None:
    count = Counting(PLAIN, result_storage_key="k")
    called(PLAIN, count.task, 1)
    (results / "k").write_bytes(content)
    assert names(called(PLAIN, count.task, 1, 1)) == ["Completed", "Cached"]
    assert any("is ignored" in line for line in recorder.logs(level=logging.WARNING))


def test_a_result_whose_value_cannot_be_loaded_is_computed_anew(recorder: Recorder) -> None:
    class Picky:
        def dumps(self, obj: Any) -> bytes:
            return b"x"

        def loads(self, blob: bytes) -> Any:
            raise RuntimeError("not again")

    count = Counting(PLAIN, cache_policy=INPUTS, result_serializer=Picky())
    assert names(called(PLAIN, count.task, 1, 1)) == ["Completed", "Completed"]
    assert "not again" in recorder.logs(recorder.runs[2], logging.WARNING)[0]


def failing_once(kind: Kind, count: Counting, *calls: Any, **options: Any) -> list[Any]:
    """Return the states of a task's calls in the second attempt of a flow."""
    attempts: list[int] = []

    @kind.flow(retries=1, **options)
    async def caller() -> list[Any]:
        states = [await ended(count.task(each, return_state=True)) for each in calls]
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("once")
        return states

    states = kind.run(caller)
    assert isinstance(states, list)
    return states


def test_a_retried_flow_keeps_what_its_tasks_returned(
    kind: Kind, recorder: Recorder, results: Path
) -> None:
    count = Counting(kind)
    states = failing_once(kind, count, 1, 1, [2], threading.Lock())
    assert names(states) == ["Cached", "Cached", "Cached", "Completed"]
    # Two equal calls are still two calls: each keeps its own result.
    assert [state.result() for state in states[:3]] == [[1, 1], [1, 2], [[2], 3]]
    assert not results.exists()
    assert names(failing_once(kind, count, 1)) == ["Cached"]
    assert len(count.calls) == 6


def test_a_third_attempt_keeps_what_the_first_two_returned(kind: Kind, recorder: Recorder) -> None:
    count = Counting(kind)
    attempts: list[int] = []

    @kind.flow(retries=2)
    async def caller() -> None:
        attempts.append(1)
        for x in range(len(attempts)):
            await ended(count.task(x))
        if len(attempts) == 2:
            await ended(count.task("second"))
        if len(attempts) < 3:
            raise ValueError

    kind.run(caller)
    assert count.calls == [0, 1, "second", 2]


@pytest.mark.parametrize("options", [{"cache_policy": NO_CACHE}, {"refresh_cache": True}], ids=str)
def test_a_task_may_be_run_in_each_attempt(options: Any, kind: Kind, recorder: Recorder) -> None:
    assert names(failing_once(kind, Counting(kind, **options), 1)) == ["Completed"]


def test_failed_tasks_are_not_kept(kind: Kind, recorder: Recorder) -> None:
    calls: list[int] = []

    @kind.task
    async def flaky() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        return len(calls)

    @kind.flow(retries=1)
    async def caller() -> int:
        return await ended(flaky())  # type: ignore[no-any-return]

    assert kind.run(caller) == 2


def test_tasks_made_in_the_flow_are_kept_if_they_are_the_same(recorder: Recorder) -> None:
    attempts: list[int] = []
    calls: list[str] = []

    @PLAIN.flow(retries=1)
    async def caller() -> Any:
        attempts.append(1)
        number = len(attempts)

        async def other(x: int) -> None:
            calls.append(f"other {number}")

        task(same_of(calls))(1)
        PLAIN.task(other)(1)
        if number == 1:
            raise ValueError

    def same_of(calls: list[str]) -> Any:
        def same(x: int) -> None:
            calls.append("same")

        return same

    PLAIN.run(caller)
    assert calls == ["same", "other 1", "other 2"]


def test_methods_keep_objects_apart(recorder: Recorder) -> None:
    assert [Adds(1).to(1), Adds(2).to(1), Adds(1).to(1)] == [2, 3, 2]
    assert [recorder.end(run)[1] for run in recorder.runs] == ["Completed", "Completed", "Cached"]


def test_run_id_keeps_runs_apart(kind: Kind, recorder: Recorder) -> None:
    count = Counting(kind, cache_policy=RUN_ID)
    assert names(called(kind, count.task, 1, 2)) == ["Completed", "Cached"]
    assert names(called(kind, count.task, 1)) == ["Completed"]


def iterated(kind: Kind, body: Any, **options: Any) -> tuple[Any, Any]:
    """Return a generator task with one value, and a function that collects its values."""
    if kind is PLAIN:

        @task(**options)
        def rows() -> Iterator[int]:
            yield body()

        return rows, rows

    @task(**options)
    async def arows() -> AsyncIterator[int]:
        yield body()

    async def values() -> list[int]:
        return [each async for each in arows()]

    return arows, values


@pytest.mark.parametrize(
    ("options", "is_said"),
    [
        ({"persist_result": True}, True),
        ({"cache_policy": INPUTS}, True),
        ({"result_storage_key": "rows"}, True),
        ({"cache_policy": INPUTS, "persist_result": False}, False),
        ({"cache_policy": NO_CACHE}, False),
        ({}, False),
    ],
    ids=["stored", "cached", "named", "switched off", "not cached", "says nothing"],
)
def test_a_generator_that_is_iterated_says_once_that_it_is_not_kept(
    kind: Kind, recorder: Recorder, options: dict[str, Any], *, is_said: bool
) -> None:
    calls: list[int] = []

    def body() -> int:
        calls.append(1)
        return len(calls)

    rows, values = iterated(kind, body, **options)

    @kind.flow(persist_result=True)
    async def caller() -> list[Any]:
        first = [await ended(values()) if kind is ASYNC else list(values()) for _ in range(2)]
        return [*first, rows.submit().result()]

    assert kind.run(caller) == [[1], [2], [3]]
    said = [each for each in recorder.logs(level=logging.WARNING) if "iterated" in each]
    assert len(said) == is_said
    assert all("rows" in each and "submit()" in each for each in said)


def test_a_generator_whose_values_are_collected_is_kept(kind: Kind, recorder: Recorder) -> None:
    calls: list[int] = []
    rows, _ = iterated(kind, lambda: calls.append(1))
    attempts: list[int] = []

    @kind.flow(retries=1)
    async def caller() -> Any:
        attempts.append(1)
        found = rows.submit().result()
        if len(attempts) < 2:
            raise ValueError
        return found

    assert kind.run(caller) == [None]
    assert (len(attempts), len(calls)) == (2, 1)
