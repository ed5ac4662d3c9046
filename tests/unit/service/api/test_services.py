"""The table of scopes: complete, as the page says it, and no method without one."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf import descriptor_pb2

from flowspan.v1 import token_pb2
from flowspan_service.api.services import SCOPES
from flowspan_service.domain.tokens import ALL_SCOPES, Scope, granted, is_audited

ROOT = Path(__file__).resolve().parents[4]
STUBS = ROOT / "python_client" / "flowspan" / "v1"


def methods_of_the_protos() -> set[str]:
    found = descriptor_pb2.FileDescriptorSet.FromString((STUBS / "descriptors.binpb").read_bytes())
    return {
        f"{service.name}/{method.name}"
        for file in found.file
        if file.package == "flowspan.v1"
        for service in file.service
        for method in service.method
    }


def test_each_method_of_the_protos_has_a_scope() -> None:
    assert set(SCOPES) == methods_of_the_protos()


def test_the_page_lists_the_scopes_of_the_table() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    rows = dict(re.findall(r"^\| `(read|report|operate|admin)` \| (.*) \|$", page, re.MULTILINE))
    for scope in Scope:
        listed = rows[scope.name.lower()].partition(";")[0].split(", ")
        expected = [name.partition("/")[2] for name, each in SCOPES.items() if each is scope]
        assert sorted(listed) == sorted(expected), scope


def test_the_scopes_are_those_of_the_protos() -> None:
    named = {f"TOKEN_SCOPE_{scope.name}": int(scope) for scope in Scope}
    assert dict(token_pb2.TokenScope.items()) == {"TOKEN_SCOPE_UNSPECIFIED": 0, **named}


def test_scopes_include_others() -> None:
    assert granted((Scope.READ,)) == {Scope.READ}
    assert granted((Scope.REPORT,)) == {Scope.REPORT}
    assert granted((Scope.OPERATE,)) == {Scope.READ, Scope.REPORT, Scope.OPERATE}
    assert granted((Scope.ADMIN,)) == ALL_SCOPES
    assert granted((Scope.READ, Scope.REPORT)) == {Scope.READ, Scope.REPORT}


def test_calls_that_change_what_others_wrote_are_audited() -> None:
    audited = {name for name, scope in SCOPES.items() if is_audited(scope)}
    assert "TokenService/CreateToken" in audited
    assert "FlowRunService/DeleteFlowRun" in audited
    assert "ReportService/ReportBatch" not in audited
