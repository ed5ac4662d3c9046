"""The polyglot example: programs in four languages are one tree and one trace, and end together."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.conformance.languages import BUILD_TIMEOUT_S, LANGUAGES, selected
from tests.conformance.polyglot import (
    EXAMPLE,
    PROGRAMS,
    PROGRAMS_WITH_SDK,
    SERVICE_OF,
    TREE,
    Order,
    RunOfOrder,
    build_example,
    build_with_sdk,
    drawn,
    runs_of_order,
    spans_in,
)
from tests.support.cli import flowspan
from tests.support.otlp import OtlpReceiver
from tests.support.run_queries import flow_runs, logs, wait_until

from flowspan.v1 import flow_run_service_pb2, flow_run_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tests.conformance.polyglot import Span
    from tests.support.otlp import ReceivedSpan
    from tests.support.service import ServiceProcess

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT_S)

LOGS = {
    "read_order": "has 3 lines",
    "price": "the order is priced",
    "rate": "asked for a rate",
    "lay_out": "the invoice of order 1001 is in USD, at 1.25",
    "compress": "in the archive",
    "store": "waiting 0.0 s for the tape",
}
"""Log records of runs, by the name of the flow or task; each language has some."""
ALL = ("price", "render", "archive")
TOTAL = "Total: 114.38 USD"
PATIENCE_S = 30.0
"""A generous bound for machines under load: a cancellation takes a fraction of a second."""


@pytest.fixture
def example() -> None:
    """Build the example, or skip the test if a language is not to be tested."""
    if set(selected()) != set(LANGUAGES):
        pytest.skip("the polyglot example needs all languages: run `make test-clients`")
    for problem in filter(None, (language.problem for language in LANGUAGES)):
        pytest.skip(problem)
    build_example()


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def check_archive(order: Order, output: str) -> None:
    """Check that the printed receipt is that of the invoice in the archive."""
    receipt = json.loads(output)
    (stored,) = order.archive.iterdir()
    assert receipt == {
        "order": 1001,
        "path": str(stored),
        "sha256": hashlib.sha256(stored.read_bytes()).hexdigest(),
    }
    assert TOTAL in gzip.decompress(stored.read_bytes()).decode()


def check_tree(runs: Sequence[RunOfOrder]) -> None:
    """Check that the runs are one tree, and that each has ended well."""
    assert drawn(runs) == TREE
    assert {each.run.root_run_id for each in runs} == {runs[0].run.id}
    assert {each.name: each.state for each in runs} == dict.fromkeys(SERVICE_OF, "COMPLETED")


def check_trace(runs: Sequence[RunOfOrder], spans: Iterable[Span | ReceivedSpan]) -> None:
    """Check that the runs have one span each, all in one trace, nested like the runs."""
    found = sorted((s.run_id, s.name, s.trace_id, s.span_id, s.parent_id) for s in spans)
    (trace_id,) = {each.trace_id for each in runs}
    span_of = {each.run.id: each.span_id for each in runs}
    expected = [
        (run.id, each.name, trace_id, each.span_id, span_of.get(run.parent_run_id, ""))
        for each in runs
        for run in [each.run]
    ]
    assert found == sorted(expected)
    # The member that names the caller is not stored: it would name the wrong run to callees.
    assert {each.run.trace.tracestate for each in runs} == {""}


def check_logs(service: ServiceProcess, runs: Sequence[RunOfOrder]) -> None:
    """Check that each language has logged for its own runs, with the ids of their spans."""
    found = list(logs(service.channel, runs[0].run.id, descendants=True))
    run_of = {each.run.id: each for each in runs}
    for name, text in LOGS.items():
        (log,) = [log for log in found if run_of[log.run_id].name == name and text in log.message]
        if log.trace_id:  # a run without a span has none
            run = run_of[log.run_id]
            assert (log.trace_id, log.span_id) == (run.trace_id, run.span_id)


@pytest.mark.parametrize("python_has_spans", [True, False], ids=["all spans", "none of Python"])
def test_one_tree_and_one_trace_over_four_languages(
    example: None,
    start_service: Callable[..., ServiceProcess],
    receiver: OtlpReceiver,
    tmp_path: Path,
    python_has_spans: bool,
) -> None:
    # The Python client exports its spans itself; the service exports those of the others.
    service = start_service(arguments=("--otlp-endpoint", receiver.endpoint))
    env = {} if python_has_spans else {"OTEL_SDK_DISABLED": "true"}
    with Order(tmp_path, address=service.address, env=env) as order:
        code, out, err = order.finish()
        assert code == 0, err
        check_archive(order, out)
    runs = runs_of_order(service.channel)
    check_tree(runs)
    check_logs(service, runs)
    shown = flowspan("run", "show", runs[0].run.id, env={"FLOWSPAN_ADDRESS": service.address})
    assert all(name in shown.out for name in SERVICE_OF)
    traced = [each for each in runs if python_has_spans or SERVICE_OF[each.name] != "order"]
    receiver.wait_for(lambda spans: len(spans) >= len(traced), f"{len(traced)} spans")
    check_trace(traced, receiver.spans)
    assert all(span.service_name == SERVICE_OF[span.name] for span in receiver.spans)


@pytest.mark.parametrize("with_sdk", [("price",), ("render",), ("archive",), ALL], ids=" ".join)
def test_trace_does_not_depend_on_who_makes_the_spans(
    example: None,
    start_service: Callable[..., ServiceProcess],
    receiver: OtlpReceiver,
    tmp_path: Path,
    with_sdk: Sequence[str],
) -> None:
    build_with_sdk()
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ALL:
        folder = PROGRAMS_WITH_SDK if name in with_sdk else PROGRAMS
        (programs / name).symlink_to(folder / name)
    written = tmp_path / "spans"
    service = start_service(arguments=("--otlp-endpoint", receiver.endpoint))
    env = {"SPANS": str(written)}
    with Order(tmp_path, address=service.address, env=env, programs=programs) as order:
        code, _, err = order.finish()
        assert code == 0, err
    runs = runs_of_order(service.channel)
    by_programs = [each for each in runs if SERVICE_OF[each.name] in with_sdk]
    spans = spans_in(written)
    assert {span.run_id for span in spans} == {each.run.id for each in by_programs}
    count = len(runs) - len(spans)
    receiver.wait_for(lambda spans: len(spans) >= count, f"{count} spans")
    check_tree(runs)
    check_trace(runs, [*spans, *receiver.spans])
    check_logs(service, runs)


def test_script_of_the_example_does_all(
    example: None, service: ServiceProcess, tmp_path: Path
) -> None:
    command = [str(EXAMPLE / "run.sh")]
    with Order(tmp_path, address=service.address, command=command) as order:
        code, out, err = order.finish()
        assert code == 0, err
        check_archive(order, out)
    check_tree(runs_of_order(service.channel))


def test_cancellation_at_the_top_reaches_the_last_program(
    example: None,
    service: ServiceProcess,
    tmp_path: Path,
) -> None:
    with Order(tmp_path, address=service.address, arguments=("--tape", "3600")) as order:
        wait_until(lambda: running(service, "store"), "the Java program to wait for its tape")
        (top,) = [run for run in flow_runs(service.channel) if run.flow_name == "order"]
        stub = flow_run_service_pb2_grpc.FlowRunServiceStub(service.channel)
        asked = time.time()
        answer = stub.CancelFlowRun(
            flow_run_service_pb2.CancelFlowRunRequest(id=top.id, reason="the customer called")
        )
        assert answer.asked_run_count == 4  # one run in each process
        code, out, err = order.finish()
        took = time.time() - asked
    assert (code, out) == (1, ""), err
    assert "the customer called" in err
    by_name = {each.name: each for each in runs_of_order(service.channel)}
    # From the last program to the first: each ends after the run that it called.
    cancelled = (
        *("store", "archive", "call_archive", "render"),
        *("call_render", "price", "call_price", "order"),
    )
    assert {each.name for each in by_name.values() if each.state == "CANCELLED"} == {*cancelled}
    assert {each.state for each in by_name.values()} == {"CANCELLED", "COMPLETED"}
    ends = [by_name[name].positions[-1] for name in cancelled]
    assert ends == sorted(ends, key=lambda each: each[1])
    assert {name for name, _ in ends} == {"Cancelled"}
    assert list(order.archive.iterdir()) == []  # the Java program has cleaned up
    last = by_name["archive"].run.end_time.ToMicroseconds() / 1e6
    sys.stdout.write(f"the last run ended after {last - asked:.3f} s, all after {took:.3f} s\n")
    assert last - asked < PATIENCE_S
    assert took < PATIENCE_S


def test_program_that_starts_during_the_cancellation_is_stopped(
    example: None, service: ServiceProcess, tmp_path: Path
) -> None:
    # The TypeScript program starts when the run that called it is already cancelled. All that it
    # and the programs below it report is refused, which stops them.
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("price", "archive"):
        (programs / name).symlink_to(PROGRAMS / name)
    started, gate = tmp_path / "started", tmp_path / "gate"
    late = programs / "render"
    late.write_text(
        f"#!/bin/sh\n: >'{started}'\nwhile ! test -e '{gate}'; do sleep 0.02; done\n"
        f"exec '{PROGRAMS / 'render'}'\n"
    )
    late.chmod(0o755)
    arguments = ("--tape", "3600")
    with Order(tmp_path, address=service.address, arguments=arguments, programs=programs) as order:
        wait_until(started.exists, "the program to start")
        wait_until(lambda: running(service, "call_render"), "the run that started it")
        (top, *_) = flow_runs(service.channel)
        stub = flow_run_service_pb2_grpc.FlowRunServiceStub(service.channel)
        stub.CancelFlowRun(flow_run_service_pb2.CancelFlowRunRequest(id=top.id))
        gate.touch()
        code, out, err = order.finish()
        wait_until(lambda: not order.has_processes(), "the end of all programs")
    assert (code, out) == (1, ""), err
    states = {each.name: each.state for each in runs_of_order(service.channel)}
    # It may end in the moment before the run that asked for it is refused.
    assert states.pop("rate", "COMPLETED") in ("COMPLETED", "CANCELLED")
    cancelled = ("order", "call_price", "price", "call_render")
    assert states == {
        **dict.fromkeys(("read_order", "price_line"), "COMPLETED"),
        **dict.fromkeys(cancelled, "CANCELLED"),
    }
    assert not order.archive.exists() or list(order.archive.iterdir()) == []


def running(service: ServiceProcess, name: str) -> bool:
    return any(
        each.name == name and each.state == "RUNNING" for each in runs_of_order(service.channel)
    )


def test_failure_in_another_language_fails_all_that_called_it(
    example: None, service: ServiceProcess, tmp_path: Path
) -> None:
    content = json.loads((EXAMPLE / "orders" / "1001.json").read_text())
    path = tmp_path / "order.json"
    path.write_text(json.dumps({**content, "currency": "XXX"}))
    with Order(tmp_path, address=service.address, arguments=(str(path),)) as order:
        code, out, err = order.finish()
    assert (code, out) == (1, "")
    # Each program says which one it called, down to the Go program that was asked over HTTP.
    for text in ('there is no rate for "XXX"', "price exited with 1"):
        assert text in err
    states = {each.name: each.state for each in runs_of_order(service.channel)}
    failed = ("rate", "lay_out", "render", "call_render", "price")
    failed += ("read_receipt", "call_price", "order")
    assert {name for name, state in states.items() if state == "FAILED"} == {*failed}
    assert set(states) - {*failed} == {"read_order", "price_line"}


def test_chain_ends_where_a_toolchain_is_missing(service: ServiceProcess, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "dirname", "mkdir", "rm"):
        path = shutil.which(name)
        assert path is not None
        (tools / name).symlink_to(path)
    built = tmp_path / "built"
    (built / "bin").mkdir(parents=True)
    stale = built / "bin" / "price"
    stale.write_text("#!/bin/sh\nexit 3\n")
    stale.chmod(0o755)
    env = {"PATH": str(tools), "POLYGLOT_BUILD": str(built)}
    done = subprocess.run(
        [EXAMPLE / "build.sh"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for tool, program in (("go", "price"), ("npm", "render"), ("java", "archive")):
        assert f"{tool} is not installed, so the chain ends before `{program}`" in done.stderr
    assert list((built / "bin").iterdir()) == []
    env = {"PATH": os.pathsep.join((str(built / "bin"), str(Path(sys.executable).parent)))}
    with Order(tmp_path, address=service.address, env=env) as order:
        code, out, err = order.finish()
    assert code == 0, err
    assert json.loads(out)["number"] == 1001
    runs = runs_of_order(service.channel)
    assert [each.name for each in runs] == ["order", "read_order", "call_price"]
    messages = [log.message for log in logs(service.channel, runs[2].run.id)]
    assert any("the chain ends here" in message for message in messages)


def test_build_script_refuses_an_unknown_language() -> None:
    done = subprocess.run(
        [EXAMPLE / "build.sh", "cobol"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "`cobol` is none of" in done.stderr
