"""Snapshots at a position."""

from __future__ import annotations

import random
from copy import copy
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.memory_store import ManualClock, MemoryStore, meets

from flowspan_service.app import watching
from flowspan_service.app.ports.runs import RunFilter
from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.sessions import OpenSession
from flowspan_service.app.watching import Watched, changes_page, replay, snapshot_pages
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.states import Cause, State, StateType

if TYPE_CHECKING:
    from flowspan_service.domain.runs import Run

S = StateType
EVERYTHING = Watched(None, None, flow_runs_only=False)
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
    watched = Watched(run_id, run_id, flow_runs_only=False)
    pages = snapshot_pages(store, watched, at=at)
    shown = [run for page in pages for run in page]
    assert [run.transition_count for run in shown] == ([at] if at else [])
    page = changes_page(store, watched, after=at)
    assert [change.transition.ordinal for change in page.changes] == list(range(at + 1, 7))
    assert [change.created is not None for change in page.changes][:1] == (
        [at == 0] if at < 6 else []
    )
    assert (page.looked_at, page.is_last) == (6, True)


def test_pages_end_where_they_should(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "CHANGES_PAGE", 4)
    page = changes_page(store, EVERYTHING, after=0)
    assert (len(page.changes), page.looked_at, page.is_last) == (4, 4, False)
    rest = changes_page(store, EVERYTHING, after=page.looked_at)
    assert (len(rest.changes), rest.looked_at, rest.is_last) == (2, 6, True)


def test_task_runs_are_left_out_but_looked_at(store: MemoryStore) -> None:
    run = copy(store.data.runs["r"])
    run.kind = RunKind.TASK
    store.data.runs["r"] = run
    page = changes_page(store, Watched(None, None, flow_runs_only=True), after=0)
    assert (page.changes, page.looked_at) == ([], 6)
    pages = snapshot_pages(store, Watched("r", "r", flow_runs_only=True), at=6)
    assert [each for each in pages if each] == []


def a_store_with_runs(chance: random.Random, count: int) -> MemoryStore:
    """Return a store with runs in random states, and with random functions, tags and parents."""
    store = MemoryStore(ManualClock())
    store.do(OpenSession("s", client={}, lease_us=1_000_000))
    runs: list[NewRun] = []
    for number in range(count):
        parent = chance.choice([None, *runs])
        kind = chance.choice([RunKind.FLOW, RunKind.TASK])
        run_id = f"r{number:02}"
        new = NewRun(
            run_id,
            kind,
            chance.choice("fg"),
            chance.choice("xy"),
            parent.id if parent else None,
            parent.root_run_id if parent else run_id,
            runs[0].id if runs and kind == RunKind.TASK else None,
            tuple(chance.sample("abc", chance.randrange(3))),
            None,
            None,
            "",
            number * 10,
            State(S.PENDING, "Pending", "", number * 10),
        )
        runs.append(new)
        report(store, run_id, new)
    return store


def report(store: MemoryStore, run_id: str, what: NewRun | ProposedTransition) -> None:
    first = store.data.sessions["s"].last_sequence + 1
    store.do(ApplyReport("s", first_sequence=first, events=[(run_id, what)], run_ids=[run_id]))


def move(store: MemoryStore, chance: random.Random, times: int) -> None:
    """Move random runs: they start, end, and are retried."""
    for _ in range(times):
        run = store.data.runs[chance.choice(sorted(store.data.runs))]
        is_over, attempt = run.state.type >= S.COMPLETED, run.attempt
        kind = S.RUNNING if is_over else chance.choice([S.RUNNING, S.COMPLETED, S.FAILED])
        state = State(kind, kind.name.capitalize(), "", run.state.time_us + 1)
        report(store, run.id, ProposedTransition(state, attempt + is_over, Cause.REPORTED))


def a_filter(chance: random.Random) -> RunFilter:
    choices: dict[str, Any] = {
        "function_names": ("f",),
        "tags": tuple(chance.sample("abc", chance.randrange(1, 3))),
        "parent_run_id": "r03",
        "root_run_id": "r00",
        "flow_run_id": "r00",
        "top_level_only": True,
        "created_after_us": 70,
        "created_before_us": 120,
        "run_name": "x",
    }
    names = chance.sample(sorted(choices), chance.randrange(3))
    return RunFilter(**{name: choices[name] for name in names})


@pytest.mark.parametrize("seed", range(60))
def test_snapshots_have_exactly_the_runs_of_their_position(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs change while the pages are read. The model replays all histories up to the position."""
    chance = random.Random(seed)
    monkeypatch.setattr(watching, "SNAPSHOT_PAGE", chance.choice([1, 3, 100]))
    monkeypatch.setattr(watching, "CHANGES_PAGE", chance.choice([1, 4, 100]))
    store = a_store_with_runs(chance, 20)
    move(store, chance, 40)
    run_id = chance.choice([None, None, "r00", chance.choice(sorted(store.data.runs))])
    root = store.data.runs[run_id].root_run_id if run_id else None
    watched = Watched(run_id, root, chance.random() < 0.3, a_filter(chance))
    active_only = chance.random() < 0.7
    at = store.position()
    tree = set(store.runs.tree_ids(run_id)) if run_id else set(store.data.runs)
    expected = {}
    for each in sorted(tree):
        run = copy(store.data.runs[each])
        if meets(run, watched.filter) and not (watched.flow_runs_only and run.kind != RunKind.FLOW):
            expected[each] = run
    if active_only:
        expected = {key: run for key, run in expected.items() if not run.state.is_terminal}
    shown: dict[str, Run] = {}
    for page in snapshot_pages(store, watched, at=at, active_only=active_only):
        assert not shown.keys() & {run.id for run in page}
        shown.update((run.id, run) for run in page)
        move(store, chance, 10)
    assert shown == expected
