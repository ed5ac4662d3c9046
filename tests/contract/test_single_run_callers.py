"""SingleRunService: the callers of runs, their traces, and their tokens."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.support.harness import refused
from tests.support.report_client import ReportStream, created, entered, new_id

from flowspan.v1 import (
    report_pb2,
    report_service_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.harness import Harness, Stubs

from tests.support.single_runs import (
    cancel,
    context_of,
    delete,
    finish,
    get,
    history,
    lines_of,
    reported_run,
    start,
    touch,
)

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
EXISTS = grpc.StatusCode.ALREADY_EXISTS
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
DENIED = grpc.StatusCode.PERMISSION_DENIED
LEASE_S = 900
HOUR_S = 3600
SPAN = f"00-{'a' * 32}-{'b' * 16}-01"


# The caller.


def test_caller_in_the_request_or_a_header(harness: Harness, stubs: Stubs) -> None:
    stream, root = reported_run(harness)
    named = context_of(root)
    for fields in (
        {"run_context": named},
        {"headers": {"flowspan-run": named}},
        {"headers": {"tracestate": f"vendor=x, flowspan={named}"}},
        {"run_context": named, "headers": {"flowspan-run": context_of(new_id())}},
        {"headers": {"flowspan-run": named, "tracestate": f"flowspan={context_of(new_id())}"}},
    ):
        started = start(stubs, **fields)
        run = started.flow_run
        assert (run.parent_run_id, run.root_run_id) == (root, root)
        assert started.run_context == f"{context_of(run.id)};t:{root.replace('-', '')}"
        finish(stubs, started.token)
    stream.break_off()


def test_caller_that_arrives_later(harness: Harness, stubs: Stubs) -> None:
    root, parent = new_id(), new_id()
    context = f"{context_of(parent)};t:{root.replace('-', '')}"
    started = start(stubs, run_context=context)
    assert started.flow_run.root_run_id == root
    stream, known = reported_run(harness)
    stream.wait_for_ack(stream.report(created(parent, parent_run_id=known)))
    run = get(stubs, started.flow_run.id)
    assert (run.parent_run_id, run.root_run_id) == (parent, known)
    finish(stubs, started.token)
    stream.break_off()


def test_caller_that_is_cancelled_or_deleted_is_refused(harness: Harness, stubs: Stubs) -> None:
    stream, parent = reported_run(harness)
    cancel(stubs, parent)

    def below() -> None:
        start(stubs, run_context=context_of(parent))

    told = refused(below, PRECONDITION, "STATE_CONFLICT")
    assert told["run_id"] == parent
    assert "FLOWSPAN_RUN" in told["advice"]
    delete(stubs, parent)
    told = refused(below, PRECONDITION, "STATE_CONFLICT")
    assert told["run_id"] == parent
    stream.break_off()


@pytest.mark.parametrize("text", ["x", "r:12", "r:" + "0" * 32, "r:" + "z" * 600])
def test_malformed_run_context_is_refused(stubs: Stubs, text: str) -> None:
    told = refused(lambda: start(stubs, run_context=text), INVALID, "INVALID_FIELD")
    assert told["field"] == "run_context"
    told = refused(lambda: start(stubs, headers={"flowspan-run": text}), INVALID, "INVALID_FIELD")
    assert told["field"] == "flowspan-run"


def test_run_context_of_the_run_itself_is_refused(stubs: Stubs) -> None:
    run_id = new_id()
    refused(
        lambda: start(stubs, id=run_id, run_context=context_of(run_id)), INVALID, "INVALID_FIELD"
    )


# Traces.


def test_run_without_a_caller_begins_a_trace(stubs: Stubs) -> None:
    started = start(stubs)
    digits = started.flow_run.id.replace("-", "")
    assert started.traceparent == f"00-{digits}-{digits[16:]}-03"
    assert started.flow_run.trace.traceparent == started.traceparent
    assert started.flow_run.trace.exported_by_service
    assert started.flow_run.trace.parent_span_id == ""


@pytest.mark.parametrize("carrier", ["field", "header"])
def test_run_below_a_span(stubs: Stubs, carrier: str) -> None:
    headers = {"traceparent": SPAN, "tracestate": "a=b,flowspan=r:0199c0de000070008000000000000001"}
    by_field = carrier == "field"
    started = start(stubs, traceparent=SPAN) if by_field else start(stubs, headers=headers)
    trace = started.flow_run.trace
    span_id = started.flow_run.id.replace("-", "")[16:]
    assert started.traceparent == trace.traceparent == f"00-{'a' * 32}-{span_id}-01"
    assert trace.parent_span_id == "b" * 16
    assert trace.tracestate == ("" if by_field else "a=b")
    assert trace.exported_by_service
    assert get(stubs, started.flow_run.id).trace == trace


def test_traceparent_in_the_request_comes_first(stubs: Stubs) -> None:
    started = start(stubs, traceparent=SPAN, headers={"traceparent": SPAN.replace("a", "c")})
    assert started.traceparent.startswith(f"00-{'a' * 32}-")


def test_run_joins_the_trace_of_its_caller(harness: Harness, stubs: Stubs) -> None:
    stream, parent = reported_run(harness, trace={"traceparent": SPAN, "tracestate": "v=1"})
    started = start(stubs, run_context=context_of(parent))
    trace = started.flow_run.trace
    assert trace.traceparent.startswith(f"00-{'a' * 32}-")
    assert (trace.parent_span_id, trace.tracestate) == ("b" * 16, "v=1")
    # A span between the two is the parent.
    between = SPAN.replace("b", "d")
    started = start(stubs, run_context=context_of(parent), traceparent=between)
    assert started.flow_run.trace.parent_span_id == "d" * 16
    stream.break_off()


BAD_SPANS = [
    "x",
    f"00-{'0' * 32}-{'b' * 16}-01",
    f"00-{'a' * 32}-{'0' * 16}-01",
    f"ff-{'a' * 32}-{'b' * 16}-01",
    f"00-{'A' * 32}-{'b' * 16}-01",
    f"{SPAN}-more",
]


@pytest.mark.parametrize("text", BAD_SPANS)
def test_malformed_traceparent(stubs: Stubs, text: str) -> None:
    told = refused(lambda: start(stubs, traceparent=text), INVALID, "INVALID_FIELD")
    assert told["field"] == "traceparent"
    # That of a header is ignored, as the standard says.
    started = start(stubs, headers={"traceparent": text})
    assert started.flow_run.trace.parent_span_id == ""


def test_traceparent_of_a_later_version(stubs: Stubs) -> None:
    started = start(stubs, traceparent=SPAN.replace("00-", "01-", 1) + "-more")
    assert started.traceparent.startswith(f"00-{'a' * 32}-")


# Tokens.


def test_token_of_another_run_says_nothing_about_this_one(harness: Harness, stubs: Stubs) -> None:
    one, two = start(stubs), start(stubs)
    touch(stubs, two.token, "mine")
    finish(stubs, two.token)
    assert history(harness, one.flow_run.id) == ["Pending", "Running"]
    assert lines_of(harness, one.flow_run.id) == []
    # The token of one run with the id of the other is no token.
    mixed = bytearray(base64.urlsafe_b64decode(one.token + "=" * (-len(one.token) % 4)))
    other = base64.urlsafe_b64decode(two.token + "=" * (-len(two.token) % 4))
    mixed[7:23] = other[7:23]
    forged = base64.urlsafe_b64encode(bytes(mixed)).decode().rstrip("=")
    for call in (touch, finish):
        refused(lambda call=call: call(stubs, forged), DENIED, "WRONG_SECRET")


GARBAGE: dict[str, Callable[[str], str]] = {
    "cut": lambda token: token[:-1],
    "longer": lambda token: token + "A",
    "changed": lambda token: token.swapcase(),
    "zeros": lambda token: "A" * len(token),
    "with a line feed": lambda token: token + "\n",
    "with a space": lambda token: f" {token}",
    "Unicode": lambda _: "ü🐟",
    "long": lambda _: "-" * 5000,
    "NUL": lambda _: "\0",
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_no_token(harness: Harness, stubs: Stubs, kind: str) -> None:
    started = start(stubs)
    garbage = GARBAGE[kind](started.token)
    for call in (touch, finish):
        told = refused(lambda call=call: call(stubs, garbage, "x"), DENIED, "WRONG_SECRET")
        assert told["advice"]
        assert garbage not in str(dict(told))
    assert history(harness, started.flow_run.id) == ["Pending", "Running"]


def test_nobody_else_can_speak_for_the_session(harness: Harness, stubs: Stubs) -> None:
    started = start(stubs)
    session_id = started.flow_run.session_id
    for secret in (b"", b"s" * 16):
        hello = report_pb2.Hello(session_id=session_id, secret=secret)
        request = report_service_pb2.ReportBatchRequest(hello=hello, goodbye=True)
        refused(lambda request=request: stubs.reports.ReportBatch(request), DENIED, "WRONG_SECRET")
    assert history(harness, started.flow_run.id) == ["Pending", "Running"]


def test_another_session_cannot_report_the_run_but_a_later_one_can(
    harness: Harness, stubs: Stubs
) -> None:
    started = start(stubs, lease=Duration(seconds=5))
    run_id = started.flow_run.id
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(entered(run_id, "FAILED")))
    assert [each.rule for each in stream.verdicts] == ["another_session_has_it"]
    harness.pass_time(7)
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(entered(run_id, "RUNNING")))
    for call in (touch, finish):
        told = refused(lambda call=call: call(stubs, started.token), PRECONDITION, "STATE_CONFLICT")
        assert told["run_id"] == run_id
    stream.break_off()
