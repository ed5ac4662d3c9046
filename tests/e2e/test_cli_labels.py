"""`flowspan run label`, and labels in `run show`, against a real service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.cli import flowspan
from tests.support.report_client import Reporter

from flowspan.api.client import SyncFlowspanClient
from flowspan.exceptions import ApiError

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess


@pytest.fixture
def run(service: ServiceProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    """Report a flow run with a task run; return the id of the flow run."""
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    reporter = Reporter(service.channel)
    flow_run = reporter.flow_run("etl", "brave-otter")
    reporter.state(flow_run, "RUNNING")
    reporter.completed(reporter.task_run("load", "load-0", parent=flow_run))
    reporter.state(flow_run, "COMPLETED")
    reporter.finish()
    return flow_run


def test_label_sets_removes_and_shows(run: str) -> None:
    title = f"etl brave-otter ({run})"
    assert flowspan("run", "label", "latest").out == f"{title}: no labels\n"
    shown = flowspan("run", "label", run, "team=data", "query=a=b", "note=").out
    assert shown == f"{title}: note=, query=a=b, team=data\n"
    assert flowspan("run", "label", run).out == shown
    shown = flowspan("run", "label", run, "n=1", "--remove", "note", "--remove", "query").out
    assert shown == f"{title}: n=1, team=data\n"
    (as_json,) = flowspan("run", "label", run, "--json").objects
    assert as_json == {"run_id": run, "labels": {"n": "1", "team": "data"}}
    task = flowspan("run", "label", "load-0", "rows=5").out
    assert task.endswith(": rows=5\n")


def test_show_has_the_labels_of_the_run(run: str) -> None:
    assert "labels" not in flowspan("run", "show", run).out
    (tree,) = flowspan("run", "show", run, "--json").objects
    assert tree["labels"] == {}
    flowspan("run", "label", run, "team=data", "b=2")
    flowspan("run", "label", "load-0", "rows=5")
    assert "  labels      b=2, team=data" in flowspan("run", "show", run).lines
    (tree,) = flowspan("run", "show", run, "--json").objects
    assert tree["labels"] == {"b": "2", "team": "data"}
    (child,) = tree["children"]
    assert "labels" not in child
    assert "  labels      rows=5" in flowspan("task", "show", child["id"]).lines


def test_many_labels_are_shortened(run: str) -> None:
    flowspan("run", "label", run, *(f"k{number}={'v' * 200}" for number in range(9)))
    (shown,) = [line for line in flowspan("run", "show", run).lines if "labels" in line]
    assert shown.endswith("v…")
    (shown,) = [line for line in flowspan("run", "show", run, "--full").lines if "labels" in line]
    assert shown.endswith(f"k8={'v' * 200}")


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (("team",), "'team' is not KEY=VALUE"),
        (("=x",), "'=x' is not KEY=VALUE"),
        (("a=1", "a=2"), "the key 'a' is given twice"),
    ],
)
def test_labels_that_are_no_pairs_are_usage_errors(
    run: str, labels: tuple[str, ...], why: str
) -> None:
    assert why in flowspan("run", "label", run, *labels, code=2).err
    assert flowspan("run", "label", run).out.endswith(": no labels\n")


def test_labels_that_the_service_refuses(run: str) -> None:
    assert "lower-case letters" in flowspan("run", "label", run, "Team=x", code=1).err
    assert "also set in labels" in flowspan("run", "label", run, "a=1", "--remove", "a", code=1).err
    assert "256" in flowspan("run", "label", run, f"a={'x' * 257}", code=1).err


def test_show_works_with_a_service_older_than_labels(
    run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ApiError("the service does not support this call", status=status)

    monkeypatch.setattr(SyncFlowspanClient, "get_labels", refuse)
    status = "UNIMPLEMENTED"
    (tree,) = flowspan("run", "show", run, "--json").objects
    assert tree["labels"] == {}
    status = "INTERNAL"
    flowspan("run", "show", run, code=1)
