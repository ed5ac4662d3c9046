"""The unit of work against a dictionary-based model."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from tests.store.builders import (
    Op,
    a_log,
    a_run,
    a_session,
    add_runs,
    delete_tree,
    do,
    enter,
    move,
    new_id,
)

from flowspan_service.app.ports.logs import LogQuery
from flowspan_service.domain.states import TERMINAL_TYPES, StateType

if TYPE_CHECKING:
    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.store import SqlStore

NAMES = st.integers(0, 5)
ACTIONS = st.one_of(
    st.tuples(st.just("add"), NAMES, st.none() | NAMES),
    st.tuples(st.just("move"), NAMES, st.sampled_from(list(StateType))),
    st.tuples(st.just("adopt"), NAMES, st.booleans()),
    st.tuples(
        st.just("log"), NAMES, st.text(st.characters(exclude_characters="\0", codec="utf-8"))
    ),
    st.tuples(st.just("delete"), NAMES, st.none()),
    st.tuples(st.just("session"), NAMES, st.integers(0, 1 << 60)),
    st.tuples(st.just("look"), NAMES, st.none()),
)
TRANSACTIONS = st.lists(st.tuples(st.lists(ACTIONS, max_size=6), st.booleans()), max_size=6)


class _UndoneError(Exception):
    """Raised at the end of an operation to roll it back."""


@dataclass
class Model:
    """The expected contents of the store."""

    runs: dict[str, Run] = field(default_factory=dict)
    histories: dict[str, list[int]] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)


class Example:
    """One example: names stand for its own ids, so that examples can share a database."""

    def __init__(self) -> None:
        self.run_ids = [new_id() for _ in range(6)]
        self.session_ids = [new_id() for _ in range(6)]
        self.model = Model()

    def operation(self, actions: list[tuple], *, undone: bool) -> Op:
        def act(uow: UnitOfWork) -> Model:
            model = deepcopy(self.model)
            for action, name, argument in actions:
                getattr(self, f"_{action}")(uow, model, name, argument)
            if undone:
                raise _UndoneError
            return model

        return Op(act, self.run_ids[:3])

    def _add(self, uow: UnitOfWork, model: Model, name: int, parent: int | None) -> None:
        run_id = self.run_ids[name]
        found = uow.runs.get(run_id)
        assert (found is None) == (run_id not in model.runs)
        if found is not None:
            return
        above = uow.runs.get(self.run_ids[parent]) if parent is not None else None
        run = a_run(id=run_id, parent=above, session_id=self.session_ids[0])
        uow.runs.add(run)
        model.runs[run_id] = deepcopy(run)
        model.histories[run_id] = [run.state.type]
        model.logs[run_id] = []

    def _move(self, uow: UnitOfWork, model: Model, name: int, state_type: int) -> None:
        run = uow.runs.get(self.run_ids[name])
        if run is None:
            assert self.run_ids[name] not in model.runs
            return
        uow.runs.add_transition(enter(run, state_type, message=f"{name}"))
        model.runs[run.id] = deepcopy(run)
        model.histories[run.id].append(int(state_type))

    def _adopt(self, uow: UnitOfWork, model: Model, name: int, given: bool) -> None:
        run = uow.runs.get(self.run_ids[name])
        if run is None:
            return
        run.session_id = self.session_ids[1] if given else None
        uow.runs.update(run)
        model.runs[run.id] = deepcopy(run)

    def _log(self, uow: UnitOfWork, model: Model, name: int, text: str) -> None:
        run = uow.runs.get(self.run_ids[name])
        if run is not None:
            uow.logs.add([a_log(run, text)])
            model.logs[run.id].append(text)

    def _delete(self, uow: UnitOfWork, model: Model, name: int, _: None) -> None:
        run_id = self.run_ids[name]
        tree = self._tree(model, run_id)
        assert delete_tree(uow, run_id) == len(tree)
        for kept in (model.runs, model.histories, model.logs):
            for each in tree:
                kept.pop(each, None)

    def _session(self, uow: UnitOfWork, model: Model, name: int, sequence: int) -> None:
        session_id = self.session_ids[name]
        found = uow.sessions.get(session_id)
        assert (found.last_sequence if found else None) == model.sessions.get(session_id)
        uow.sessions.save(a_session(id=session_id, last_sequence=sequence))
        model.sessions[session_id] = sequence

    def _look(self, uow: UnitOfWork, model: Model, name: int, _: None) -> None:
        run_id = self.run_ids[name]
        assert uow.runs.get(run_id) == model.runs.get(run_id)
        tree = self._tree(model, run_id).items()
        unended = {key: run for key, run in tree if run.state.type not in TERMINAL_TYPES}
        unfinished, _ = uow.deletions.open_run_below(run_id, after=None)
        assert (unfinished is None) == (not unended)
        assert unfinished is None or unended[unfinished.id] == unfinished
        session_id = self.session_ids[name]
        open_ids = [
            run.id
            for run in model.runs.values()
            if run.session_id == session_id and run.state.type not in TERMINAL_TYPES
        ]
        found = [run.id for run in uow.runs.open_of(session_id, limit=9, limit_bytes=10**6).items]
        assert found == sorted(open_ids, reverse=True)

    @staticmethod
    def _tree(model: Model, run_id: str) -> dict[str, Run]:
        if run_id not in model.runs:
            return {}
        if model.runs[run_id].root_run_id == run_id:
            return {key: run for key, run in model.runs.items() if run.root_run_id == run_id}
        inside = {run_id}
        for _ in model.runs:
            inside |= {key for key, run in model.runs.items() if run.parent_run_id in inside}
        return {key: model.runs[key] for key in inside}

    def check(self, store: SqlStore) -> None:
        """Compare the store with the model."""
        for run_id in self.run_ids:
            expected = self.model.runs.get(run_id)
            found = [store.runs.get(kind, run_id) for kind in (1, 2)]
            assert found[expected.kind - 1 if expected else 0] == expected
            history = store.transitions.of_run(run_id)
            assert [one.state.type for one in history] == self.model.histories.get(run_id, [])
            assert [one.ordinal for one in history] == list(range(1, len(history) + 1))
            logs = store.logs.list(LogQuery(run_id=run_id)).items
            assert [entry.message for entry in logs] == self.model.logs.get(run_id, [])


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(transactions=TRANSACTIONS)
def test_the_store_does_what_dictionaries_would(
    store: SqlStore, transactions: list[tuple[list[tuple], bool]]
) -> None:
    example = Example()
    for actions, undone in transactions:
        future = store.submit(example.operation(actions, undone=undone))
        if undone:
            assert isinstance(future.exception(60), _UndoneError)
        else:
            example.model = future.result(60)
    example.check(store)


def test_deleted_runs_are_looked_up_together(store: SqlStore) -> None:
    """A batch may name any number of missing runs."""
    runs = [a_run() for _ in range(10)]
    add_runs(store, runs)
    gone, later, ended = (run.id for run in runs[:3])
    move(store, ended, StateType.RUNNING, StateType.COMPLETED)
    do(store, lambda uow: [delete_tree(uow, run_id) for run_id in (gone, ended)])
    unknown = [new_id() for _ in range(3000)]
    statements: list[str] = []

    def look(uow: UnitOfWork) -> set[str]:
        before = {
            run_id for run_id in (*unknown, gone, ended, later) if uow.deletions.was_deleted(run_id)
        }
        assert before == {gone}
        delete_tree(uow, later)
        return {
            run_id for run_id in (*unknown, gone, ended, later) if uow.deletions.was_deleted(run_id)
        }

    engine = store._dialect.writing

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        assert do(store, look, *unknown, gone, ended, later) == {gone, later}
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert sum("FROM deleted_run" in statement for statement in statements) < 20
