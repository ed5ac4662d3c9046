"""Small events about large runs and artifacts: many short transactions, interleaved with others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.store.builders import (
    Gate,
    Op,
    a_log,
    a_run,
    a_state,
    add_runs,
    an_artifact,
    do,
    new_id,
    put_artifacts,
)

from flowspan_service.app.event_records import NotUnderstood, ReportedEvent
from flowspan_service.app.ports.artifacts import ArtifactQuery
from flowspan_service.app.ports.logs import LogQuery
from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.sessions import EndSession, OpenSession
from flowspan_service.domain.artifacts import ArtifactChange
from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.domain.verdicts import VerdictKind
from flowspan_service.stores.engine import cache
from flowspan_service.stores.engine.budget import PRELOADED_BYTES
from flowspan_service.stores.runs import run_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.store import SqlStore

LARGE = 400_000
COUNT = 24
UNKNOWN: ReportedEvent = ("", NotUnderstood("event_is_known", "?"))


class Commits:
    """The names of completed operations, in the order of their commits."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.order: list[str] = []

    def submit(self, name: str, operation: Any) -> Future[Any]:
        future = self.store.submit(operation)
        future.add_done_callback(lambda _: self.order.append(name))
        return future


def a_report(session_id: str, first: int, *events: ReportedEvent) -> ApplyReport:
    ids = list(dict.fromkeys(run_id for run_id, _ in events if run_id))
    return ApplyReport(session_id, first_sequence=first, events=events, run_ids=ids)


def open_session(store: SqlStore) -> str:
    session_id = new_id()
    store.submit(OpenSession(session_id, client={}, lease_us=30_000_000)).result(60)
    return session_id


def large_runs(store: SqlStore, where: str) -> list[Run]:
    """Store runs with a large column that the writer's cache does not hold."""
    data = bytes(LARGE)
    runs = []
    for _ in range(COUNT):
        values: dict[str, Any] = {
            "parameters": {"parameters": Payload("json", data)},
            "result": {"state": a_state(StateType.COMPLETED, result=data)},
            "failure": {"state": a_state(StateType.FAILED, failure=data)},
        }[where]
        runs.append(a_run(**values))
        add_runs(store, runs[-1:])
    store._writer._cache.clear()
    return runs


def entered(run: Run, state_type: int = StateType.RUNNING) -> ReportedEvent:
    return run.id, ProposedTransition(a_state(state_type), 1, Cause.REPORTED)


def created_again(run: Run) -> ReportedEvent:
    creation = {name: getattr(run, name) for name in NewRun._fields}
    return run.id, NewRun(**creation)


def called_by(run: Run) -> ReportedEvent:
    return created_again(a_run(parent=run))


EVENTS = {
    "states": entered,
    "logs": lambda run: (run.id, a_log(run)),
    "creations": created_again,
    "children": called_by,
}


@pytest.fixture
def transactions(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the bytes of runs that each call of the dialect loads; return the list."""
    loaded: list[int] = []
    load = store._dialect.load_runs

    def count(connection: Any, run_ids: Iterable[str]) -> list[Run]:
        runs = load(connection, run_ids)
        loaded.append(sum(map(run_bytes, runs)))
        return runs

    monkeypatch.setattr(store._dialect, "load_runs", count)
    return loaded


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("where", ["parameters", "result", "failure"])
def test_promise_others_do_not_wait_for_small_events_about_large_runs(
    store: SqlStore, transactions: list[int], where: str, kind: str
) -> None:
    session_id, other = open_session(store), open_session(store)
    events = [EVENTS[kind](run) for run in large_runs(store, where)]
    commits, gate = Commits(store), Gate(store)
    report = commits.submit("report", a_report(session_id, 1, *events))
    later = commits.submit("later", a_report(session_id, COUNT + 1, UNKNOWN))
    theirs = [commits.submit("other", a_report(other, n, UNKNOWN)) for n in (1, 2)]
    goodbye = commits.submit("goodbye", EndSession(session_id))
    gate.open()
    goodbye.result(60)
    assert report.result(60).up_to_sequence == COUNT
    assert later.result(60).up_to_sequence == COUNT + 1
    assert all(each.result(60) for each in theirs)
    assert commits.order == ["other", "other", "report", "later", "goodbye"]
    assert max(transactions) <= max(PRELOADED_BYTES, LARGE + 2_000)
    if kind == "states":
        refused = 0 if where == "parameters" else COUNT
        assert len(report.result(60).verdicts) == refused
        assert all(each.state.result is None for each in report.result(60).verdicts)
    if kind == "logs":
        assert all(len(store.logs.list(LogQuery(run_id)).items) == 1 for run_id, _ in events)
    if kind == "creations":
        kinds = {verdict.kind for verdict in report.result(60).verdicts}
        assert kinds == {VerdictKind.DUPLICATE}


@pytest.mark.parametrize("where", ["messages", "tags"])
def test_long_texts_count_as_well(store: SqlStore, transactions: list[int], where: str) -> None:
    session_id = open_session(store)
    values: dict[str, Any] = {
        "messages": {"state": a_state(StateType.COMPLETED, message="m" * 32_000)},
        "tags": {"tags": tuple(f"{number}" + "t" * 250 for number in range(64))},
    }[where]
    runs = [a_run(**values) for _ in range(600)]
    add_runs(store, runs)
    store._writer._cache.clear()
    commits: list[int] = []
    store.on_commit(lambda **commit: commits.append(commit["position"]))
    applied = store.submit(a_report(session_id, 1, *map(entered, runs))).result(60)
    rules = {verdict.rule for verdict in applied.verdicts}
    assert rules == ({"terminal_is_final"} if where == "messages" else set())
    assert len(commits) > 1
    assert sum(transactions) < 2 * sum(map(run_bytes, runs))


def test_the_large_runs_themselves_stay_whole(store: SqlStore) -> None:
    """Only the changed columns of a run are written."""
    session_id = open_session(store)
    runs = large_runs(store, "parameters")
    events = [entered(run) for run in runs] + [entered(run, StateType.COMPLETED) for run in runs]
    store.submit(a_report(session_id, 1, *events)).result(60)
    for run in runs:
        found = store.runs.get(RunKind.FLOW, run.id)
        assert found is not None
        assert found.parameters == Payload("json", bytes(LARGE))
        assert (found.state.type, found.transition_count) == (StateType.COMPLETED, 3)


def test_runs_that_the_writer_remembers_count_when_they_are_written_again(store: SqlStore) -> None:
    session_id, other = open_session(store), open_session(store)
    runs = large_runs(store, "parameters")
    for run in runs:
        do(store, lambda uow, run=run: uow.runs.get(run.id))
    commits, gate = Commits(store), Gate(store)
    report = commits.submit("report", a_report(session_id, 1, *map(entered, runs)))
    commits.submit("other", a_report(other, 1, UNKNOWN))
    gate.open()
    report.result(60)
    first = "other" if store._dialect.writes_whole_rows else "report"
    assert commits.order[0] == first


def test_small_changes_of_large_artifacts_are_many_transactions(store: SqlStore) -> None:
    session_id, other = open_session(store), open_session(store)
    artifacts = [an_artifact(data=Payload("json", bytes(LARGE))) for _ in range(COUNT)]
    for each in artifacts:
        put_artifacts(store, each)
    changes: list[ReportedEvent] = [
        ("", ArtifactChange(each.id, f"changed {round_}", None, 5))
        for round_ in (1, 2)
        for each in artifacts
    ]
    commits, gate = Commits(store), Gate(store)
    report = commits.submit("report", a_report(session_id, 1, *changes))
    commits.submit("other", a_report(other, 1, UNKNOWN))
    gate.open()
    assert report.result(60).verdicts == []
    assert commits.order == ["other", "report"]
    found = store.artifacts.list(ArtifactQuery(oldest_first=True, limit_bytes=1 << 30)).items
    assert found == [
        replace(each, description="changed 2", updated_us=each.updated_us) for each in artifacts
    ]


def test_a_report_that_is_cut_does_not_meet_the_operation_that_spoils_its_group(
    store: SqlStore,
) -> None:
    """After a failed group, each operation gets its own transaction, before later reports."""
    session_id = open_session(store)
    runs = large_runs(store, "result")

    def spoil(uow: Any) -> None:
        uow.runs.add(a_run())
        raise ZeroDivisionError

    commits, gate = Commits(store), Gate(store)
    spoiled = commits.submit("spoiled", Op(spoil))
    report = commits.submit("report", a_report(session_id, 1, *map(entered, runs)))
    later = commits.submit("later", a_report(session_id, COUNT + 1, UNKNOWN))
    gate.open()
    assert isinstance(spoiled.exception(60), ZeroDivisionError)
    assert report.result(60).up_to_sequence == COUNT
    assert later.result(60).up_to_sequence == COUNT + 1
    assert commits.order == ["spoiled", "report", "later"]


def test_a_store_that_closes_finishes_the_reports_that_it_has_begun(
    store: SqlStore, store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    session_id = open_session(store)
    runs = large_runs(store, "result")
    gate = Gate(store)
    report = store.submit(a_report(session_id, 1, *((run.id, a_log(run)) for run in runs)))
    later = store.submit(a_report(session_id, COUNT + 1, UNKNOWN))
    gate.open()
    store.close()
    assert report.result(0).up_to_sequence == COUNT
    assert later.result(0).up_to_sequence == COUNT + 1
    again = open_url(store_url)
    assert all(len(again.logs.list(LogQuery(run.id)).items) == 1 for run in runs)


def test_the_payloads_of_the_runs_that_are_remembered_are_bounded(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_PAYLOAD_BYTES", 4 * LARGE)
    session_id = open_session(store)
    remembered = store._writer._cache.runs
    small = a_run()
    add_runs(store, [small])

    def is_bounded() -> bool:
        return sum(map(run_bytes, remembered.values())) < 5 * LARGE

    data = bytes(LARGE)
    runs = [a_run(parameters=Payload("json", data)) for _ in range(COUNT)]
    for run in runs:
        add_runs(store, [run])
        assert is_bounded()
    for run in runs:  # an open state may have a result and a failure, too
        proposed = ProposedTransition(
            a_state(StateType.RUNNING, result=data, failure=data), 1, Cause.REPORTED
        )
        sequence = runs.index(run) + 1
        store.submit(a_report(session_id, sequence, (run.id, proposed))).result(60)
        assert is_bounded()
    assert small.id in remembered, "small runs must stay in the cache"


def test_large_runs_do_not_make_the_groups_of_others_small(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size limit of a group follows from the cost of ordinary rows."""
    session_id = open_session(store)
    runs = large_runs(store, "result")
    learnt: list[int] = []
    commits: list[int] = []
    monkeypatch.setattr(store._writer._limit, "learn", lambda weight, _: learnt.append(weight))
    store.on_commit(lambda **commit: commits.append(commit["position"]))
    store.submit(a_report(session_id, 1, *map(entered, runs))).result(60)
    assert len(commits) > 2
    assert len(learnt) <= 1, "only the rest at the end may count as ordinary"


def test_a_group_loads_many_small_runs_at_once(store: SqlStore, transactions: list[int]) -> None:
    session_id = open_session(store)
    runs = [a_run() for _ in range(200)]
    add_runs(store, runs)
    store._writer._cache.clear()
    report: Sequence[ReportedEvent] = [entered(run) for run in runs]
    assert store.submit(a_report(session_id, 1, *report)).result(60).transition_count == 200
    assert len(transactions) == 1
