"""Messages in stored runs, as spans show them."""

from __future__ import annotations

from flowspan.v1.failure_pb2 import Failure
from flowspan.v1.flow_run_pb2 import FlowRun
from flowspan_service.api.span_facts import MessageDecoder

DECODER = MessageDecoder()


def test_the_error_comes_before_its_causes() -> None:
    failure = Failure(
        type="A",
        message="a",
        stack_trace="trace",
        cause=Failure(type="B", cause=Failure(type="C", message="c")),
        other_causes=[Failure(type="D", cause=Failure(type="E")), Failure(type="F")],
    )
    assert DECODER.errors(failure.SerializeToString()) == [
        ("A", "a", "trace"),
        ("B", "", ""),
        ("C", "c", ""),
        ("D", "", ""),
        ("E", "", ""),
        ("F", "", ""),
    ]


def test_code_and_inputs() -> None:
    run = FlowRun()
    assert DECODER.code(run.SerializeToString()) == ("", "", 0)
    run.code.function, run.code.file_path, run.code.line = "etl.load", "/app/etl.go", 7
    run.inputs.add(run_id="r1", parameter="rows")
    run.inputs.add(run_id="r2", parameter="wait_for")
    data = run.SerializeToString()
    assert DECODER.code(data) == ("etl.load", "/app/etl.go", 7)
    assert DECODER.inputs(data) == [("r1", "rows"), ("r2", "wait_for")]
