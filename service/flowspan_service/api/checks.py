"""What requests may say. Every request is checked here, before its method sees it.

The events of reports are checked in `api.report_events`, with the functions below.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from flowspan.v1 import (
    artifact_service_pb2,
    flow_run_service_pb2,
    flow_service_pb2,
    log_service_pb2,
    report_service_pb2,
    system_service_pb2,
    task_run_service_pb2,
    variable_service_pb2,
    watch_service_pb2,
)
from flowspan_service.api import limits
from flowspan_service.domain.errors import InvalidFieldError, TooLargeError
from flowspan_service.domain.rules import INITIAL_TYPES
from flowspan_service.domain.states import StateType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    from flowspan.v1.artifact_pb2 import Artifact, ArtifactChange
    from flowspan.v1.failure_pb2 import Failure
    from flowspan.v1.flow_run_pb2 import FlowRun
    from flowspan.v1.payload_pb2 import Payload
    from flowspan.v1.report_pb2 import Hello
    from flowspan.v1.run_filter_pb2 import RunFilter
    from flowspan.v1.state_pb2 import State
    from flowspan.v1.trace_pb2 import TraceContext
    from flowspan.v1.variable_pb2 import Variable

is_id = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
"""Matches a UUID in lower-case canonical form."""
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_HEX = re.compile(r"[0-9a-f]*").fullmatch
_KEY = re.compile(r"[a-z0-9-]*").fullmatch
_VARIABLE_NAME = re.compile(r"[a-z0-9_-]*").fullmatch
_ID_PART = re.compile(r"-*(?:[0-9a-f]-*){4,32}").fullmatch

MAX_SECONDS = 253_402_300_799
"""The end of the year 9999, the last that a Timestamp may have."""

STATE_TYPES = frozenset(int(each) for each in StateType)
_ORDERS = (0, 1, 2)


def check(request: Any) -> None:
    """Checks a request of any type.

    Raises:
        InvalidFieldError: A field has a value that it may not have; the message names it.
        TooLargeError: A field is larger than its limit.
    """
    checker = _CHECKERS.get(type(request))
    if checker is not None:
        checker(request)


def invalid(field: str, why: str) -> InvalidFieldError:
    """The error for a field with a value that it may not have."""
    return InvalidFieldError(f"{field}: {why}", field=field)


def check_id(value: str, field: str) -> None:
    """An id that is required."""
    if not value:
        raise invalid(field, "is required")
    if not is_id(value):
        raise invalid(field, f"{_shown(value)} is not a UUID in lower-case canonical form")


def check_optional_id(value: str, field: str) -> None:
    """An id that may be empty."""
    if value:
        check_id(value, field)


def check_text(value: str, field: str, limit: int) -> None:
    """A text of at most so many bytes, without NUL characters: PostgreSQL keeps none."""
    if "\0" in value:
        raise invalid(field, 'has a NUL character (U+0000). Leave it out, or send "␀" in its place')
    check_length(value, field, limit)


def check_length(value: str, field: str, limit: int) -> None:
    """A text of at most so many bytes."""
    # A character has at most four bytes, so most texts need not be encoded to be measured.
    if len(value) * 4 > limit and len(value.encode()) > limit:
        raise too_large(field, len(value.encode()), limit)


def check_required_text(value: str, field: str, limit: int) -> None:
    """A text that may not be empty."""
    if not value:
        raise invalid(field, "is required")
    check_text(value, field, limit)


def check_tags(tags: Sequence[str], field: str) -> None:
    """Labels of a run."""
    if len(tags) > limits.TAG_COUNT:
        raise TooLargeError(
            f"{field}: {len(tags)} tags are more than {limits.TAG_COUNT}", field=field
        )
    for tag in tags:
        check_required_text(tag, field, limits.NAME)


def check_payload(payload: Payload, field: str, limit: int) -> None:
    """A value of the user's."""
    check_required_text(payload.encoding, f"{field}.encoding", limits.SHORT_NAME)
    size = len(payload.data)
    if size > limit:
        raise too_large(f"{field}.data", size, limit)


def check_trace(trace: TraceContext, field: str) -> None:
    """A run's place in a trace."""
    if not _TRACEPARENT(trace.traceparent):
        raise invalid(
            f"{field}.traceparent", f"{_shown(trace.traceparent)} is not a W3C traceparent"
        )
    check_text(trace.tracestate, f"{field}.tracestate", limits.TRACESTATE)
    check_hex(trace.parent_span_id, f"{field}.parent_span_id", 16)


def check_hex(value: str, field: str, length: int) -> None:
    """So many lower-case hex digits, or none."""
    if value and (len(value) != length or not _HEX(value)):
        raise invalid(field, f"{_shown(value)} is not {length} lower-case hex digits")


def check_failure(failure: Failure, field: str) -> None:
    """An error of user code, with its causes."""
    depth = 1
    while True:
        check_text(failure.type, f"{field}.type", limits.FAILURE_TYPE)
        check_text(failure.message, f"{field}.message", limits.FAILURE_MESSAGE)
        check_text(failure.stack_trace, f"{field}.stack_trace", limits.FAILURE_STACK_TRACE)
        if not failure.HasField("cause"):
            return
        depth += 1
        if depth > limits.FAILURE_DEPTH:
            raise TooLargeError(
                f"{field}: a chain of more than {limits.FAILURE_DEPTH} failures", field=field
            )
        failure = failure.cause


def check_time(time: Timestamp, field: str) -> None:
    """A time between the years 1970 and 9999."""
    if not (0 <= time.seconds <= MAX_SECONDS and 0 <= time.nanos <= 999_999_999):
        raise invalid(field, "is not a time between the years 1970 and 9999")


def check_required_time(message: Any, name: str, field: str) -> None:
    """A field with a time that is required; the beginning of 1970 is a time, and not none."""
    if not message.HasField(name):
        raise invalid(field, "is required")
    check_time(getattr(message, name), field)


def check_duration(duration: Duration, field: str) -> None:
    """A duration that is not negative."""
    if not (0 <= duration.seconds <= MAX_SECONDS and 0 <= duration.nanos <= 999_999_999):
        raise invalid(field, "is not a positive duration")


def check_state(state: State, field: str) -> None:
    """A state that somebody asks for; its time is not looked at."""
    if state.type not in STATE_TYPES:
        raise invalid(f"{field}.type", "is required" if not state.type else "is not known")
    check_text(state.name, f"{field}.name", limits.STATE_NAME)
    check_text(state.message, f"{field}.message", limits.STATE_MESSAGE)
    if state.HasField("scheduled_time"):
        check_time(state.scheduled_time, f"{field}.scheduled_time")
    if state.HasField("failure"):
        check_failure(state.failure, f"{field}.failure")
    if state.HasField("result"):
        check_payload(state.result, f"{field}.result", limits.PAYLOAD)


def check_hello(hello: Hello, field: str) -> None:
    """Who reports."""
    check_id(hello.session_id, f"{field}.session_id")
    for name in ("client_name", "client_version", "client_language"):
        check_text(getattr(hello, name), f"{field}.{name}", limits.SHORT_NAME)
    check_text(hello.hostname, f"{field}.hostname", limits.NAME)
    if len(hello.capabilities) > limits.CAPABILITIES:
        raise TooLargeError(
            f"{field}.capabilities: more than {limits.CAPABILITIES}", field=f"{field}.capabilities"
        )
    if hello.HasField("lease"):
        check_duration(hello.lease, f"{field}.lease")
    if hello.secret and not limits.SECRET_MIN <= len(hello.secret) <= limits.SECRET:
        raise invalid(
            f"{field}.secret",
            f"has {len(hello.secret)} bytes; it may have {limits.SECRET_MIN} to {limits.SECRET}",
        )


def check_artifact(artifact: Artifact, field: str, *, is_reported: bool) -> None:
    """An artifact to make; one that is reported says when it was made.

    Args:
        artifact: What to check.
        field: What its fields are called by: "artifact.", or nothing.
        is_reported: Whether it comes in a report.
    """
    check_id(artifact.id, f"{field}id")
    check_key(artifact.key, f"{field}key")
    check_required_text(artifact.type, f"{field}type", limits.SHORT_NAME)
    check_text(artifact.description, f"{field}description", limits.DESCRIPTION)
    check_optional_id(artifact.run_id, f"{field}run_id")
    if artifact.HasField("data"):
        check_payload(artifact.data, f"{field}data", limits.PAYLOAD)
    if is_reported or artifact.HasField("create_time"):
        check_required_time(artifact, "create_time", f"{field}create_time")


def check_artifact_change(change: ArtifactChange, field: str, *, is_reported: bool) -> None:
    """A change of an artifact; the arguments are those of `check_artifact`."""
    check_id(change.id, f"{field}id")
    check_text(change.description, f"{field}description", limits.DESCRIPTION)
    if change.HasField("data"):
        check_payload(change.data, f"{field}data", limits.PAYLOAD)
    if is_reported or change.HasField("change_time"):
        check_required_time(change, "change_time", f"{field}change_time")


def check_key(key: str, field: str) -> None:
    """An artifact's key, or the beginning of one, or nothing."""
    check_text(key, field, limits.NAME)
    if not _KEY(key):
        raise invalid(
            field, f"{_shown(key)} has other characters than lower-case letters, digits and dashes"
        )


def check_variable_name(name: str, field: str) -> None:
    """A variable's name, or the beginning of one, or nothing."""
    check_text(name, field, limits.VARIABLE_NAME)
    if not _VARIABLE_NAME(name):
        raise invalid(
            field,
            f"{_shown(name)} has other characters than lower-case letters, digits, dashes and"
            " underscores",
        )


def too_large(field: str, size: int, limit: int) -> TooLargeError:
    """The error for a field that is larger than its limit."""
    return TooLargeError(
        f"{field}: {size} bytes are more than the limit of {limit}", field=field, limit=str(limit)
    )


def _check_flow_run(run: FlowRun, field: str) -> None:
    check_id(run.id, f"{field}.id")
    check_required_text(run.flow_name, f"{field}.flow_name", limits.NAME)
    check_text(run.name, f"{field}.name", limits.NAME)
    check_optional_id(run.parent_run_id, f"{field}.parent_run_id")
    check_optional_id(run.root_run_id, f"{field}.root_run_id")
    check_tags(run.tags, f"{field}.tags")
    check_text(run.flow_version, f"{field}.flow_version", limits.NAME)
    if not run.HasField("state"):
        raise invalid(f"{field}.state", "is required")
    check_state(run.state, f"{field}.state")
    if int(run.state.type) not in INITIAL_TYPES:
        raise invalid(f"{field}.state.type", "a run begins as SCHEDULED or PENDING")
    if run.state.HasField("time"):
        check_time(run.state.time, f"{field}.state.time")
    if run.HasField("parameters"):
        check_payload(run.parameters, f"{field}.parameters", limits.PARAMETERS)
    if run.HasField("trace"):
        check_trace(run.trace, f"{field}.trace")


def _check_filter(wanted: RunFilter, field: str) -> None:
    for name in ("state_types", "state_names", "function_names", "tags"):
        _check_values(getattr(wanted, name), f"{field}.{name}")
    for name in ("parent_run_id", "root_run_id", "flow_run_id"):
        check_optional_id(getattr(wanted, name), f"{field}.{name}")
    if wanted.HasField("created_after"):
        check_time(wanted.created_after, f"{field}.created_after")
    if wanted.HasField("created_before"):
        check_time(wanted.created_before, f"{field}.created_before")
    check_text(wanted.run_name, f"{field}.run_name", limits.NAME)
    _check_id_part(wanted.id_prefix, f"{field}.id_prefix", "beginning")
    _check_id_part(wanted.id_suffix, f"{field}.id_suffix", "end")


def _check_id_part(part: str, field: str, which: str) -> None:
    if part and not _ID_PART(part):
        raise invalid(field, f"{_shown(part)} is not the {which} of an id, of 4 characters or more")


def _check_values(values: Sequence[str | int], field: str) -> None:
    """Texts to look for, or types of states."""
    if len(values) > limits.FILTER_VALUES:
        raise TooLargeError(f"{field}: more than {limits.FILTER_VALUES} values", field=field)
    for value in values:
        if isinstance(value, str):
            check_required_text(value, field, limits.NAME)
        elif value not in STATE_TYPES:
            raise invalid(field, f"{value} is not known")


def _check_page(page_size: int, limit: int) -> None:
    if not 0 <= page_size <= limit:
        raise invalid("page_size", f"{page_size} is not between 1 and {limit} (or 0)")


def _check_list(request: Any) -> None:
    _check_filter(request.filter, "filter")
    if request.order not in _ORDERS:
        raise invalid("order", f"{request.order} is not known")
    _check_page(request.page_size, limits.PAGE_RUNS)


def _check_history(request: Any) -> None:
    check_id(request.id, "id")
    _check_page(request.page_size, limits.PAGE_TRANSITIONS)


def _check_create(request: flow_run_service_pb2.CreateFlowRunRequest) -> None:
    if not request.HasField("flow_run"):
        raise invalid("flow_run", "is required")
    _check_flow_run(request.flow_run, "flow_run")


def _check_set_state(request: Any) -> None:
    check_id(request.id, "id")
    if not request.HasField("state"):
        raise invalid("state", "is required")
    check_state(request.state, "state")


def _check_get_flow(request: flow_service_pb2.GetFlowRequest) -> None:
    if request.WhichOneof("key") is None:
        raise invalid("key", "id or name is required")
    if request.HasField("id"):
        check_id(request.id, "id")
    else:
        check_required_text(request.name, "name", limits.NAME)


def _check_logs(request: Any) -> None:
    check_id(request.run_id, "run_id")
    if request.min_level < 0:
        raise invalid("min_level", "is negative")
    _check_values(request.loggers, "loggers")
    if request.HasField("logged_after"):
        check_time(request.logged_after, "logged_after")
    check_text(request.message_contains, "message_contains", limits.NAME)


def _check_list_logs(request: log_service_pb2.ListLogsRequest) -> None:
    _check_logs(request)
    if request.order not in _ORDERS:
        raise invalid("order", f"{request.order} is not known")
    _check_page(request.page_size, limits.PAGE_LOGS)


def _check_tail_logs(request: log_service_pb2.TailLogsRequest) -> None:
    _check_logs(request)
    if request.after_position < 0:
        raise invalid("after_position", "is negative")


def _check_report_batch(request: report_service_pb2.ReportBatchRequest) -> None:
    if not request.HasField("hello"):
        raise invalid("hello", "is required")
    check_hello(request.hello, "hello")


def _check_artifact_key(request: Any) -> None:
    """Which artifact: an id, or a key."""
    if request.WhichOneof("which") is None:
        raise invalid("which", "id or key is required")
    if request.HasField("id"):
        check_id(request.id, "id")
        return
    if not request.key:
        raise invalid("key", "is required")
    check_key(request.key, "key")


def _check_create_artifact(request: artifact_service_pb2.CreateArtifactRequest) -> None:
    if not request.HasField("artifact"):
        raise invalid("artifact", "is required")
    check_artifact(request.artifact, "artifact.", is_reported=False)


def _check_update_artifact(request: artifact_service_pb2.UpdateArtifactRequest) -> None:
    if not request.HasField("change"):
        raise invalid("change", "is required")
    check_artifact_change(request.change, "change.", is_reported=False)


def _check_list_artifacts(request: artifact_service_pb2.ListArtifactsRequest) -> None:
    wanted = request.filter
    check_key(wanted.key, "filter.key")
    _check_values(wanted.types, "filter.types")
    check_optional_id(wanted.run_id, "filter.run_id")
    if wanted.include_descendants and not wanted.run_id:
        raise invalid("filter.run_id", "is required where the runs that it called are wanted too")
    _check_id_part(wanted.id_prefix, "filter.id_prefix", "beginning")
    _check_id_part(wanted.id_suffix, "filter.id_suffix", "end")
    if request.order not in _ORDERS:
        raise invalid("order", f"{request.order} is not known")
    _check_page(request.page_size, limits.PAGE_RUNS)


def _check_latest_artifacts(request: artifact_service_pb2.ListLatestArtifactsRequest) -> None:
    check_key(request.key_prefix, "key_prefix")
    _check_page(request.page_size, limits.PAGE_RUNS)


def _check_set_variable(request: variable_service_pb2.SetVariableRequest) -> None:
    if not request.HasField("variable"):
        raise invalid("variable", "is required")
    _check_variable(request.variable)


def _check_variable(variable: Variable) -> None:
    _check_name(variable.name, "variable.name")
    if not variable.HasField("value"):
        raise invalid("variable.value", "is required")
    check_payload(variable.value, "variable.value", limits.VARIABLE_VALUE)
    if variable.value.encoding != "json":
        raise invalid("variable.value.encoding", "is to be 'json'")
    try:
        json.loads(variable.value.data.decode(), parse_constant=_no_json)
    except (ValueError, RecursionError):
        raise invalid("variable.value.data", "is not JSON, or nested too deeply") from None
    check_tags(variable.tags, "variable.tags")


def _no_json(name: str) -> None:
    raise ValueError(name)


def _check_name(name: str, field: str) -> None:
    if not name:
        raise invalid(field, "is required")
    check_variable_name(name, field)


def _check_list_variables(request: variable_service_pb2.ListVariablesRequest) -> None:
    check_variable_name(request.name_prefix, "name_prefix")
    check_tags(request.tags, "tags")
    _check_page(request.page_size, limits.PAGE_RUNS)


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:80] + "…")


_CHECKERS: dict[type[Any], Callable[[Any], None]] = {
    flow_run_service_pb2.CreateFlowRunRequest: _check_create,
    flow_run_service_pb2.GetFlowRunRequest: lambda request: check_id(request.id, "id"),
    flow_run_service_pb2.ListFlowRunsRequest: _check_list,
    flow_run_service_pb2.CountFlowRunsRequest: lambda r: _check_filter(r.filter, "filter"),
    flow_run_service_pb2.DeleteFlowRunRequest: lambda request: check_id(request.id, "id"),
    flow_run_service_pb2.SetFlowRunStateRequest: _check_set_state,
    flow_run_service_pb2.ListFlowRunTransitionsRequest: _check_history,
    task_run_service_pb2.GetTaskRunRequest: lambda request: check_id(request.id, "id"),
    task_run_service_pb2.ListTaskRunsRequest: _check_list,
    task_run_service_pb2.CountTaskRunsRequest: lambda r: _check_filter(r.filter, "filter"),
    task_run_service_pb2.SetTaskRunStateRequest: _check_set_state,
    task_run_service_pb2.ListTaskRunTransitionsRequest: _check_history,
    flow_service_pb2.GetFlowRequest: _check_get_flow,
    flow_service_pb2.ListFlowsRequest: lambda r: _check_page(r.page_size, limits.PAGE_RUNS),
    log_service_pb2.ListLogsRequest: _check_list_logs,
    log_service_pb2.TailLogsRequest: _check_tail_logs,
    watch_service_pb2.WatchRequest: lambda r: check_optional_id(r.run_id, "run_id"),
    report_service_pb2.ReportBatchRequest: _check_report_batch,
    system_service_pb2.GetInfoRequest: lambda _: None,
    artifact_service_pb2.CreateArtifactRequest: _check_create_artifact,
    artifact_service_pb2.UpdateArtifactRequest: _check_update_artifact,
    artifact_service_pb2.GetArtifactRequest: _check_artifact_key,
    artifact_service_pb2.ListArtifactsRequest: _check_list_artifacts,
    artifact_service_pb2.ListLatestArtifactsRequest: _check_latest_artifacts,
    artifact_service_pb2.DeleteArtifactRequest: _check_artifact_key,
    variable_service_pb2.SetVariableRequest: _check_set_variable,
    variable_service_pb2.GetVariableRequest: lambda r: _check_name(r.name, "name"),
    variable_service_pb2.ListVariablesRequest: _check_list_variables,
    variable_service_pb2.DeleteVariableRequest: lambda r: _check_name(r.name, "name"),
}
"""A checker for the request of each unary request there is."""
