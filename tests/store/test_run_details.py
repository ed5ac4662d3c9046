"""Each field of a run's creation comes back, from the wire to both databases and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from tests.store.builders import (
    START_US,
    a_run,
    add_runs,
    delete_tree,
    do,
    enter,
    new_id,
)

from flowspan.v1 import flow_run_pb2, report_pb2
from flowspan_service.api.flow_runs import flow_run_message, listed_flow_run_message, new_flow_run
from flowspan_service.api.reporting.events import read_batch
from flowspan_service.api.task_runs import listed_task_run_message, task_run_message
from flowspan_service.app.labels import SetLabels
from flowspan_service.app.ports.runs import RunFilter, RunQuery
from flowspan_service.domain.labels import LabelChange
from flowspan_service.domain.runs import Definition, NewRun, RunDetails, RunKind
from flowspan_service.domain.states import Cause, StateType

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.store import SqlStore

TIME = {"seconds": START_US // 1_000_000}
LABELS = {"team": "data", "a/b_c.d-1": "größer 🙂"}
PARENT, ROOT, FLOW_RUN, UPSTREAM = (new_id() for _ in range(4))


def creation(kind: RunKind) -> report_pb2.RunCreated:
    """Return a creation with a value in every field that there is."""
    created = report_pb2.RunCreated(
        run_id=new_id(),
        kind=int(kind),  # type: ignore[arg-type] # an int, as enums of protobuf are
        function_name="load",
        run_name="load-3",
        parent_run_id=PARENT,
        root_run_id=ROOT,
        flow_run_id=FLOW_RUN,
        state={"type": "STATE_TYPE_PENDING", "name": "Waiting", "message": "m", "time": TIME},
        tags=["b", "a"],
        parameters={"encoding": "json", "data": b'{"row": 3}'},
        trace={
            "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
            "tracestate": "x=y",
            "parent_span_id": "c" * 16,
            "exported_by_service": True,
        },
        version="v7",
        description="Loads a row, größe.",
        max_attempts=3,
        inputs=[{"run_id": UPSTREAM, "parameter": "row"}, {"run_id": PARENT, "parameter": "größe"}],
        code={"file_path": "/app/etl.py", "line": 12, "function": "app.etl.load"},
        labels=LABELS,
    )
    missing = {field.name for field in created.DESCRIPTOR.fields} - set_fields(created)
    assert not missing, "this test must set each field of RunCreated"
    return created


def set_fields(message: Any) -> set[str]:
    return {field.name for field, _ in message.ListFields()}


MESSAGES: dict[RunKind, Callable[[Run], Any]] = {
    RunKind.FLOW: flow_run_message,
    RunKind.TASK: task_run_message,
}
OTHER_NAMES = {
    RunKind.FLOW: {"run_id": "id", "function_name": "flow_name", "version": "flow_version"},
    RunKind.TASK: {"run_id": "id", "function_name": "task_name", "version": "task_version"},
}
SAME_NAME_ELSEWHERE = {"run_name": "name"}
ELSEWHERE = {
    RunKind.FLOW: {"kind", "labels", "flow_run_id"},
    RunKind.TASK: {"kind", "labels"},
}
"""Fields of a creation that are not in the message of a run. Only task runs have a flow_run_id."""


def new_run(created: report_pb2.RunCreated) -> NewRun:
    batch = report_pb2.Batch(first_sequence=1, events=[report_pb2.Event(run_created=created)])
    again = report_pb2.Batch.FromString(batch.SerializeToString())
    ((_, new),), _ids = read_batch(again, received_us=START_US)
    assert isinstance(new, NewRun)
    return new


def store_whole_run(store: SqlStore, new: NewRun) -> None:
    """Store a run from its creation to its end."""

    def add(uow: UnitOfWork) -> None:
        run = new.make(cause=Cause.REPORTED, session_id=new_id())
        uow.runs.add(run)
        run.started_us = START_US + 1
        uow.runs.add_transition(enter(run, StateType.RUNNING, time_us=START_US + 1))
        run.run_duration_us = 5
        uow.runs.add_transition(enter(run, StateType.COMPLETED, time_us=START_US + 6))

    do(store, add)


@pytest.mark.parametrize("kind", RunKind)
def test_every_field_of_a_creation_comes_back(
    store_url: str, open_url: Callable[..., SqlStore], kind: RunKind
) -> None:
    created = creation(kind)
    first = open_url(store_url)
    store_whole_run(first, new_run(created))
    first.close()

    store = open_url(store_url)
    run = store.runs.get(kind, created.run_id)
    assert run is not None
    message = MESSAGES[kind](run)
    for field in created.DESCRIPTOR.fields:
        if field.name in ELSEWHERE[kind] or field.name == "state":
            continue
        name = (OTHER_NAMES[kind] | SAME_NAME_ELSEWHERE).get(field.name, field.name)
        assert getattr(message, name) == getattr(created, field.name), field.name
    assert store.labels.get(created.run_id) == dict(sorted(LABELS.items()))
    assert new_run(created).agrees_with(run)
    # Nothing of a run is missing in its message, either.
    assert {field.name for field in message.DESCRIPTOR.fields} == set_fields(message)


@pytest.mark.parametrize("kind", RunKind)
def test_every_way_to_read_a_run_gives_the_same(store: SqlStore, kind: RunKind) -> None:
    created = creation(kind)
    store_whole_run(store, new_run(created))
    run = store.runs.get(kind, created.run_id)
    assert run is not None
    assert run.details is not None

    def of_writer(uow: UnitOfWork) -> Run | None:
        return uow.runs.get(created.run_id)

    wanted = RunQuery(kind, RunFilter(parent_run_id=PARENT))
    ways = {
        "a page": store.runs.list(wanted).items,
        "loaded": store.runs.load([created.run_id]),
        "found": store.runs.find([created.run_id]).items,
        "a tree": store.runs.tree(created.run_id, after_id=None, limit=10).items,
        "changes": [
            run for _, run in store.transitions.changes(after=0, run_id=None, limit=1).pairs
        ],
        "the writer": [do(store, of_writer, created.run_id)],
    }
    found = {name: [each.details for each in runs] for name, runs in ways.items()}
    assert found == {name: [run.details] for name in found}
    (spans,) = store.runs.needing_spans(after=0, since_us=0, limit=10).items
    assert spans.details == run.details


@pytest.mark.parametrize("kind", RunKind)
def test_lists_have_the_short_form(store: SqlStore, kind: RunKind) -> None:
    created = creation(kind)
    store_whole_run(store, new_run(created))
    run = store.runs.get(kind, created.run_id)
    assert run is not None
    whole = MESSAGES[kind](run)
    listed = (listed_flow_run_message if kind == RunKind.FLOW else listed_task_run_message)(run)
    whole.ClearField("description")
    assert listed == whole


def test_every_field_of_a_requested_run_comes_back(store: SqlStore) -> None:
    created = creation(RunKind.FLOW)
    asked = flow_run_pb2.FlowRun(
        id=created.run_id,
        flow_name="etl",
        name="etl-1",
        parent_run_id=PARENT,
        root_run_id=ROOT,
        state=created.state,
        tags=["b"],
        parameters=created.parameters,
        trace=created.trace,
        flow_version="v7",
        description=created.description,
        max_attempts=3,
        inputs=created.inputs,
        code=created.code,
    )
    service_sets = {
        *("flow_id", "attempt", "create_time", "start_time", "end_time", "run_duration"),
        *("session_id", "transition_count"),
    }
    fields = {field.name for field in asked.DESCRIPTOR.fields} - service_sets
    assert fields == set_fields(asked), "this test must set each field that a creator may set"
    new = new_flow_run(asked, labels=LABELS, now_us=START_US, new_id=new_id)
    do(store, lambda uow: uow.runs.add(new.make(cause=Cause.REQUESTED, session_id=None)))
    run = store.runs.get(RunKind.FLOW, asked.id)
    assert run is not None
    answer = flow_run_message(run)
    for name in sorted(fields):
        assert getattr(answer, name) == getattr(asked, name), name
    assert store.labels.get(asked.id) == dict(sorted(LABELS.items()))


def test_a_preview_that_is_too_large_is_not_stored() -> None:
    for kind, is_kept in ((RunKind.FLOW, True), (RunKind.TASK, False)):
        created = creation(kind)
        created.parameters.data = b'"' + b"x" * (64 << 10) + b'"'
        assert (new_run(created).parameters is not None) is is_kept
        created.parameters.data = b'"' + b"x" * ((64 << 10) - 2) + b'"'
        assert new_run(created).parameters is not None


def with_definition(number: int, **values: Any) -> Run:
    definition = Definition(b"%016d" % number, b"data %d" % number)
    return a_run(details=RunDetails(definition, None), **values)


def definition_count(store: SqlStore) -> int:
    def count(uow: Any) -> int:
        statement = text("SELECT count(*) FROM definition")
        return int(uow._tx.connection.execute(statement).scalar_one())

    return int(do(store, count))


def test_a_definition_is_stored_once(store_url: str, open_url: Callable[..., SqlStore]) -> None:
    one, other = open_url(store_url), open_url(store_url)
    for store in (one, other, one):
        add_runs(store, [with_definition(number % 3) for number in range(30)])
    assert definition_count(one) == 3
    runs = other.runs.list(RunQuery(RunKind.FLOW)).items
    assert len(runs) == 90
    assert len({id(run.details.definition) for run in runs if run.details}) == 3


def test_many_runs_with_and_without_details(store: SqlStore) -> None:
    """More than fit in one statement."""
    runs = [
        with_definition(number % 7) if number % 2 else a_run(details=None)
        for number in range(2_100)
    ]
    runs[5].details = RunDetails(None, b"\xba\x01\x00")
    add_runs(store, runs)
    found = {run.id: run.details for run in store.runs.load([run.id for run in runs])}
    assert found == {run.id: run.details for run in runs}


def test_labels_of_a_creation_are_labels_at_once(store: SqlStore) -> None:
    """Also for what comes later in the same transaction."""
    run = a_run(details=RunDetails(labels={"b": "1", "a": "2"}))

    def add(uow: UnitOfWork) -> tuple[dict[str, str], dict[str, str]]:
        uow.runs.add(run)
        before = uow.labels.get(run.id)
        change = LabelChange({"c": "3", "b": "9"}, frozenset({"a"}))
        return before, SetLabels(run.id, change, max_labels=64)(uow)

    before, after = do(store, add)
    assert before == {"a": "2", "b": "1"}
    assert after == {"b": "9", "c": "3"} == store.labels.get(run.id)


def test_labels_of_a_creation_go_with_the_run(store: SqlStore) -> None:
    run = a_run(details=RunDetails(labels={"a": "1"}))
    add_runs(store, [run])
    do(store, lambda uow: delete_tree(uow, run.id), run.id)
    assert store.labels.get(run.id) is None

    short = a_run(details=RunDetails(labels={"a": "1"}))

    def add_and_delete(uow: UnitOfWork) -> None:
        uow.runs.add(short)
        delete_tree(uow, short.id)

    do(store, add_and_delete)
    assert store.labels.get(short.id) is None


def test_the_labels_of_a_failed_transaction_are_not_stored(store: SqlStore) -> None:
    run = a_run(details=RunDetails(Definition(b"k" * 16, b"d"), labels={"a": "1"}))

    def fail(uow: UnitOfWork) -> None:
        uow.runs.add(run)
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        do(store, fail)
    assert store.labels.get(run.id) is None
    assert definition_count(store) == 0
    add_runs(store, [run])
    assert store.labels.get(run.id) == {"a": "1"}
