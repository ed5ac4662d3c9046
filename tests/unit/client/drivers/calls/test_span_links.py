"""Spans of runs link to the spans of the runs whose results they use."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from tests.support.sync_and_async import ASYNC, PLAIN
from tests.support.user_values import ERRORS, VALUES, touched
from tests.support.value_paths import WAYS, way_of

from flowspan import allow_failure, flow, runtime, task, telemetry, unmapped
from flowspan.core import provenance as origins
from flowspan.core.values.inspection import type_name
from flowspan.exceptions import UpstreamFailed
from flowspan.states import Completed
from flowspan.telemetry.fast_tracer import FastTracer, Processors
from flowspan.telemetry.run_span import SpanTracer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.recorder import Recorder

pytestmark = pytest.mark.usefixtures("recorder")


class Spans:
    """The exported spans."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def one(self, run_name: str) -> ReadableSpan:
        """Return the span of the run with this name."""
        (found,) = [
            span
            for span in self._exporter.get_finished_spans()
            if span.attributes.get("flowspan.run.name") == run_name
            and "flowspan.span.pending" not in span.attributes  # a flow on a busy machine
        ]
        return found

    def links(self, run_name: str) -> list[tuple[str, str]]:
        """Return the parameter and the other run's name for each link of a run's span."""
        by_id = {
            span.context.span_id: span.attributes for span in self._exporter.get_finished_spans()
        }
        links = []
        for link in self.one(run_name).links:
            other = by_id[link.context.span_id]
            assert link.attributes["flowspan.run.id"] == other["flowspan.run.id"]
            assert set(link.attributes) == {"flowspan.run.id", "flowspan.input.name"}
            links.append((link.attributes["flowspan.input.name"], other["flowspan.run.name"]))
        return links


@pytest.fixture(params=["fast", "sdk"])
def spans(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Spans:
    """Trace the runs of the test, with flowspan's own provider or another one."""
    processors, limits = Processors(), SpanLimits()
    provider = TracerProvider(active_span_processor=processors, shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer: Any = provider.get_tracer("flowspan")
    if request.param == "fast":
        tracer = FastTracer(provider, processors, limits, InstrumentationScope("flowspan"))
    monkeypatch.setattr(telemetry, "_tracer", SpanTracer(tracer, environ={}))
    monkeypatch.setattr(telemetry, "_final", True)
    return Spans(exporter)


@task
def load(day: int) -> int:
    return day


@task
def total(first: Any, *more: Any, weight: Any = 1, **rest: Any) -> Any:
    return first


@task
async def load_later(day: int) -> int:
    return day


@task
async def total_later(first: Any, *more: Any, weight: Any = 1, **rest: Any) -> Any:
    return first


@task
def broken() -> None:
    raise ValueError("no data")


@dataclass
class Batch:
    parts: list[Any]


def test_submitted_tasks_link_to_what_they_wait_for(spans: Spans) -> None:
    @flow
    def days() -> None:
        a, b, c, d = (load.submit(day) for day in range(4))
        total.submit(a, 5, b, weight={"nested": [c]}, other=Batch([d]), wait_for=[a]).result()

    days()
    assert spans.links("total-0") == [
        ("first", "load-0"),
        ("more", "load-1"),
        ("weight", "load-2"),
        ("other", "load-3"),
        ("wait_for", "load-0"),
    ]
    assert spans.links("load-0") == []


def test_a_parameter_with_many_inputs_has_one_link_and_their_number(spans: Spans) -> None:
    @flow
    def days() -> None:
        few = load.map(list(range(10)))
        many = load.map(list(range(11)))
        total.submit(few, weight=many, wait_for=[*many, few[0]]).result()

    days()
    links = [(dict(link.attributes), link.context.span_id) for link in spans.one("total-0").links]
    counts = [each.get("flowspan.input.count") for each, _ in links]
    names = [each["flowspan.input.name"] for each, _ in links]
    assert names == ["first"] * 10 + ["weight", "wait_for"]
    assert counts == [None] * 10 + [11, 12]
    first = spans.one("load-10")
    for attributes, span_id in links[-2:]:
        assert span_id == first.context.span_id
        assert attributes["flowspan.run.id"] == first.attributes["flowspan.run.id"]


def test_called_tasks_and_flows_link_to_futures_and_states(spans: Spans) -> None:
    @flow(flow_run_name="inner")
    def inner(a: int, b: int) -> int:
        return a + b

    @flow
    def days() -> None:
        future, state = load.submit(1), load(2, return_state=True)
        assert total(future, state) == 1
        assert inner(future, b=state) == 3
        total(5, wait_for=[state])
        total(future, weight=future)

    days()
    both = [("first", "load-0"), ("more", "load-1")]
    assert spans.links("total-0") == both
    assert spans.links("inner") == [("a", "load-0"), ("b", "load-1")]
    assert spans.links("total-1") == [("wait_for", "load-1")]
    assert spans.links("total-2") == [("first", "load-0"), ("weight", "load-0")]


def test_coroutines_link_to_futures_and_states(spans: Spans) -> None:
    @flow(flow_run_name="inner")
    async def inner(a: int, b: int) -> int:
        return a + b

    @flow
    async def days() -> None:
        future, state = load_later.submit(1), await load_later(2, return_state=True)
        assert await total_later(future, [state]) == 1
        assert await inner(future, b=state) == 3
        await total_later(5, wait_for=[state])
        await total_later.submit(future, wait_for=[state])

    asyncio.run(days())
    assert spans.links("total_later-0") == [("first", "load_later-0"), ("more", "load_later-1")]
    assert spans.links("inner") == [("a", "load_later-0"), ("b", "load_later-1")]
    assert spans.links("total_later-1") == [("wait_for", "load_later-1")]
    assert spans.links("total_later-2") == [
        ("first", "load_later-0"),
        ("wait_for", "load_later-1"),
    ]


def test_generators_link_to_what_they_go_through(spans: Spans) -> None:
    @task
    def each(count: int) -> Iterator[int]:
        yield from range(count)

    @task
    async def each_later(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    @flow
    def plain() -> None:
        assert list(each(load.submit(2))) == [0, 1]

    @flow
    async def later() -> None:
        assert [number async for number in each_later(load_later.submit(2))] == [0, 1]

    plain()
    asyncio.run(later())
    assert spans.links("each-0") == [("count", "load-0")]
    assert spans.links("each_later-0") == [("count", "load_later-0")]


def test_mapped_tasks_have_their_number_and_each_its_own_link(spans: Spans) -> None:
    @task
    def days_of(month: int) -> list[int]:
        return [month, month + 1]

    @flow(flow_run_name="mapping")
    def mapping() -> None:
        loaded = load.map([10, 20])
        total.map(loaded, unmapped(loaded[0])).wait()
        total.map(days_of.submit(3), allow_failure(days_of.submit(4))).wait()

    mapping()
    parent = spans.one("mapping").context.span_id
    for kind in ("load", "total"):
        for number in range(2):
            span = spans.one(f"{kind}-{number}")
            assert span.parent.span_id == parent
            assert span.attributes["flowspan.map.index"] == number
    assert spans.links("total-0") == [("first", "load-0"), ("more", "load-0")]
    assert spans.links("total-1") == [("first", "load-1"), ("more", "load-0")]
    # The flow iterated over the future's result: each call gets a part of it.
    for name in ("total-2", "total-3"):
        assert spans.links(name) == [("first", "days_of-0"), ("more", "days_of-1")]
    assert "flowspan.map.index" not in spans.one("days_of-0").attributes


def test_runs_that_failed_are_linked_too(spans: Spans) -> None:
    @flow
    def unlucky() -> None:
        failed = broken.submit()
        total.submit(failed).wait()
        with pytest.raises(UpstreamFailed):
            total(failed)
        total(allow_failure(failed))
        state = total(broken(return_state=True), return_state=True)
        total(allow_failure([state]))

    unlucky()
    for number, broken_run in ((0, "broken-0"), (1, "broken-0"), (2, "broken-0"), (3, "broken-1")):
        assert spans.links(f"total-{number}") == [("first", broken_run)]
    assert spans.one("total-0").attributes["flowspan.state.name"] == "NotReady"
    assert spans.links("total-4") == [("first", "total-3")]


def test_a_retried_run_is_linked_as_a_whole(spans: Spans) -> None:
    calls = []

    @task(retries=1)
    def flaky() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("once")
        return 1

    @flow
    def patient() -> None:
        total.submit(flaky.submit()).wait()

    patient()
    assert spans.links("total-0") == [("first", "flaky-0")]
    assert spans.one("flaky-0").attributes["flowspan.attempts"] == 2


class Frame:
    """A substitute for a data frame: a result that is not a primitive value."""


@task
def read() -> Frame:
    return Frame()


@task
async def read_later() -> Frame:
    return Frame()


def test_results_that_are_passed_on_as_they_are(spans: Spans) -> None:
    @flow(flow_run_name="inner")
    def inner(frame: Any) -> Any:
        return frame

    @flow
    def frames() -> Frame:
        one, other = read(), read.submit().result()
        total(one, [5, other], weight={"frame": other})
        total.submit(one).wait()
        total.map([one, other]).wait()
        total(inner(one))
        return other

    total(frames())
    assert spans.links("total-0") == [("first", "read-0"), ("more", "read-1"), ("weight", "read-1")]
    # `total` returned its first argument, which now counts as its result.
    assert spans.links("total-1") == [("first", "total-0")]
    assert spans.links("inner")[0][0] == "frame"
    assert spans.links("total-4") == [("first", "inner")]


def test_results_of_coroutines_that_are_passed_on_as_they_are(spans: Spans) -> None:
    @flow
    async def frames() -> None:
        one = await read_later()
        await total_later([one])
        total(one)

    asyncio.run(frames())
    assert spans.links("total_later-0") == [("first", "read_later-0")]
    assert spans.links("total-0") == [("first", "read_later-0")]


_read: list[Frame] = []


def _as_read() -> Frame:
    frame = Frame()
    _read.append(frame)
    return frame


class Stored(Frame):
    def __reduce__(self) -> tuple[Any, ...]:
        return _as_read, ()


def test_a_result_that_is_only_stored_is_not_read_for_a_trace(spans: Spans, tmp_path: Path) -> None:
    _read.clear()

    @task(cache_result_in_memory=False, result_storage=tmp_path)
    def store() -> Frame:
        return Stored()

    @flow
    def frames() -> None:
        future = store.submit()
        future.wait()
        assert not _read
        total(future)
        assert len(_read) == 1

    frames()
    assert spans.links("total-0") == [("first", "store-0")]


def test_an_object_that_is_gone_is_no_link(spans: Spans) -> None:
    @flow
    def frames() -> None:
        for number in range(10):
            gone = id(read())
            frame = Frame()
            total(frame)
            assert spans.links(f"total-{number}") == [], gone == id(frame)
            del frame

    frames()
    assert not [entry for entry in origins._origins.values() if entry[0]() is None]


def test_what_is_not_of_a_run_is_no_link(spans: Spans) -> None:
    @flow
    def days() -> None:
        total(Completed(data=3))
        total.submit([1, 2], weight={"a": "b"}).wait()

    days()
    assert spans.links("total-0") == spans.links("total-1") == []


def test_a_wrong_call_is_linked_and_fails_as_ever(spans: Spans) -> None:
    @flow
    def days() -> None:
        future = load.submit(1)
        state = load(future, future, return_state=True)
        assert state.is_failed()

    days()
    assert spans.links("load-1") == [("day", "load-0"), ("1", "load-0")]


def test_without_tracing_nothing_is_linked(recorder: Recorder) -> None:
    @flow
    def days() -> None:
        state = load(1, return_state=True)
        assert state.traceparent == ""
        total(state, wait_for=[load.submit(2)])

    days()
    assert recorder.run("total").traceparent == ""


@pytest.mark.parametrize("maker", VALUES)
def test_values_are_traced_without_being_touched(spans: Spans, maker: str) -> None:
    make = VALUES[maker]
    touched.clear()
    for kind in (PLAIN, ASYNC):
        for way in WAYS:
            kind.run(kind.flow(way_of(kind, way), flow_run_name=f"{kind} {way}"), make)
            assert spans.one(f"{kind} {way}").end_time
    assert touched == []


@pytest.mark.parametrize("maker", ERRORS)
def test_errors_that_cannot_be_told_of_are_traced(spans: Spans, maker: str) -> None:
    @task(task_run_name="bad", retries=1)
    def bad() -> None:
        raise ERRORS[maker]()

    assert bad(return_state=True).is_failed()
    assert spans.one("bad").attributes["error.type"] == type_name(type(ERRORS[maker]()))


def test_a_run_whose_inputs_cannot_be_linked_goes_on(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> Any:
        raise RuntimeError("no links")

    monkeypatch.setattr("flowspan.drivers.calls.run_inputs.upstream_in", broken)

    @flow
    def outer() -> list[int]:
        return [total([1]), total.submit([2]).result()]

    assert outer() == [[1], [2]]
    assert spans.one("total-0").links == ()


@pytest.mark.parametrize("way", ["flow", "task", "submitted", "after its input"])
def test_a_name_is_made_in_the_span_of_the_run_that_gets_it(spans: Spans, way: str) -> None:
    def name() -> str:
        span: Any = trace.get_current_span()
        return f"named in {span.attributes['flowspan.run.id']}"

    it: Any = flow if way == "flow" else task
    it = it(name="it", **{f"{it.__name__}_run_name": name})(lambda x: runtime_id())

    def runtime_id() -> str:
        return str(runtime.flow_run.id if way == "flow" else runtime.task_run.id)

    @flow
    def outer() -> Any:
        if way == "submitted":
            return it.submit(1).result()
        return it.submit(load.submit(1)).result() if way == "after its input" else it(1)

    run_id = outer()
    assert spans.one(f"named in {run_id}").attributes["flowspan.run.id"] == run_id
