"""The spans that the service exports, beside those that the Python client makes of its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.flow_processes import run_code
from tests.support.otlp import ERROR, OtlpReceiver, ReceivedSpan
from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.version_skew import SkewProxy

from flowspan.v1 import failure_pb2
from flowspan.v1.report_service_pb2 import ReportRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.support.service import ServiceProcess

REPORT = "/flowspan.v1.ReportService/Report"

PROGRAM = """
    import os, time
    from flowspan import flow, task
    from flowspan.cache_policies import INPUTS
    from flowspan.transactions import transaction

    @task(retries=2, retry_delay_seconds=0.01)
    def flaky(calls=[]):
        calls.append(1)
        if len(calls) < 3:
            raise ValueError(f"call {len(calls)}")

    @task(retries=1)
    def hopeless():
        try:
            raise OSError("disk full")
        except OSError as error:
            raise ValueError("no") from error

    @task(tags=["slow", "red"])
    def tagged():
        time.sleep(0.002)

    @task(cache_policy=INPUTS)
    def cached(number):
        return number

    @task
    def undone():
        return 1

    @undone.on_rollback
    def undo(txn):
        pass

    @task
    def late(value):
        return value

    @flow
    def inner():
        return flaky()

    @flow
    def breaks():
        with transaction():
            undone()
            raise KeyError("in the transaction")

    @flow(flow_run_name="everything-1")
    def everything():
        inner()
        tagged.submit().wait()
        cached(1), cached(1)
        failed = hopeless.submit()
        late.submit(failed).wait()
        breaks(return_state=True)
        return 1

    everything()
"""

ALLOWED_ATTRIBUTES = {
    *("flowspan.map.index", "flowspan.span.synthetic"),
    *("thread.id", "thread.name"),
}
"""Attributes that only one of both has: the index of a mapped run and threads are not reported."""
DURATIONS = {"flowspan.queued_s", "flowspan.run_s"}
"""The end of an attempt that is retried is reported a moment later."""
CODE = {"code.function.name", "code.file.path", "code.line.number"}
"""Known to the service only if the client reports it (RunCreated.code)."""
OF_FAILED_ATTEMPTS = {"error.type"}
"""The history has no error of an attempt that was followed by another one, only its message."""


def by_service(method: str, frame: bytes) -> Iterable[bytes]:
    """Make a client with an SDK ask the service for its spans, too."""
    if method != REPORT:
        return [frame]
    request = ReportRequest.FromString(frame)
    if request.HasField("hello"):
        request.hello.spans_by_service = True
    return [request.SerializeToString()]


def pairs(spans: list[ReceivedSpan]) -> Iterator[tuple[ReceivedSpan, ReceivedSpan]]:
    """Yield each run's span from the client with the one from the service."""
    mine = {span.span_id: span for span in spans if span.scope == "flowspan" and span.run_id}
    theirs = {span.span_id: span for span in spans if span.scope != "flowspan" and span.run_id}
    assert mine.keys() == theirs.keys()
    for span_id, span in mine.items():
        yield span, theirs[span_id]


def children(spans: list[ReceivedSpan], of: ReceivedSpan, scope: str) -> list[ReceivedSpan]:
    """The spans of the attempts and of the rollback of a run."""
    own = [
        span
        for span in spans
        if span.parent_id == of.span_id
        and not span.run_id
        and span.scope == scope
        and span.name != "waiting"  # the clocks of both differ by microseconds around the limit
    ]
    return sorted(own, key=lambda span: span.start_ns)


def plain(attributes: dict[str, Any], *, without: set[str]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key not in without}


def near(first_ns: int, second_ns: int, tolerance_ms: float = 0.002) -> bool:
    return abs(first_ns - second_ns) <= tolerance_ms * 1e6


def check_same(one: ReceivedSpan, other: ReceivedSpan, *, without: set[str]) -> None:
    """Check that the service made the same span as the SDK, but for the allowed differences."""
    assert (one.name, one.trace_id) == (other.name, other.trace_id)
    assert (one.status, one.status_message) == (other.status, other.status_message), one.name
    assert one.service_name == other.service_name
    # Reports are in microseconds, spans of the client in nanoseconds.
    assert near(one.start_ns, other.start_ns)
    of_client = plain(one.attributes, without=without | DURATIONS)
    assert of_client == plain(other.attributes, without=without | DURATIONS), one.name
    assert DURATIONS & one.attributes.keys() == DURATIONS & other.attributes.keys()
    if one.run_id:
        check_durations(one, other)
    if "error.type" in without:
        return
    assert near(one.end_ns, other.end_ns)
    of_client_events, of_service = (
        [
            (name, plain(attributes, without={"flowspan.waited_s", "flowspan.delay_s"}))
            for name, _, attributes in span.events
            if "flowspan.cause.depth" not in attributes
        ]
        for span in (one, other)
    )
    assert of_client_events == of_service, one.name


def check_durations(one: ReceivedSpan, other: ReceivedSpan) -> None:
    for span in (one, other):
        length_s = (span.end_ns - span.start_ns) / 1e9
        assert sum(span.attributes[name] for name in DURATIONS) == pytest.approx(length_s, abs=1e-5)
    if one.attributes["flowspan.attempts"] <= 1:
        for name in DURATIONS:
            assert other.attributes[name] == pytest.approx(one.attributes[name], abs=1e-5), one.name


def test_spans_of_the_service_are_those_of_the_client(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    with OtlpReceiver() as receiver:
        service = start_service(arguments=("--otlp-endpoint", receiver.endpoint))
        with SkewProxy(service.address, requests=by_service) as proxy:
            run_code(
                PROGRAM,
                home=flowspan_home,
                address=proxy.address,
                env={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint},
            )

        def complete(spans: list[ReceivedSpan]) -> bool:
            made, exported = (
                {
                    span.span_id
                    for span in spans
                    if span.run_id and (span.scope == "flowspan") == own
                }
                for own in (True, False)
            )
            return len(made) == 10 and made == exported

        receiver.wait_for(complete, "span of the service for each run")
        receiver.wait_for(
            lambda spans: sum(span.name == "undone rollback" for span in spans) == 2, "rollback"
        )
    spans = list(receiver.spans)
    assert {span.scope for span in spans} == {"flowspan", "flowspan-service"}
    for one, other in pairs(spans):
        check_same(one, other, without=ALLOWED_ATTRIBUTES | CODE)
        assert one.parent_id == other.parent_id
        mine = children(spans, one, "flowspan")
        theirs = children(spans, other, "flowspan-service")
        theirs = list({span.span_id: span for span in theirs}.values())
        assert [span.name for span in mine] == [span.name for span in theirs]
        for attempt, exported in zip(mine, theirs, strict=True):
            is_last = attempt.end_ns == one.end_ns or attempt.name.endswith("rollback")
            without = ALLOWED_ATTRIBUTES if is_last else OF_FAILED_ATTEMPTS
            check_same(attempt, exported, without=without)


def test_a_client_without_an_sdk_has_whole_traces(
    start_service: Callable[..., ServiceProcess],
) -> None:
    with OtlpReceiver() as receiver:
        service = start_service(arguments=("--otlp-endpoint", receiver.endpoint))
        stream = ReportStream(
            service.channel,
            client_name="by-hand",
            spans_by_service=True,
            resource={"service.name": "etl", "telemetry.sdk.name": "none"},
        )
        flow, task = new_id(), new_id()
        failure = failure_pb2.Failure(
            type="OSError", message="disk full", stack_trace="at line 1", cause={"type": "Cause"}
        )
        stream.wait_for_ack(
            stream.report(
                created(flow, function_name="etl"),
                entered(flow, "RUNNING"),
                created(
                    task,
                    kind="TASK",
                    function_name="load",
                    parent_run_id=flow,
                    root_run_id=flow,
                    flow_run_id=flow,
                    code={"function": "etl.load", "line": 7},
                    inputs=[{"run_id": flow, "parameter": "rows"}],
                ),
                entered(task, "RUNNING"),
                entered(task, "FAILED", failure=failure),
                entered(task, "RUNNING", attempt=2),
                entered(task, "FAILED", attempt=2, failure=failure),
                entered(flow, "COMPLETED"),
            )
        )
        receiver.wait_for(lambda spans: len(spans) >= 4, "spans of both runs and two attempts")
        stream.goodbye()
    etl, load = receiver.one("etl"), receiver.one("load")
    assert etl.trace_id == flow.replace("-", "")
    assert (etl.span_id, etl.parent_id) == (flow.replace("-", "")[16:], "")
    assert (load.trace_id, load.parent_id) == (etl.trace_id, etl.span_id)
    assert {span.service_name for span in receiver.spans} == {"etl"}
    assert load.attributes["code.function.name"] == "etl.load"
    assert load.attributes["code.line.number"] == 7
    about = {"flowspan.input.name": "rows", "flowspan.run.id": flow}
    assert load.links == [(etl.span_id, about)]
    attempts = receiver.named("load attempt")
    assert [span.attributes["flowspan.attempt"] for span in attempts] == [1, 2]
    for span in (load, *attempts):
        assert (span.status, span.status_message) == (ERROR, "OSError: disk full")
        assert span.attributes["error.type"] == "OSError"
        exceptions = [event for event in span.events if event[0] == "exception"]
        assert [each[2]["exception.type"] for each in exceptions] == ["OSError", "Cause"]
        assert exceptions[0][2]["exception.stacktrace"] == "at line 1"


def test_promise_no_trace_hole_for_a_client_without_an_sdk(
    start_service: Callable[..., ServiceProcess],
) -> None:
    """Its process dies: the run and its attempt have their spans all the same."""
    with OtlpReceiver() as receiver:
        service = start_service(grace_s=0.2, arguments=("--otlp-endpoint", receiver.endpoint))
        stream = ReportStream(service.channel, client_name="by-hand", spans_by_service=True)
        run_id = new_id()
        stream.wait_for_ack(stream.report(created(run_id), entered(run_id, "RUNNING")))
        stream.break_off()
        receiver.wait_for(bool, "span of the crashed run")
    span = receiver.one("f")
    assert span.is_synthetic
    assert span.attributes["error.type"] == "flowspan.crashed"
    assert span.service_name == "by-hand"
    assert span.trace_id == run_id.replace("-", "")
