"""Snapshots at a position."""

from __future__ import annotations

from copy import copy

import pytest
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.app import watching
from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.sessions import OpenSession
from flowspan_service.app.watching import changes_page, replay, snapshot_pages
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.states import Cause, State, StateType

S = StateType
STEPS = [
    (S.RUNNING, 1, 20),
    (S.FAILED, 1, 50),
    (S.SCHEDULED, 2, 60),
    (S.RUNNING, 2, 70),
    (S.COMPLETED, 2, 100),
]


@pytest.fixture
def store() -> MemoryStore:
    """Return a store with a run that failed, was retried and succeeded, step by step."""
    store = MemoryStore(ManualClock())
    store.do(OpenSession("s", client={}, lease_us=1_000_000))
    first = State(S.PENDING, "Pending", "", 10)
    new = NewRun("r", RunKind.FLOW, "f", "", None, "r", None, (), None, None, "", 10, first)
    store.do(ApplyReport("s", first_sequence=1, events=[("r", new)], run_ids=["r"]))
    for number, (kind, attempt, at) in enumerate(STEPS, 2):
        proposed = ProposedTransition(
            State(kind, kind.name.capitalize(), "", at), attempt, Cause.REPORTED
        )
        store.do(ApplyReport("s", first_sequence=number, events=[("r", proposed)], run_ids=["r"]))
    return store


def test_replay_gives_every_moment_of_a_run(store: MemoryStore) -> None:
    now = store.runs.get(RunKind.FLOW, "r")
    assert now is not None
    history = store.transitions.of_run("r")
    seen = [replay(now, history[:count]) for count in range(1, 7)]
    assert seen[-1] == now
    assert [run.run_duration_us for run in seen] == [0, 0, 30, 30, 30, 60]
    assert [run.started_us for run in seen] == [None, 20, 20, 20, 20, 20]
    assert [run.ended_us for run in seen] == [None, None, 50, None, None, 100]
    assert [run.attempt for run in seen] == [1, 1, 1, 2, 2, 2]
    assert [run.position for run in seen] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("at", range(7))
@pytest.mark.parametrize("run_id", ["r", None])
def test_snapshot_and_changes_meet_at_any_position(
    store: MemoryStore, at: int, run_id: str | None
) -> None:
    pages = snapshot_pages(store, at=at, run_id=run_id, flow_runs_only=False)
    shown = [run for page in pages for run in page]
    assert [run.transition_count for run in shown] == ([at] if at else [])
    page = changes_page(store, after=at, run_id=run_id, flow_runs_only=False)
    assert [change.transition.ordinal for change in page.changes] == list(range(at + 1, 7))
    assert [change.created is not None for change in page.changes][:1] == (
        [at == 0] if at < 6 else []
    )
    assert (page.looked_at, page.is_last) == (6, True)


def test_pages_end_where_they_should(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "CHANGES_PAGE", 4)
    page = changes_page(store, after=0, run_id=None, flow_runs_only=False)
    assert (len(page.changes), page.looked_at, page.is_last) == (4, 4, False)
    rest = changes_page(store, after=page.looked_at, run_id=None, flow_runs_only=False)
    assert (len(rest.changes), rest.looked_at, rest.is_last) == (2, 6, True)


def test_task_runs_are_left_out_but_looked_at(store: MemoryStore) -> None:
    run = copy(store.data.runs["r"])
    run.kind = RunKind.TASK
    store.data.runs["r"] = run
    page = changes_page(store, after=0, run_id=None, flow_runs_only=True)
    assert (page.changes, page.looked_at) == ([], 6)
    pages = snapshot_pages(store, at=6, run_id="r", flow_runs_only=True)
    assert [each for each in pages if each] == []
