"""Cached messages of runs: equal to the runs, and dropped when the runs change."""

from __future__ import annotations

import pytest
from tests.store.builders import FakeClock, a_run
from tests.support.memory_store import MemoryStore

from flowspan.v1 import flow_run_service_pb2
from flowspan_service.api import limits, run_messages
from flowspan_service.api.flow_runs import flow_run_message
from flowspan_service.api.run_messages import RunMessages
from flowspan_service.app.ports.runs import RunFilter, RunQuery
from flowspan_service.domain.runs import RunKind


class Counted:
    """Creates messages and counts them."""

    def __init__(self):
        self.made = []

    def __call__(self, run):
        self.made.append(run.id)
        return flow_run_message(run)


@pytest.fixture
def store():
    return MemoryStore(FakeClock())


def add(store, count):
    runs = sorted((a_run() for _ in range(count)), key=lambda run: run.id)
    for position, run in enumerate(runs, 1):
        run.position = position
        store.data.runs[run.id] = run
    return runs


def read(messages, query):
    data, last_id = messages.page(query)
    return flow_run_service_pb2.ListFlowRunsResponse.FromString(data).flow_runs, last_id


def test_a_page_is_what_the_runs_are(store):
    runs = add(store, 3)
    messages = RunMessages(store, flow_run_message)
    query = RunQuery(RunKind.FLOW, oldest_first=True, limit=2)
    for _ in range(2):
        found, last_id = read(messages, query)
        assert list(found) == [flow_run_message(run) for run in runs[:2]]
        assert last_id == runs[1].id
    found, last_id = read(messages, RunQuery(RunKind.FLOW, oldest_first=True, after_id=last_id))
    assert (list(found), last_id) == ([flow_run_message(runs[2])], None)
    assert read(messages, RunQuery(RunKind.FLOW, RunFilter(run_name="none"))) == ([], None)


@pytest.mark.parametrize("change", ["state", "session"])
def test_a_run_that_changes_is_encoded_anew(store, change):
    changing, other = add(store, 2)
    make = Counted()
    messages = RunMessages(store, make)
    read(messages, RunQuery(RunKind.FLOW))
    if change == "state":
        changing.state.message, changing.position = "changed", 3
    else:
        changing.session_id = "0f14e45f-ceea-467f-a0d5-3f2b7c6a9e10"
    found, _ = read(messages, RunQuery(RunKind.FLOW, oldest_first=True))
    assert list(found) == [flow_run_message(changing), flow_run_message(other)]
    assert sorted(make.made) == sorted([changing.id, changing.id, other.id])


def test_a_run_that_is_deleted_meanwhile_is_left_out(store, monkeypatch):
    first, second = add(store, 2)
    messages = RunMessages(store, flow_run_message)
    load = store.runs.load

    def load_late(run_ids):
        store.data.runs.pop(first.id, None)
        return load(run_ids)

    monkeypatch.setattr(store.runs, "load", load_late)
    found, _ = read(messages, RunQuery(RunKind.FLOW))
    assert list(found) == [flow_run_message(second)]


def test_a_page_ends_early_where_it_would_be_too_large(store, monkeypatch):
    runs = add(store, 5)
    size = len(flow_run_message(runs[0]).SerializeToString())
    monkeypatch.setattr(limits, "PAGE_MESSAGE", 3 * size)
    found, last_id = read(RunMessages(store, flow_run_message), RunQuery(RunKind.FLOW))
    assert 1 < len(found) < 4
    assert last_id == found[-1].id


def test_what_is_kept_is_bounded(store, monkeypatch):
    add(store, 50)
    monkeypatch.setattr(run_messages, "KEPT_BYTES", 5_000)
    make = Counted()
    messages = RunMessages(store, make)
    read(messages, RunQuery(RunKind.FLOW))
    assert 0 < messages._kept_bytes <= 5_000
    assert 0 < len(messages._kept) < 50
    # The newest messages are kept: the same page creates only the others again.
    make.made.clear()
    read(messages, RunQuery(RunKind.FLOW))
    assert len(make.made) < 50
    monkeypatch.setattr(run_messages, "LARGEST_KEPT", 10)
    fresh = RunMessages(store, make)
    read(fresh, RunQuery(RunKind.FLOW))
    assert not fresh._kept
