"""Labels of runs, over a store in memory."""

from __future__ import annotations

import pytest
from tests.support.memory_store import ManualClock, MemoryStore
from tests.support.memory_unit_of_work import MemoryUnitOfWork

from flowspan_service.app.labels import SetLabels, get_labels
from flowspan_service.app.runs import CreateRun, DeleteRun
from flowspan_service.domain.errors import NotFoundError, TooLargeError
from flowspan_service.domain.labels import LabelChange
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.states import State, StateType

MAX = 3


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(ManualClock())
    state = State(StateType.PENDING, "Pending", "", 1)
    new = NewRun("r", RunKind.FLOW, "f", "", None, "r", None, (), None, None, "", 1, state)
    store.do(CreateRun(new))
    return store


def set_labels(store: MemoryStore, *removed: str, **labels: str) -> dict[str, str]:
    change = LabelChange(labels, frozenset(removed))
    return store.do(SetLabels("r", change, max_labels=MAX))


def test_all_labels_of_the_run_are_returned(store: MemoryStore) -> None:
    assert set_labels(store) == {}
    assert set_labels(store, b="2", a="1") == {"a": "1", "b": "2"}
    assert set_labels(store, "b", c="3") == {"a": "1", "c": "3"}
    assert get_labels(store, "r") == {"a": "1", "c": "3"}


def test_a_change_that_changes_nothing_writes_nothing(store: MemoryStore) -> None:
    set_labels(store, a="1")
    uow = MemoryUnitOfWork(store.data, 1)
    change = LabelChange({"a": "1"}, frozenset({"absent"}))
    assert SetLabels("r", change, max_labels=MAX)(uow) == {"a": "1"}
    assert uow.writes == 0


def test_only_changed_labels_are_written(store: MemoryStore) -> None:
    set_labels(store, a="1", b="2")
    uow = MemoryUnitOfWork(store.data, 1)
    put: dict[str, str] = {}
    uow.labels.put = lambda _, labels: put.update(labels)  # type: ignore[method-assign] # a spy
    SetLabels("r", LabelChange({"a": "1", "b": "3"}), max_labels=MAX)(uow)
    assert put == {"b": "3"}


def test_a_run_with_too_many_labels_is_refused_and_unchanged(store: MemoryStore) -> None:
    set_labels(store, a="1", b="2", c="3")
    with pytest.raises(TooLargeError, match="would have 4 labels; at most 3 are allowed") as caught:
        set_labels(store, d="4")
    assert caught.value.metadata == {"field": "labels", "limit": "3", "run_id": "r"}
    assert get_labels(store, "r") == {"a": "1", "b": "2", "c": "3"}
    assert set_labels(store, "a", d="4") == {"b": "2", "c": "3", "d": "4"}


def test_only_known_runs_have_labels(store: MemoryStore) -> None:
    for call in (
        lambda: get_labels(store, "other"),
        lambda: store.do(SetLabels("other", LabelChange({"a": "1"}), max_labels=MAX)),
    ):
        with pytest.raises(NotFoundError) as caught:
            call()
        assert caught.value.metadata == {"run_id": "other"}


def test_a_run_that_is_being_deleted_takes_no_labels(store: MemoryStore) -> None:
    store.data.deletions.add("r")
    with pytest.raises(NotFoundError):
        set_labels(store, a="1")


def test_labels_are_deleted_with_their_run(store: MemoryStore) -> None:
    set_labels(store, a="1")
    store.do(DeleteRun("r", force=True))
    assert store.data.labels == {}
