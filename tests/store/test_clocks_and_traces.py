"""The clocks of sessions and runs, resources of clients, and derived trace contexts, as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.store.builders import (
    START_US,
    a_run,
    a_session,
    a_state,
    add_runs,
    do,
    enter,
    move,
    new_id,
)

from flowspan_service.app.ports.runs import RunQuery
from flowspan_service.domain.runs import Run, RunKind, TraceContext
from flowspan_service.domain.sessions import OtlpTarget, SessionStatus
from flowspan_service.domain.states import StateType

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.stores.store import SqlStore

BY_SERVICE = TraceContext("", exported_by_service=True)
HOUR_US = 3_600_000_000


@pytest.mark.parametrize("offset_us", [None, 0, -HOUR_US])
def test_a_session_keeps_its_clock_and_its_exporter(
    store_url: str, open_url: Callable[..., SqlStore], offset_us: int | None
) -> None:
    session = a_session(clock_offset_us=offset_us, spans_by_service=offset_us is not None)
    store = open_url(store_url)
    do(store, lambda uow: uow.sessions.save(session))
    store.close()
    assert do(open_url(store_url), lambda uow: uow.sessions.get(session.id)) == session


def test_resources_of_sessions(store_url: str, open_url: Callable[..., SqlStore]) -> None:
    store = open_url(store_url)
    with_one, without = a_session(client={"name": "flowspan-go"}), a_session(client={})

    def save(uow: UnitOfWork) -> None:
        uow.sessions.save(with_one)
        uow.sessions.save(without)
        uow.sessions.save_resource(with_one.id, {"service.name": "größe"})

    do(store, save)
    ids = [with_one.id, without.id, new_id()]
    found = {key: source[:3] for key, source in store.sessions.span_sources(ids).items()}
    assert found == {
        with_one.id: ("flowspan-go", {"service.name": "größe"}, None),
        without.id: ("", {}, None),
    }
    assert store.sessions.span_sources([]) == {}
    store.close()
    store = open_url(store_url)
    for resource in ({"service.name": "größe"}, {"service.name": "b"}, {"service.name": "b"}):
        do(store, lambda uow, new=resource: uow.sessions.save_resource(with_one.id, new))
        assert store.sessions.span_sources(ids)[with_one.id].resource == resource


def test_the_resource_goes_with_its_session(store: SqlStore) -> None:
    session = a_session(status=SessionStatus.CLOSED, lease_expires_us=START_US)

    def save(uow: UnitOfWork) -> None:
        uow.sessions.save(session)
        uow.sessions.save_resource(session.id, {"service.name": "a"})

    do(store, save)
    ended = START_US + 1
    do(store, lambda uow: uow.sessions.delete([session.id], ended_before_us=ended))
    assert store.sessions.span_sources([session.id]) == {}
    do(store, lambda uow: uow.sessions.save(session))
    assert store.sessions.span_sources([session.id])[session.id].resource == {}
    do(store, save)
    assert store.sessions.span_sources([session.id])[session.id].resource == {"service.name": "a"}


def test_receivers_of_sessions(store_url: str, open_url: Callable[..., SqlStore]) -> None:
    store = open_url(store_url)
    sessions = [a_session(client={}) for _ in range(3)]
    first, second, third = (session.id for session in sessions)
    targets = [OtlpTarget("grpc", f"http://{name}:4317", "") for name in "ab"]

    def save(uow: UnitOfWork) -> None:
        for session in sessions:
            uow.sessions.save(session)
        for session_id, target in zip((first, second), targets, strict=True):
            uow.sessions.save_target(session_id, target)

    def stored() -> list[OtlpTarget | None]:
        found = store.sessions.span_sources([first, second, third])
        return [found[each].target for each in (first, second, third)]

    do(store, save)
    assert stored() == [*targets, None]
    store.close()
    store = open_url(store_url)  # nothing of it is in memory
    do(store, lambda uow: uow.sessions.save_target(first, None))
    do(store, lambda uow: uow.sessions.save_target(second, targets[0]))
    do(store, lambda uow: uow.sessions.save_target(third, None))
    assert stored() == [None, targets[0], None]
    do(store, lambda uow: uow.sessions.save_target(second, targets[0]))
    do(store, lambda uow: uow.sessions.save_target(first, targets[1]))
    assert stored() == [targets[1], targets[0], None]


def test_the_receivers_go_with_their_session(store: SqlStore) -> None:
    session = a_session(status=SessionStatus.CLOSED, lease_expires_us=START_US)
    target = OtlpTarget("http/protobuf", "http://c/v1/traces", "http://c/v1/logs")

    def save(uow: UnitOfWork) -> None:
        uow.sessions.save(session)
        uow.sessions.save_target(session.id, target)

    do(store, save)
    do(store, lambda uow: uow.sessions.delete([session.id], ended_before_us=START_US + 1))
    do(store, lambda uow: uow.sessions.save(session))
    assert store.sessions.span_sources([session.id])[session.id].target is None
    do(store, save)
    assert store.sessions.span_sources([session.id])[session.id].target == target


@pytest.mark.parametrize("is_new", [True, False])
def test_a_run_that_is_handed_over(
    store_url: str, open_url: Callable[..., SqlStore], *, is_new: bool
) -> None:
    run, session_id = a_run(), new_id()
    store = open_url(store_url)

    def hand_over(uow: UnitOfWork) -> None:
        if is_new:
            uow.runs.add(run)
        found = uow.runs.get(run.id)
        assert found is not None
        found.session_id, found.clock_shift_us = session_id, HOUR_US
        found.trace = BY_SERVICE
        uow.runs.hand_over(found)
        uow.runs.add_transition(enter(found, StateType.RUNNING))

    if not is_new:
        add_runs(store, [run])
    do(store, hand_over, run.id)
    store.close()
    found = do(open_url(store_url), lambda uow: uow.runs.get(run.id))
    assert (found.session_id, found.clock_shift_us) == (session_id, HOUR_US)
    assert found.trace == BY_SERVICE
    assert found.state.type == StateType.RUNNING


def tree_of(store: SqlStore) -> list[Run]:
    """A flow with its own context, which calls a run without one, which calls two derived ones."""
    root = a_run(trace=TraceContext(f"00-{'a' * 32}-{'b' * 16}-01", "v=1"))
    middle = a_run(parent=root)
    child = a_run(parent=middle, trace=BY_SERVICE, kind=RunKind.FLOW)
    leaf = a_run(parent=child, trace=BY_SERVICE, kind=RunKind.TASK)
    add_runs(store, [root, middle, child, leaf])
    return [root, middle, child, leaf]


def test_every_read_derives_trace_contexts(store: SqlStore) -> None:
    root, middle, child, leaf = tree_of(store)
    child_span, leaf_span = (each.id.replace("-", "")[16:] for each in (child, leaf))
    expected = {
        root.id: root.trace,
        middle.id: None,
        child.id: TraceContext(f"00-{'a' * 32}-{child_span}-01", "v=1", "b" * 16, True),
        leaf.id: TraceContext(f"00-{'a' * 32}-{leaf_span}-01", "v=1", child_span, True),
    }

    def check(runs: list[Run | None]) -> None:
        assert runs
        for run in runs:
            assert run is not None
            assert run.trace == expected[run.id], run.id

    reads = store.runs
    check([reads.get(RunKind.FLOW, child.id), reads.get(RunKind.TASK, leaf.id)])
    check(reads.list(RunQuery(RunKind.FLOW)).items)
    check(reads.list(RunQuery(RunKind.TASK)).items)
    check(list(reads.load(list(expected))))
    check(reads.find(list(expected)).items)
    check(reads.tree(root.id, after_id=None, limit=9).items)
    check(reads.tree(child.id, after_id=None, limit=9).items)
    with_one = {run_id: trace for run_id, trace in expected.items() if trace is not None}
    assert reads.traces([*expected, new_id()]) == with_one
    assert reads.traces([]) == {}
    changes = store.transitions.changes(after=0, run_id=None, limit=9)
    check([run for _, run in changes.pairs])
    assert do(store, lambda uow: uow.runs.get(leaf.id)).trace == BY_SERVICE, "as stored"


def test_a_parent_that_arrives_later_counts(store: SqlStore) -> None:
    root = a_run(trace=TraceContext(f"00-{'a' * 32}-{'b' * 16}-01"))
    child = a_run(parent=root, trace=BY_SERVICE, kind=RunKind.FLOW)
    add_runs(store, [child])

    def trace_id() -> str:
        found = store.runs.get(RunKind.FLOW, child.id)
        assert found is not None
        assert found.trace is not None
        return found.trace.traceparent.split("-")[1]

    assert trace_id() == root.id.replace("-", "")
    add_runs(store, [root])
    assert trace_id() == "a" * 32


def test_a_run_with_a_derived_context_changes_as_others_do(store: SqlStore) -> None:
    run = a_run(trace=BY_SERVICE)
    add_runs(store, [run])
    move(store, run.id, StateType.RUNNING, StateType.COMPLETED)
    found = store.runs.get(RunKind.FLOW, run.id)
    assert found is not None
    assert found.trace is not None
    assert found.trace.exported_by_service
    assert found.state == a_state(StateType.COMPLETED)
