"""docs/cli.md documents every field of `--json` and every command."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from flowspan import api
from flowspan.cli.main import app
from flowspan.reporter.spool.orphans import PushResult, SpoolInfo

PAGE = (Path(__file__).parents[4] / "docs" / "cli.md").read_text(encoding="utf-8")
WITHOUT_CODE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
NAMED = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", WITHOUT_CODE))))
RECORDS = (
    api.FlowRun,
    api.TaskRun,
    api.State,
    api.Failure,
    api.TraceContext,
    api.Transition,
    api.LogRecord,
    api.Verdict,
    api.Flow,
    api.ServiceInfo,
    api.Artifact,
    api.Variable,
    api.Label,
    SpoolInfo,
    PushResult,
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_is_documented(record):
    missing = {field.name for field in dataclasses.fields(record)} - NAMED
    assert not missing


def test_every_state_type_cause_and_verdict_is_documented():
    for enum in (api.StateType, api.TransitionCause, api.VerdictKind):
        for value in enum:
            assert value.name in PAGE or value.name == "UNKNOWN"


def test_every_command_is_documented():
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            assert f"`{group.name} {command.name}" in PAGE
    for command in app.registered_commands:
        assert f"`{command.name}`" in PAGE
