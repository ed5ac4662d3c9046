"""Artifacts in a session's batch, over a store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.sessions import OpenSession
from flowspan_service.domain.artifacts import ArtifactChange, NewArtifact
from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.states import State, StateType
from flowspan_service.domain.verdicts import VerdictKind

if TYPE_CHECKING:
    from flowspan_service.app.event_records import ReportedEvent
    from flowspan_service.app.report_outcomes import Applied


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(ManualClock())
    store.do(OpenSession("s", client={}, lease_us=30_000_000, connection_id="c"))
    return store


def new_run(run_id: str, kind: int = RunKind.FLOW, flow_run_id: str | None = None) -> ReportedEvent:
    state = State(StateType.PENDING, "Pending", "", 1)
    return run_id, NewRun(
        run_id, kind, "f", "", None, "root", flow_run_id, (), None, None, "", 1, state
    )


def made(artifact_id: str, run_id: str = "", *, key: str | None = None) -> ReportedEvent:
    data = Payload("json", b"1")
    return run_id, NewArtifact(artifact_id, key, "table", "d", data, run_id or None, 5)


def changed(artifact_id: str, at: int, data: bytes | None = None, text: str | None = None):
    payload = None if data is None else Payload("json", data)
    return "", ArtifactChange(artifact_id, text, payload, at)


def report(store: MemoryStore, *events: ReportedEvent) -> Applied:
    first = store.data.sessions["s"].last_sequence + 1
    run_ids = [run_id for run_id, _ in events if run_id]
    return store.do(
        ApplyReport("s", first_sequence=first, events=events, run_ids=run_ids, connection_id="c")
    )


def test_an_artifact_knows_its_run_and_flow_run(store: MemoryStore) -> None:
    applied = report(
        store,
        new_run("r"),
        new_run("t", RunKind.TASK, "r"),
        made("a", "r"),
        made("b", "t"),
        made("c"),
    )
    assert applied.verdicts == []
    assert applied.transition_count == 2
    found = {each.id: each for each in store.data.artifacts.values()}
    families = {
        key: (each.run_id, each.flow_run_id, each.root_run_id) for key, each in found.items()
    }
    assert families == {
        "a": ("r", "r", "root"),
        "b": ("t", "r", "root"),
        "c": (None, None, None),
    }


def test_a_change_leaves_what_it_does_not_name(store: MemoryStore) -> None:
    report(store, made("a"), changed("a", 9, data=b"2"), changed("a", 7, text=""))
    artifact = store.data.artifacts["a"]
    assert (artifact.data, artifact.description) == (Payload("json", b"2"), "")
    assert (artifact.created_us, artifact.updated_us) == (5, 9)


def test_verdicts_stand_in_the_order_of_the_events(store: MemoryStore) -> None:
    applied = report(
        store, made("a"), changed("b", 1), made("a"), new_run("r"), new_run("r"),
        made("a", key="other"), made("c", "nobody"),
    )  # fmt: skip
    assert [(each.sequence, each.kind, each.rule) for each in applied.verdicts] == [
        (2, VerdictKind.REJECTED, "artifact_is_known"),
        (3, VerdictKind.DUPLICATE, "artifact_agrees"),
        (5, VerdictKind.DUPLICATE, "creation_agrees"),
        (6, VerdictKind.REJECTED, "artifact_agrees"),
        (7, VerdictKind.REJECTED, "run_is_known"),
    ]
