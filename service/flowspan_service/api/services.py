"""The table of services and methods, from which every transport is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message_factory import GetMessageClass

from flowspan.v1 import (
    artifact_service_pb2,
    flow_run_service_pb2,
    flow_service_pb2,
    label_service_pb2,
    log_service_pb2,
    report_service_pb2,
    run_service_pb2,
    single_run_service_pb2,
    system_service_pb2,
    task_run_service_pb2,
    token_service_pb2,
    variable_service_pb2,
    watch_service_pb2,
)
from flowspan_service.api import (
    artifacts,
    flow_runs,
    flows,
    labels,
    limits,
    logs,
    reports,
    runs,
    single_runs,
    system,
    task_runs,
    tokens,
    variables,
    watch,
)
from flowspan_service.api.calls.method import Method
from flowspan_service.api.fields.checks import no_check
from flowspan_service.domain.tokens import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flowspan_service.api.backend import Backend
    from flowspan_service.api.fields.checks import Checks


class _Service(NamedTuple):
    """A service: its protos, its servicer, and the checks of its requests."""

    protos: Any
    servicer: Callable[[Backend], object]
    checks: Checks
    capability: str = ""
    """The capability that announces it; empty for a service of version 0.1."""


_SERVICES = {
    "ReportService": _Service(report_service_pb2, reports.ReportService, reports.CHECKS),
    "FlowRunService": _Service(flow_run_service_pb2, flow_runs.FlowRunService, flow_runs.CHECKS),
    "TaskRunService": _Service(task_run_service_pb2, task_runs.TaskRunService, task_runs.CHECKS),
    "RunService": _Service(run_service_pb2, runs.RunService, runs.CHECKS, "get_run.v1"),
    "SingleRunService": _Service(
        single_run_service_pb2,
        single_runs.SingleRunService,
        single_runs.CHECKS,
        "single_runs.v1",
    ),
    "FlowService": _Service(flow_service_pb2, flows.FlowService, flows.CHECKS),
    "LogService": _Service(log_service_pb2, logs.LogService, logs.CHECKS),
    "ArtifactService": _Service(
        artifact_service_pb2, artifacts.ArtifactService, artifacts.CHECKS, "artifacts.v1"
    ),
    "VariableService": _Service(
        variable_service_pb2, variables.VariableService, variables.CHECKS, "variables.v1"
    ),
    "LabelService": _Service(label_service_pb2, labels.LabelService, labels.CHECKS, "labels.v1"),
    "TokenService": _Service(token_service_pb2, tokens.TokenService, tokens.CHECKS, "tokens.v1"),
    "WatchService": _Service(watch_service_pb2, watch.WatchService, watch.CHECKS),
    "SystemService": _Service(system_service_pb2, system.SystemService, system.CHECKS),
}

_READ, _REPORT, _OPERATE, _ADMIN = Scope.READ, Scope.REPORT, Scope.OPERATE, Scope.ADMIN

SCOPES: Mapping[str, Scope] = {
    "ArtifactService/CreateArtifact": _REPORT,
    "ArtifactService/UpdateArtifact": _REPORT,
    "ArtifactService/GetArtifact": _READ,
    "ArtifactService/ListArtifacts": _READ,
    "ArtifactService/ListLatestArtifacts": _READ,
    "ArtifactService/DeleteArtifact": _OPERATE,
    "FlowRunService/CreateFlowRun": _REPORT,
    "FlowRunService/GetFlowRun": _READ,
    "FlowRunService/ListFlowRuns": _READ,
    "FlowRunService/CountFlowRuns": _READ,
    "FlowRunService/DeleteFlowRun": _OPERATE,
    "FlowRunService/SetFlowRunState": _OPERATE,
    "FlowRunService/CancelFlowRun": _OPERATE,
    "FlowRunService/ListFlowRunTransitions": _READ,
    "FlowService/GetFlow": _READ,
    "FlowService/ListFlows": _READ,
    "LabelService/SetLabels": _REPORT,
    "LabelService/GetLabels": _READ,
    "LabelService/ListLabels": _READ,
    "LogService/ListLogs": _READ,
    "LogService/TailLogs": _READ,
    "ReportService/Report": _REPORT,
    "ReportService/ReportBatch": _REPORT,
    "ReportService/WatchCommands": _REPORT,
    "RunService/GetRun": _READ,
    "SingleRunService/StartRun": _REPORT,
    "SingleRunService/TouchRun": _REPORT,
    "SingleRunService/FinishRun": _REPORT,
    "SystemService/GetInfo": _READ,
    "TaskRunService/GetTaskRun": _READ,
    "TaskRunService/ListTaskRuns": _READ,
    "TaskRunService/CountTaskRuns": _READ,
    "TaskRunService/SetTaskRunState": _OPERATE,
    "TaskRunService/CancelTaskRun": _OPERATE,
    "TaskRunService/ListTaskRunTransitions": _READ,
    "TokenService/CreateToken": _ADMIN,
    "TokenService/ListTokens": _ADMIN,
    "TokenService/RevokeToken": _ADMIN,
    "VariableService/SetVariable": _REPORT,
    "VariableService/GetVariable": _READ,
    "VariableService/ListVariables": _READ,
    "VariableService/DeleteVariable": _OPERATE,
    "WatchService/Watch": _READ,
}
"""The scope that each method requires of an access token.

A method that is missing here cannot be served: building the table of methods fails. A test compares
the table with the protos, and with the list in docs/security.md.
"""

_FEATURES = {
    "cancel.v1",
    "clocks.v1",
    "fencing.v1",
    "otlp_targets.v1",
    "payload_text.v1",
    "run_completed.v1",
    "run_context.v1",
    "run_details.v1",
    "service_logs.v1",
    "service_spans.v1",
    "session_secrets.v1",
    "verdicts.v1",
    "watch_commands.v1",
    "watch_filters.v1",
}
"""The capabilities that are not services of their own."""

CAPABILITIES = tuple(
    sorted({*_FEATURES, *(each.capability for each in _SERVICES.values() if each.capability)})
)
"""The capabilities of this service; docs/protocol.md explains each name."""

SERVICE_NAMES = tuple(f"flowspan.v1.{name}" for name in _SERVICES)


def services(backend: Backend) -> dict[str, list[Method]]:
    """Return the methods of each service, by the service's full name.

    Args:
        backend: The backend of the servicers.
    """
    return {
        f"flowspan.v1.{name}": list(_methods(name, service, backend))
        for name, service in _SERVICES.items()
    }


def _methods(name: str, service: _Service, backend: Backend) -> Iterator[Method]:
    servicer = service.servicer(backend)
    for method in service.protos.DESCRIPTOR.services_by_name[name].methods:
        request = GetMessageClass(method.input_type)
        yield Method(
            path=f"/flowspan.v1.{name}/{method.name}",
            name=method.name,
            request=request,
            # Frames are checked by their handler. Any other request must have its check.
            check=no_check if method.client_streaming else service.checks[request],
            handler=getattr(servicer, method.name),
            takes_frames=method.client_streaming,
            is_stream=method.server_streaming,
            max_request_bytes=limits.REQUESTS.get(method.name, limits.REQUEST),
            response=GetMessageClass(method.output_type),
            has_no_side_effects=(
                method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
            ),
            scope=SCOPES[f"{name}/{method.name}"],
        )
