"""The scope that each method requires of an access token.

A method that is missing here cannot be served: building the table of methods fails. A test compares
the table with the protos, and another one with the list in docs/security.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.tokens import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

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
"""The scopes, by service and method."""


def is_audited(scope: Scope) -> bool:
    """Return True if each call of a method with this scope is written to the audit log."""
    return scope in (_OPERATE, _ADMIN)
