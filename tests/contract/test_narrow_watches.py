"""WatchService: scopes of the snapshot, filters, and keep-alives."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.harness import refused
from tests.support.report_client import ReportStream, created, entered, new_id, whole_run

from flowspan.v1 import watch_service_pb2 as pb
from flowspan.v1.run_filter_pb2 import RunFilter
from flowspan_service.api.calls import keep_alives
from flowspan_service.api.watch import WATCHED_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.harness import Harness, Stubs

INVALID = grpc.StatusCode.INVALID_ARGUMENT
ACTIVE = pb.SNAPSHOT_SCOPE_ACTIVE


def snapshot(call: Iterator[pb.WatchResponse]) -> dict[str, Any]:
    """Read the snapshot of a watch, and return its runs by id."""
    runs: dict[str, Any] = {}
    for response in call:
        item = response.WhichOneof("item")
        if item == "snapshot_end":
            assert response.snapshot_end.run_count == len(runs)
            return runs
        run = getattr(response, str(item))
        assert run.id not in runs
        runs[run.id] = run
    raise AssertionError("the watch ended without a marker")


def shown(stubs: Stubs, **fields: Any) -> set[str]:
    """Return the ids of the runs in a snapshot."""
    call = stubs.watch.Watch(pb.WatchRequest(**fields))
    runs = snapshot(call)
    call.cancel()
    return set(runs)


class Forest:
    """Runs of all kinds: a tree with a subflow, whose root is active, and two ended trees."""

    def __init__(self, harness: Harness) -> None:
        self.root, self.task, self.subflow, self.deep = (new_id() for _ in range(4))
        self.ended, self.failed, self.planned = (new_id() for _ in range(3))
        here: dict[str, Any] = {"parent_run_id": self.root, "root_run_id": self.root}
        below: dict[str, Any] = {"parent_run_id": self.subflow, "root_run_id": self.root}
        self.stream = ReportStream(harness.channel)
        last = self.stream.report(
            created(self.root, function_name="etl", tags=["a", "b"], run_name="brave-otter"),
            entered(self.root, "RUNNING"),
            *whole_run(self.task, kind="TASK", flow_run_id=self.root, **here),
            *whole_run(self.subflow, function_name="load", tags=["a"], **here),
            created(self.deep, kind="TASK", function_name="load", **below),
            *whole_run(self.ended, function_name="etl"),
            created(self.failed),
            entered(self.failed, "RUNNING"),
            entered(self.failed, "FAILED"),
            created(self.planned, function_name="load"),
        )
        self.stream.wait_for_ack(last)

    @property
    def all(self) -> set[str]:
        return {value for value in vars(self).values() if isinstance(value, str)}

    @property
    def active(self) -> set[str]:
        return {self.root, self.deep, self.planned}


@pytest.fixture
def forest(harness: Harness) -> Iterator[Forest]:
    forest = Forest(harness)
    yield forest
    forest.stream.goodbye()


def test_the_scope_chooses_the_runs_of_the_snapshot(stubs: Stubs, forest: Forest) -> None:
    assert shown(stubs) == shown(stubs, snapshot=pb.SNAPSHOT_SCOPE_ALL) == forest.all
    assert shown(stubs, snapshot=ACTIVE) == forest.active
    assert shown(stubs, snapshot=ACTIVE, flow_runs_only=True) == {forest.root, forest.planned}
    assert shown(stubs, run_id=forest.root, snapshot=ACTIVE) == {forest.root, forest.deep}
    assert shown(stubs, run_id=forest.subflow, snapshot=ACTIVE) == {forest.deep}
    assert shown(stubs, snapshot=pb.SNAPSHOT_SCOPE_NONE) == set()
    assert shown(stubs, changes_only=True) == set()
    assert shown(stubs, changes_only=True, snapshot=pb.SNAPSHOT_SCOPE_NONE) == set()


@pytest.mark.parametrize("limit", [1, 2, 500])
def test_pages_of_active_runs_are_whole(
    stubs: Stubs, forest: Forest, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowspan_service.app.watching.SNAPSHOT_PAGE", limit)
    assert shown(stubs, snapshot=ACTIVE) == forest.active
    assert shown(stubs, run_id=forest.root, snapshot=ACTIVE) == {forest.root, forest.deep}
    assert shown(stubs, run_id=forest.subflow, snapshot=ACTIVE) == {forest.deep}


def test_a_snapshot_of_active_runs_is_exact_while_runs_change(
    harness: Harness, stubs: Stubs, forest: Forest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs end and are retried between the position of the snapshot and the read of its pages."""
    real_position = harness.store.position
    new = new_id()

    def position_and_then_something_happens() -> int:
        position = real_position()
        monkeypatch.setattr(harness.store, "position", real_position, raising=False)
        forest.stream.wait_for_ack(
            forest.stream.report(
                entered(forest.deep, "RUNNING"),
                entered(forest.deep, "COMPLETED"),
                entered(forest.failed, "RUNNING", attempt=2),
                *whole_run(new),
            )
        )
        return position

    monkeypatch.setattr(
        harness.store, "position", position_and_then_something_happens, raising=False
    )
    call = stubs.watch.Watch(pb.WatchRequest(snapshot=ACTIVE))
    runs = snapshot(call)
    assert set(runs) == forest.active
    assert (runs[forest.deep].state.name, runs[forest.deep].transition_count) == ("Pending", 1)
    changes = [next(call).change.transition for _ in range(6)]
    call.cancel()
    assert [change.run_id for change in changes] == [
        *[forest.deep] * 2, forest.failed, *[new] * 3
    ]  # fmt: skip


def filters(forest: Forest) -> list[tuple[RunFilter, set[str]]]:
    """Return filters with the runs that they select."""
    load = {forest.subflow, forest.deep, forest.planned}
    others = {forest.task, forest.failed}
    return [
        (RunFilter(function_names=["etl"]), {forest.root, forest.ended}),
        (RunFilter(function_names=["load", "etl"]), forest.all - others),
        (RunFilter(tags=["a"]), {forest.root, forest.subflow}),
        (RunFilter(tags=["b", "a"]), {forest.root}),
        (RunFilter(tags=["a"], function_names=["load"]), {forest.subflow}),
        (RunFilter(parent_run_id=forest.root), {forest.task, forest.subflow}),
        (
            RunFilter(root_run_id=forest.root),
            {forest.root, forest.task, forest.subflow, forest.deep},
        ),
        (RunFilter(flow_run_id=forest.root), {forest.task}),
        (
            RunFilter(top_level_only=True),
            {forest.root, forest.ended, forest.failed, forest.planned},
        ),
        (RunFilter(run_name="brave-otter"), {forest.root}),
        (RunFilter(created_before=Timestamp(seconds=1)), set()),
        (RunFilter(created_after=Timestamp(seconds=1), function_names=["load"]), load),
    ]


def test_a_filter_selects_the_runs_of_the_snapshot(stubs: Stubs, forest: Forest) -> None:
    for wanted, selected in filters(forest):
        assert shown(stubs, filter=wanted) == selected, wanted
        active = forest.active & selected
        assert shown(stubs, filter=wanted, snapshot=ACTIVE) == active, wanted
        tree = {forest.root, forest.task, forest.subflow, forest.deep}
        assert shown(stubs, filter=wanted, run_id=forest.root) == selected & tree, wanted
        subtree = {forest.subflow, forest.deep}
        assert shown(stubs, filter=wanted, run_id=forest.subflow) == selected & subtree, wanted


def test_a_filter_selects_the_changes(stubs: Stubs, forest: Forest) -> None:
    cases = filters(forest)
    calls = []
    for wanted, _ in cases:
        call = stubs.watch.Watch(pb.WatchRequest(filter=wanted, snapshot=pb.SNAPSHOT_SCOPE_NONE))
        snapshot(call)
        calls.append(call)
    forest.stream.report(
        entered(forest.root, "RUNNING", name="Working"),
        entered(forest.deep, "RUNNING"),
        entered(forest.planned, "RUNNING"),
    )
    forest.stream.wait_for_ack(forest.stream.report(*whole_run(new_id(), function_name="other")))
    moved = [forest.root, forest.deep, forest.planned]
    for (wanted, selected), call in zip(cases, calls, strict=True):
        expected = [run_id for run_id in moved if run_id in selected]
        found = [next(call).change.transition.run_id for _ in expected]
        call.cancel()
        assert found == expected, wanted


def test_the_first_change_of_a_filtered_run_has_the_run(stubs: Stubs, forest: Forest) -> None:
    request = pb.WatchRequest(filter=RunFilter(function_names=["wanted"]), changes_only=True)
    call = stubs.watch.Watch(request)
    snapshot(call)
    run_id = new_id()
    forest.stream.report(*whole_run(new_id()), *whole_run(run_id, function_name="wanted"))
    changes = [next(call).change for _ in range(3)]
    call.cancel()
    assert [change.transition.run_id for change in changes] == [run_id] * 3
    assert changes[0].flow_run.flow_name == "wanted"


def test_fields_about_what_changes_are_refused(stubs: Stubs) -> None:
    values = {
        "state_types": [3],
        "state_names": ["Running"],
        "id_prefix": "0190",
        "id_suffix": "0190",
    }
    known = {field.name for field in RunFilter.DESCRIPTOR.fields}
    assert known == {*values, *WATCHED_FIELDS}
    for name, value in values.items():
        request = pb.WatchRequest(filter=RunFilter(**{name: value}))
        metadata = refused(lambda r=request: list(stubs.watch.Watch(r)), INVALID, "INVALID_FIELD")
        assert metadata["field"] == f"filter.{name}"


@pytest.mark.parametrize(
    "fields",
    [
        {"snapshot": 9},
        {"snapshot": ACTIVE, "changes_only": True},
        {"snapshot": pb.SNAPSHOT_SCOPE_ALL, "changes_only": True},
        {"filter": RunFilter(function_names=[""])},
        {"filter": RunFilter(parent_run_id="x")},
    ],
    ids=str,
)
def test_bad_narrow_watches_are_refused(stubs: Stubs, fields: dict[str, Any]) -> None:
    request = pb.WatchRequest(**fields)
    refused(lambda: list(stubs.watch.Watch(request)), INVALID, "INVALID_FIELD")


def token_of(stubs: Stubs, **fields: Any) -> str:
    """Return the token of the marker of a watch."""
    call = stubs.watch.Watch(pb.WatchRequest(snapshot=pb.SNAPSHOT_SCOPE_NONE, **fields))
    response = next(call)
    call.cancel()
    assert response.HasField("snapshot_end")
    return response.resume_token


def test_a_token_belongs_to_its_filter(stubs: Stubs, forest: Forest) -> None:
    names = RunFilter(function_names=["a", "b"])
    token = token_of(stubs, filter=names)
    for other in (
        None,
        RunFilter(),
        RunFilter(function_names=["a"]),
        RunFilter(function_names=["a", "b"], created_before=Timestamp()),
    ):
        request = pb.WatchRequest(resume_token=token, filter=other)
        refused(lambda r=request: list(stubs.watch.Watch(r)), INVALID, "BAD_TOKEN")
    unfiltered = pb.WatchRequest(resume_token=token_of(stubs), filter=names)
    refused(lambda: list(stubs.watch.Watch(unfiltered)), INVALID, "BAD_TOKEN")
    # The same runs, said in another way.
    run_id = new_id()
    for same in (names, RunFilter(function_names=["b", "a", "b"])):
        call = stubs.watch.Watch(pb.WatchRequest(resume_token=token, filter=same))
        forest.stream.report(created(run_id, function_name="b"))
        assert next(call).change.flow_run.id == run_id
        call.cancel()
    # An empty filter is none.
    call = stubs.watch.Watch(pb.WatchRequest(resume_token=token_of(stubs, filter=RunFilter())))
    forest.stream.report(entered(run_id, "RUNNING"))
    assert next(call).change.transition.run_id == run_id
    call.cancel()


@pytest.fixture
def quick_keep_alives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_alives, "INTERVAL_S", 0.05)


@pytest.mark.usefixtures("quick_keep_alives")
def test_a_silent_watch_sends_keep_alives_with_tokens(stubs: Stubs, forest: Forest) -> None:
    call = stubs.watch.Watch(pb.WatchRequest(run_id=forest.root))
    snapshot(call)
    alive = [next(call) for _ in range(3)]
    call.cancel()
    assert [each.WhichOneof("item") for each in alive] == ["keep_alive"] * 3
    forest.stream.wait_for_ack(forest.stream.report(entered(forest.root, "COMPLETED")))
    request = pb.WatchRequest(run_id=forest.root, resume_token=alive[-1].resume_token)
    rest = [each for each in stubs.watch.Watch(request) if each.HasField("change")]
    assert [each.change.transition.state.name for each in rest] == ["Completed"]


@pytest.mark.usefixtures("quick_keep_alives")
def test_keep_alives_pass_what_a_filter_left_out(stubs: Stubs, forest: Forest) -> None:
    """Other runs change all the time, so the watch is never without news."""
    wanted = RunFilter(function_names=["rare"])
    request = pb.WatchRequest(filter=wanted, changes_only=True)
    call = stubs.watch.Watch(request)
    snapshot(call)
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            forest.stream.wait_for_ack(forest.stream.report(*whole_run(new_id())))

    reporting = threading.Thread(target=go_on)
    reporting.start()
    try:
        tokens = [next(call).resume_token for _ in range(5)]
    finally:
        stop.set()
        reporting.join()
        call.cancel()
    assert len(set(tokens)) == 5
    token = tokens[-1]
    run_id = new_id()
    forest.stream.wait_for_ack(forest.stream.report(*whole_run(run_id, function_name="rare")))
    again = stubs.watch.Watch(pb.WatchRequest(filter=wanted, resume_token=token))
    found = [each.change for each in (next(again) for _ in range(3)) if each.HasField("change")]
    again.cancel()
    assert {change.transition.run_id for change in found} == {run_id}


def test_headers_come_at_once(stubs: Stubs, forest: Forest) -> None:
    """Nothing is sent yet: the token is of now, and no run changes."""
    request = pb.WatchRequest(resume_token=token_of(stubs))
    call = stubs.watch.Watch(request)
    begun: Callable[[], object] = call.initial_metadata
    waiting = threading.Thread(target=begun, daemon=True)
    waiting.start()
    waiting.join(30)
    assert not waiting.is_alive()
    call.cancel()
