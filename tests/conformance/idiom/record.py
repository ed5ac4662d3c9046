"""The record of what a program reported, without what differs between languages and executions.

Left out are ids, times, the names of runs, positions, versions, stack traces, the types of errors
(each language has its own), and the log records of the clients themselves: programs begin the
messages of theirs with "> ".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.conformance.wire.judge import state_name
from tests.support import run_queries
from tests.support.history import type_name

from flowspan.v1 import (
    artifact_pb2,
    artifact_service_pb2,
    artifact_service_pb2_grpc,
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    log_service_pb2,
    log_service_pb2_grpc,
    task_run_service_pb2,
    task_run_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc
    from tests.support.otlp import ReceivedSpan

    from flowspan.v1 import failure_pb2, log_pb2

OWN = "> "
"""The beginning of the messages that a program logs or prints for the test."""
LONG = 2000
"""Longer texts are recorded by their length."""
SPAN_ATTRIBUTES = (
    "flowspan.run.kind",
    "flowspan.flow.name",
    "flowspan.state.type",
    "flowspan.state.name",
    "flowspan.attempts",
    "flowspan.attempt",
    "flowspan.cancelled",
    "flowspan.wait.reason",
)
SPAN_RUNS = ("flowspan.flow_run.id", "flowspan.root_run.id")
"""Attributes with the id of a run that has a span, too."""
LEAST_SECONDS = 1e-5
ERROR = 2


class Record:
    """Reads the runs of a service.

    Args:
        channel: A channel to the service.
        left_out: The names of details that are not recorded.
    """

    def __init__(self, channel: grpc.Channel, left_out: Sequence[str] = ()) -> None:
        self._channel = channel
        self._left_out = left_out
        self._flow_stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
        self._task_stub = task_run_service_pb2_grpc.TaskRunServiceStub(channel)

    def trees(self) -> list[dict[str, Any]]:
        """Return the runs as trees: those of a parent by the names of their functions."""
        runs = [*run_queries.flow_runs(self._channel), *run_queries.task_runs(self._channel)]
        ids = {run.id for run in runs}
        below: dict[str, list[Any]] = {}
        for run in runs:
            below.setdefault(run.parent_run_id if run.parent_run_id in ids else "", []).append(run)
        return self._recorded(below, "", root="")

    def _recorded(
        self, below: dict[str, list[Any]], parent: str, *, root: str
    ) -> list[dict[str, Any]]:
        found = []
        for run in sorted(below.get(parent, ()), key=lambda run: (_function(run)[1], run.id)):
            kind, name = _function(run)
            own_root = root or run.id
            assert run.root_run_id == own_root, f"{name} has the root {run.root_run_id}"
            record = {kind: name, **self._details(run)}
            children = self._recorded(below, run.id, root=own_root)
            found.append({**record, "calls": children} if children else record)
        return found

    def _details(self, brief: Any) -> dict[str, Any]:
        # Lists leave out the longest fields.
        if _function(brief)[0] == "flow":
            request = flow_run_service_pb2.GetFlowRunRequest(id=brief.id)
            run: Any = self._flow_stub.GetFlowRun(request).flow_run
        else:
            run = self._task_stub.GetTaskRun(
                task_run_service_pb2.GetTaskRunRequest(id=brief.id)
            ).task_run
        details = {
            "history": self._history(run),
            "tags": sorted(run.tags),
            "description": _beginning(run.description),
            "parameters": _parameters(run),
            "failure": _failure(run.state.failure) if type_name(run) == "FAILED" else None,
            "logs": self._logs(run.id),
            "artifacts": self._artifacts(run.id),
            "inputs": sorted(each.parameter for each in run.inputs),
        }
        assert run.run_duration.ToMicroseconds() >= 0, run
        shown = {name: value for name, value in details.items() if value}
        return {name: value for name, value in shown.items() if name not in self._left_out}

    def _history(self, run: Any) -> str:
        """Return the names of the states: those of later attempts with their number."""
        if _function(run)[0] == "flow":
            answer: Any = self._flow_stub.ListFlowRunTransitions(
                flow_run_service_pb2.ListFlowRunTransitionsRequest(id=run.id)
            )
        else:
            answer = self._task_stub.ListTaskRunTransitions(
                task_run_service_pb2.ListTaskRunTransitionsRequest(id=run.id)
            )
        names = []
        for each in answer.transitions:
            name = state_name(each.state)
            number = "" if each.attempt == 1 else f"{each.attempt}:"
            expected = type_name(each).capitalize()
            names.append(f"{number}{name}" if name == expected else f"{number}{name}({expected})")
        return " ".join(names)

    def _logs(self, run_id: str) -> list[str]:
        stub = log_service_pb2_grpc.LogServiceStub(self._channel)
        request = log_service_pb2.ListLogsRequest(run_id=run_id, page_size=1000)
        records: list[log_pb2.LogRecord] = []
        while True:
            page = stub.ListLogs(request)
            records += page.logs
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        found = []
        text = ""
        for record in records:
            assert record.chunk_index == 0 or text, "a piece of a text comes before its first one"
            text = record.message if record.chunk_index == 0 else text + record.message
            is_whole = record.chunk_index + 1 >= record.chunk_count
            if is_whole and text.startswith(OWN):
                attempt = "" if record.attempt in {0, 1} else f"{record.attempt}:"
                found.append(f"{attempt}{record.level} {_shown(text.removeprefix(OWN))}")
        return found

    def _artifacts(self, run_id: str) -> list[str]:
        stub = artifact_service_pb2_grpc.ArtifactServiceStub(self._channel)
        own = artifact_service_pb2.ArtifactFilter(run_id=run_id)
        request = artifact_service_pb2.ListArtifactsRequest(filter=own)
        return sorted(_artifact(each) for each in stub.ListArtifacts(request).artifacts)


def _function(run: Any) -> tuple[str, str]:
    """Return the kind of a run and the name of its function."""
    if hasattr(run, "flow_name"):
        return "flow", run.flow_name
    return "task", run.task_name


def _parameters(run: Any) -> Any:
    if _function(run)[0] == "task":
        return None  # a preview, which each language shortens in its own way
    return json.loads(run.parameters.data) if run.parameters.data else None


def _failure(failure: failure_pb2.Failure) -> dict[str, Any]:
    found: dict[str, Any] = {"message": _beginning(failure.message)}
    assert failure.type, "a failure has no type"
    if failure.HasField("cause"):
        found["cause"] = _failure(failure.cause)
    if failure.other_causes:
        found["other_causes"] = [_failure(each) for each in failure.other_causes]
    return found


def _artifact(artifact: artifact_pb2.Artifact) -> str:
    return f"{artifact.type} {artifact.key}".strip()


def _shown(text: str) -> str:
    return text if len(text) <= LONG else f"{text[:20]}… of {len(text)} characters"


def _beginning(text: str) -> str:
    """Return a text that clients shorten, each in its own way."""
    return text if len(text) <= LONG else f"{text[:20]}…"


def comparable(spans: Sequence[ReceivedSpan]) -> list[ReceivedSpan]:
    """Return the spans that do not depend on the speed of the machine; see `span_trees`."""
    return [span for span in spans if not _depends_on_speed(span)]


def span_trees(spans: Sequence[ReceivedSpan]) -> list[dict[str, Any]]:
    """Return spans as trees: those of a parent by their start.

    Left out are the spans that depend on the speed of the machine: those of waits other than for a
    retry, and those that show a run before it has ended.
    """
    kept = comparable(spans)
    ids = {span.span_id for span in kept}
    names = {span.run_id: span.name for span in kept if span.run_id}
    below: dict[str, list[ReceivedSpan]] = {}
    for span in sorted(kept, key=lambda span: span.start_ns):
        below.setdefault(span.parent_id if span.parent_id in ids else "", []).append(span)

    def recorded(parent: str) -> list[dict[str, Any]]:
        found = []
        for span in below.get(parent, ()):
            record: dict[str, Any] = {"span": span.name}
            for name in SPAN_ATTRIBUTES:
                if name in span.attributes:
                    record[name.removeprefix("flowspan.")] = span.attributes[name]
            for name in SPAN_RUNS:
                if name in span.attributes:
                    of_run = names.get(span.attributes[name], "unknown")
                    record[name.removeprefix("flowspan.").removesuffix(".id")] = of_run
            _check_times(span)
            if span.status == ERROR:
                record["error"] = True
                assert span.attributes.get("error.type"), f"{span.name} has no error.type"
            exceptions = [
                each[2].get("exception.message", "") for each in span.events
                if each[0] == "exception" and not each[2].get("flowspan.cause.depth")
            ]  # fmt: skip
            # The service does not know the error of an attempt that was followed by another one.
            if exceptions and "flowspan.attempt" not in span.attributes:
                record["exceptions"] = exceptions
            children = recorded(span.span_id)
            found.append({**record, "children": children} if children else record)
        return found

    return recorded("")


def _depends_on_speed(span: ReceivedSpan) -> bool:
    is_wait = span.name == "waiting" and span.attributes.get("flowspan.wait.reason") != "retry"
    return is_wait or bool(span.attributes.get("flowspan.span.pending"))


def _check_times(span: ReceivedSpan) -> None:
    """Check that the times in which a run waited and ran are all of its time."""
    if "flowspan.state.type" not in span.attributes or not span.run_id:
        return
    queued_s = span.attributes.get("flowspan.queued_s", -1)
    run_s = span.attributes.get("flowspan.run_s", -1)
    assert queued_s >= 0, f"{span.name} waited {queued_s} s"
    assert run_s >= 0, f"{span.name} ran {run_s} s"
    length_s = (span.end_ns - span.start_ns) / 1e9
    assert abs(queued_s + run_s - length_s) < LEAST_SECONDS, (
        f"{span.name} waited {queued_s} s and ran {run_s} s of {length_s} s"
    )
