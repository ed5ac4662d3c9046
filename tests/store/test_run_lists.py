"""Lists: pages and filters, and index ranges for all common filters."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from tests.store.builders import START_US, a_run, a_state, add_runs, do, enter, new_id

from flowspan_service.app.ports.runs import RunFilter, RunQuery
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import OPEN_TYPES, StateType
from flowspan_service.stores.run_lists import count_statement, page_statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.run_lists import Statement
    from flowspan_service.stores.store import SqlStore

SECOND_US = 1_000_000
NAMES = ("load", "parse", "store")
TAGS = ("red", "green", "blue", 'q"uote', "per%cent")


def random_forest(seed: int, size: int) -> list[Run]:
    """Return random runs in random order of arrival, as a real database might have them."""
    chance = random.Random(seed)
    runs: list[Run] = []
    for number in range(size):
        time_us = START_US + number * 3600 * SECOND_US
        parent = chance.choice([None, *runs]) if runs else None
        kind = chance.choice([RunKind.FLOW, RunKind.TASK, RunKind.TASK])
        run = a_run(
            id=new_id(time_us),
            parent=parent,
            kind=kind,
            function_name=chance.choice(NAMES),
            run_name=f"run-{chance.randrange(10)}",
            tags=tuple(chance.choices(TAGS, k=chance.randrange(3))),
            created_us=time_us,
            state=a_state(chance.choice(list(StateType))),
        )
        if run.state.type == StateType.FAILED and chance.random() < 0.5:
            run.state.name = "Exploded"
        if kind == RunKind.FLOW or parent is None:
            run.flow_run_id = None
        if parent is not None and chance.random() < 0.1:
            # A careless client of another language may omit it.
            run.parent_run_id = None
        runs.append(run)
    return chance.sample(runs, size)


def matches(run: Run, kind: int, f: RunFilter) -> bool:
    """Evaluate flowspan.v1.RunFilter in Python."""
    checks = [
        run.kind == kind,
        not f.state_types or run.state.type in f.state_types,
        not f.state_names or run.state.name in f.state_names,
        not f.function_names or run.function_name in f.function_names,
        set(f.tags) <= set(run.tags),
        f.parent_run_id is None or run.parent_run_id == f.parent_run_id,
        f.root_run_id is None or run.root_run_id == f.root_run_id,
        f.flow_run_id is None or run.flow_run_id == f.flow_run_id,
        not f.top_level_only or run.parent_run_id is None,
        f.created_after_us is None or run.created_us >= f.created_after_us,
        f.created_before_us is None or run.created_us < f.created_before_us,
        f.run_name is None or run.run_name == f.run_name,
        f.id_prefix is None or run.id.startswith(f.id_prefix),
        f.id_suffix is None or run.id.endswith(f.id_suffix),
    ]
    return all(checks)


def random_filter(chance: random.Random, runs: list[Run]) -> RunFilter:
    run = chance.choice(runs)
    choices = {
        "state_types": tuple(chance.sample(range(1, 10), chance.randrange(1, 4))),
        "state_names": ("Failed", "Exploded", "Running"),
        "function_names": tuple(chance.sample(NAMES, chance.randrange(1, 3))),
        "tags": tuple(chance.sample(TAGS, chance.randrange(1, 3))),
        "parent_run_id": run.parent_run_id or run.id,
        "root_run_id": run.root_run_id,
        "flow_run_id": run.flow_run_id or run.id,
        "top_level_only": True,
        "created_after_us": run.created_us,
        "created_before_us": run.created_us,
        "run_name": run.run_name,
        "id_prefix": run.id[: chance.randrange(4, 14)],
        "id_suffix": run.id[-chance.randrange(4, 14) :],
    }
    chosen = chance.sample(sorted(choices), chance.choice([0, 1, 1, 1, 2, 2, 3]))
    return RunFilter(**{name: choices[name] for name in chosen})


def walk(store: SqlStore, query: RunQuery) -> list[Run]:
    """Return the items of all pages."""
    runs: list[Run] = []
    while True:
        page = store.runs.list(query)
        runs += page.items
        assert len(page.items) <= query.limit
        keys = store.runs.list_keys(query)
        assert keys.has_more == page.has_more
        assert [tuple(key) for key in keys.items] == [
            (run.id, run.position, run.session_id) for run in page.items
        ]
        if not page.has_more:
            return runs
        assert len(page.items) == query.limit
        query = replace(query, after_id=page.items[-1].id)


@pytest.mark.parametrize("seed", range(3))
def test_pages_and_counts_are_those_of_a_sorted_list(store: SqlStore, seed: int) -> None:
    runs = random_forest(seed, 90)
    add_runs(store, runs)
    # Some runs move on, so that their rows must be found in their new place.
    moved = random.Random(seed).sample(runs, 30)

    def move(uow: UnitOfWork) -> None:
        for run in moved:
            uow.runs.add_transition(enter(run, StateType.COMPLETED))

    do(store, move)
    chance = random.Random(seed)
    hits = 0
    for _ in range(50):
        run_filter = random_filter(chance, runs)
        kind, oldest_first = chance.choice([1, 2]), chance.random() < 0.5
        wanted = [run for run in runs if matches(run, kind, run_filter)]
        wanted.sort(key=lambda run: run.id, reverse=not oldest_first)
        query = RunQuery(
            kind,
            run_filter,
            oldest_first=oldest_first,
            limit=chance.choice([3, 7, 100]),
            prefers_states=chance.random() < 0.5,
        )
        assert [run.id for run in walk(store, query)] == [run.id for run in wanted], run_filter
        counts: dict[int, int] = {}
        for run in wanted:
            counts[run.state.type] = counts.get(run.state.type, 0) + 1
        assert store.runs.count(kind, run_filter) == counts, run_filter
        hits += len(wanted)
    assert hits > 200


def test_a_page_is_whole_runs(store: SqlStore) -> None:
    runs = random_forest(9, 20)
    add_runs(store, runs)
    listed = {run.id: run for kind in (1, 2) for run in walk(store, RunQuery(kind))}
    assert listed == {run.id: run for run in runs}


def test_many_function_names_are_found_as_well(store: SqlStore) -> None:
    runs = [a_run(function_name=f"flow-{number}") for number in range(60)]
    add_runs(store, runs)
    names = tuple(f"flow-{number}" for number in range(5, 60))
    found = walk(store, RunQuery(1, RunFilter(function_names=names), limit=10))
    assert [run.id for run in found] == [run.id for run in reversed(runs[5:])]


@pytest.mark.parametrize("part", ["id_prefix", "id_suffix"])
def test_a_part_of_an_id_that_is_none_is_an_error(store: SqlStore, part: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        store.runs.list(RunQuery(1, RunFilter(**{part: "wxyz"})))


def test_a_suffix_ends_anywhere_in_an_id(store: SqlStore) -> None:
    runs = [a_run() for _ in range(3)]
    add_runs(store, runs)
    wanted = runs[1].id
    for length in (12, 13, 14, 18, 19, 35, 36):
        query = RunQuery(1, RunFilter(id_suffix=wanted[-length:]))
        assert [run.id for run in store.runs.list(query).items] == [wanted]
    assert store.runs.list(RunQuery(1, RunFilter(id_suffix="0" * 12))).items == []


ID = new_id()
COMMON = {
    "all": (RunFilter(), "run_by_state"),
    "state": (RunFilter(state_types=(7,)), "run_by_state"),
    "states": (RunFilter(state_types=(2, 3)), "run_by_state"),
    "function": (RunFilter(function_names=("load",)), "run_by_function"),
    "function and state": (
        RunFilter(function_names=("load",), state_types=(7,)),
        "run_by_function",
    ),
    "parent": (RunFilter(parent_run_id=ID), "run_by_parent"),
    "parent and state": (RunFilter(parent_run_id=ID, state_types=(7,)), "run_by_parent"),
    "root": (RunFilter(root_run_id=ID), "run_by_root"),
    "root and state": (RunFilter(root_run_id=ID, state_types=(7,)), "run_by_root"),
    "flow run": (RunFilter(flow_run_id=ID), "run_by_flow_run"),
    "flow run and state": (RunFilter(flow_run_id=ID, state_types=(7,)), "run_by_flow_run"),
    "top level": (RunFilter(top_level_only=True), "run_by_parent"),
    "top level and state": (RunFilter(top_level_only=True, state_types=(7,)), "run_by_parent"),
    "name": (RunFilter(run_name="x"), "run_by_name"),
    "tag": (RunFilter(tags=("red",)), "run_tag"),
    "prefix": (RunFilter(id_prefix="0190"), "run_by_state"),
    "suffix": (RunFilter(id_suffix="0190"), "run_by_state"),
    "created": (RunFilter(created_after_us=START_US), "run_by_state"),
}


@pytest.mark.parametrize("case", COMMON)
@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest", "oldest"])
def test_sqlite_reads_common_lists_from_an_index(
    sqlite_store: SqlStore, case: str, oldest_first: bool
) -> None:
    run_filter, index = COMMON[case]
    query = RunQuery(1, run_filter, oldest_first=oldest_first, after_id=ID)
    plan = explain(sqlite_store, page_statement(query, sqlite_store._dialect, limit=101))
    assert index in plan, plan
    # Each search starts at the page's position, and there is no full table scan.
    reads = [line for line in plan.splitlines() if line.startswith(("SEARCH", "SCAN"))]
    scans = [line for line in reads if line.startswith("SCAN")]
    assert all(line.split()[1] in {"page", "part", "merged"} for line in scans), plan
    ranges = [line for line in reads if index in line and "run_id=?)" not in line]
    assert all("id<?" in line or "id>?" in line for line in ranges), plan
    # A range comes in order: only the merged pages of ids are sorted.
    lines = plan.splitlines()
    after_ranges = [after for line, after in pairwise(lines) if line in ranges]
    assert not any("TEMP B-TREE" in line for line in after_ranges), plan


NARROW = {
    "all": (RunFilter(), "run_by_state"),
    "function": (RunFilter(function_names=("load",)), "run_by_function"),
    "parent": (RunFilter(parent_run_id=ID), "run_by_parent"),
    "root": (RunFilter(root_run_id=ID), "run_by_root"),
    "flow run": (RunFilter(flow_run_id=ID), "run_by_flow_run"),
    "top level": (RunFilter(top_level_only=True), "run_by_parent"),
    "name": (RunFilter(run_name="x"), "run_by_state"),
    "tag": (RunFilter(tags=("red",)), "run_by_state"),
    "created": (RunFilter(created_after_us=START_US), "run_by_state"),
}


@pytest.mark.parametrize("case", NARROW)
def test_sqlite_reads_only_runs_in_the_preferred_states(sqlite_store: SqlStore, case: str) -> None:
    run_filter, index = NARROW[case]
    wanted = replace(run_filter, state_types=OPEN_TYPES)
    query = RunQuery(1, wanted, oldest_first=True, after_id=ID, prefers_states=True)
    plan = explain(sqlite_store, page_statement(query, sqlite_store._dialect, limit=101))
    assert index in plan, plan
    ranges = [
        line
        for line in plan.splitlines()
        if line.startswith("SEARCH run USING") and "(id=?)" not in line
    ]
    assert len(ranges) >= len(OPEN_TYPES), plan
    assert all("state_type=?" in line for line in ranges if "(id=?" not in line), plan


@pytest.mark.parametrize("case", COMMON)
def test_sqlite_counts_from_an_index(sqlite_store: SqlStore, case: str) -> None:
    run_filter, index = COMMON[case]
    plan = explain(sqlite_store, count_statement(1, run_filter, sqlite_store._dialect))
    assert index in plan, plan


def explain(store: SqlStore, statement: Statement) -> str:
    with store._dialect.reading.connect() as connection:
        rows = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {statement.sql}", statement.parameters
        )
        return "\n".join(row[3] for row in rows)


@pytest.fixture
def sqlite_store(tmp_path: object, open_url: Callable[..., SqlStore]) -> SqlStore:
    return open_url(f"sqlite:///{tmp_path}/flowspan.db")
