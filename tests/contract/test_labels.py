"""LabelService."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.harness import refused
from tests.support.report_client import ReportStream, new_id, whole_run

from flowspan.v1 import flow_run_service_pb2, label_pb2
from flowspan.v1 import label_service_pb2 as service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.harness import Harness, Stubs

INVALID = grpc.StatusCode.INVALID_ARGUMENT
MISSING = grpc.StatusCode.NOT_FOUND


@pytest.fixture
def runs(harness: Harness) -> list[str]:
    """Report a flow run and two task runs; return their ids, oldest first."""
    ids = sorted(new_id() for _ in range(3))
    stream = ReportStream(harness.channel)
    for run_id, kind in zip(ids, ("FLOW", "TASK", "TASK"), strict=True):
        stream.report(*whole_run(run_id, kind=kind))
    stream.goodbye()
    return ids


def set_labels(
    stubs: Stubs, run_id: str, labels: Mapping[str, str], *, removed: Iterable[str] = ()
) -> dict[str, str]:
    request = service_pb2.SetLabelsRequest(run_id=run_id, labels=labels, removed_keys=removed)
    return dict(stubs.labels.SetLabels(request).labels)


def get(stubs: Stubs, run_id: str) -> dict[str, str]:
    return dict(stubs.labels.GetLabels(service_pb2.GetLabelsRequest(run_id=run_id)).labels)


def pages(stubs: Stubs, **fields: object) -> list[label_pb2.Label]:
    """Return the labels of all pages."""
    found: list[label_pb2.Label] = []
    token = ""
    while True:
        page = stubs.labels.ListLabels(
            service_pb2.ListLabelsRequest(page_size=1, page_token=token, **fields)  # type: ignore[arg-type] # from the caller
        )
        found += page.labels
        token = page.next_page_token
        if not token:
            return found


def test_set_get_and_remove(stubs: Stubs, runs: list[str]) -> None:
    for run_id in runs[:2]:  # a flow run and a task run, which have ended
        assert get(stubs, run_id) == {}
        both = {"team": "data", "a/b_c.d-1": "größer 🙂"}
        assert set_labels(stubs, run_id, both) == both
        assert set_labels(stubs, run_id, both) == both
        changed = {"team": "", "new": "1"}
        left = set_labels(stubs, run_id, changed, removed=["a/b_c.d-1", "absent"])
        assert left == changed == get(stubs, run_id)
    assert get(stubs, runs[2]) == {}


def test_list_is_newest_run_first(stubs: Stubs, runs: list[str]) -> None:
    for run_id, value in zip(runs, ("x", "", "x"), strict=True):
        set_labels(stubs, run_id, {"team": value, "other": "x"})
    expected = [
        label_pb2.Label(run_id=run_id, key="team", value=value)
        for run_id, value in zip(reversed(runs), ("x", "", "x"), strict=True)
    ]
    assert pages(stubs, key="team") == expected
    assert pages(stubs, key="team", value="x") == [expected[0], expected[2]]
    assert pages(stubs, key="team", value="") == [expected[1]]
    assert pages(stubs, key="absent") == []


def test_tokens_belong_to_their_query(stubs: Stubs, runs: list[str]) -> None:
    for run_id in runs:
        set_labels(stubs, run_id, {"a": "", "b": ""})
    first = stubs.labels.ListLabels(service_pb2.ListLabelsRequest(key="a", page_size=1))
    assert first.next_page_token
    for fields in ({"key": "b"}, {"key": "a", "value": ""}, {"key": "a", "value": "x"}):
        other = service_pb2.ListLabelsRequest(page_token=first.next_page_token, **fields)
        refused(lambda other=other: stubs.labels.ListLabels(other), INVALID, "BAD_TOKEN")


def test_labels_need_a_run_and_are_deleted_with_it(stubs: Stubs, runs: list[str]) -> None:
    run_id = runs[0]
    set_labels(stubs, run_id, {"a": "1"})
    stubs.flow_runs.DeleteFlowRun(flow_run_service_pb2.DeleteFlowRunRequest(id=run_id))
    assert pages(stubs, key="a") == []
    for call in (lambda: get(stubs, run_id), lambda: set_labels(stubs, run_id, {"a": "1"})):
        metadata = refused(call, MISSING, "NOT_FOUND")
        assert metadata["run_id"] == run_id


def test_a_run_has_at_most_64_labels(stubs: Stubs, runs: list[str]) -> None:
    most = {f"key-{number}": "v" * 256 for number in range(64)}
    assert set_labels(stubs, runs[0], most) == most
    metadata = refused(lambda: set_labels(stubs, runs[0], {"one-more": ""}), INVALID, "TOO_LARGE")
    assert (metadata["field"], metadata["limit"]) == ("labels", "64")
    assert get(stubs, runs[0]) == most
    assert "one-more" in set_labels(stubs, runs[0], {"one-more": ""}, removed=["key-0"])
    for many in (
        service_pb2.SetLabelsRequest(
            run_id=runs[1], labels={f"k{number}": "" for number in range(65)}
        ),
        service_pb2.SetLabelsRequest(run_id=runs[1], removed_keys=["k"] * 65),
    ):
        refused(lambda many=many: stubs.labels.SetLabels(many), INVALID, "TOO_LARGE")


BAD_KEYS = {
    "": "INVALID_FIELD",
    "A": "INVALID_FIELD",
    "a b": "INVALID_FIELD",
    "ä": "INVALID_FIELD",
    "a:b": "INVALID_FIELD",
    "a\n": "INVALID_FIELD",
    "a\0": "INVALID_FIELD",
    "a" * 65: "TOO_LARGE",
}


@pytest.mark.parametrize("key", BAD_KEYS, ids=range(len(BAD_KEYS)))
def test_promise_bad_input_of_label_keys(stubs: Stubs, runs: list[str], key: str) -> None:
    reason = BAD_KEYS[key]
    for field, call in {
        "labels": lambda: set_labels(stubs, runs[0], {"good": "1", key: "v"}),
        "removed_keys": lambda: set_labels(stubs, runs[0], {"good": "1"}, removed=[key]),
        "key": lambda: pages(stubs, key=key),
    }.items():
        assert refused(call, INVALID, reason)["field"] == field
    assert get(stubs, runs[0]) == {}


def test_promise_bad_input_of_labels(stubs: Stubs, runs: list[str]) -> None:
    for value, reason in {"v" * 257: "TOO_LARGE", "\0": "INVALID_FIELD"}.items():
        metadata = refused(
            lambda value=value: set_labels(stubs, runs[0], {"a": value}), INVALID, reason
        )
        assert metadata["field"] == "labels[a]"
        metadata = refused(lambda value=value: pages(stubs, key="a", value=value), INVALID, reason)
        assert metadata["field"] == "value"
    both = refused(
        lambda: set_labels(stubs, runs[0], {"a": "1"}, removed=["a"]), INVALID, "INVALID_FIELD"
    )
    assert both["field"] == "removed_keys"
    for run_id in ("", "latest"):
        for call in (
            lambda run_id=run_id: set_labels(stubs, run_id, {}),
            lambda run_id=run_id: get(stubs, run_id),
        ):
            assert refused(call, INVALID, "INVALID_FIELD")["field"] == "run_id"
    too_long = service_pb2.ListLabelsRequest(key="a", page_size=1001)
    refused(lambda: stubs.labels.ListLabels(too_long), INVALID, "INVALID_FIELD")
