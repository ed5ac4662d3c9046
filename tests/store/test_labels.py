"""Labels of runs, over both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from tests.store.builders import a_run, add_runs, delete_tree, do, new_id

from flowspan_service.app.labels import SetLabels
from flowspan_service.app.ports.labels import LabelQuery
from flowspan_service.domain.labels import Label, LabelChange
from flowspan_service.domain.runs import RunKind

if TYPE_CHECKING:
    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.store import SqlStore


def put(store: SqlStore, run: Run, **labels: str) -> None:
    do(store, lambda uow: uow.labels.put(run.id, labels))


def listed(store: SqlStore, **query: Any) -> list[Label]:
    """Return the labels of all pages, read in pages of two."""
    found: list[Label] = []
    after = None
    while True:
        page = store.labels.list(LabelQuery(**query, after_run_id=after, limit=2))
        found += page.items
        if not page.has_more:
            return found
        after = found[-1].run_id


def test_labels_come_back_ordered_by_key(store: SqlStore) -> None:
    run, bare = a_run(), a_run()
    add_runs(store, [run, bare])
    put(store, run, b="größer\n🙂", a="", B="upper-case sorts first")
    labels = store.labels.get(run.id)
    assert labels is not None
    assert list(labels.items()) == [
        ("B", "upper-case sorts first"),
        ("a", ""),
        ("b", "größer\n🙂"),
    ]
    assert store.labels.get(bare.id) == {}
    assert store.labels.get(new_id()) is None


def test_a_label_is_replaced_and_removed(store: SqlStore) -> None:
    run, other = a_run(), a_run()
    add_runs(store, [run, other])
    put(store, run, a="1", b="2", c="3")
    put(store, other, a="1")

    def change(uow) -> object:
        uow.labels.put(run.id, {"a": "9", "d": "4"})
        uow.labels.remove(run.id, ["b", "absent"])
        return uow.labels.get(run.id)

    assert do(store, change) == {"a": "9", "c": "3", "d": "4"}
    assert store.labels.get(run.id) == {"a": "9", "c": "3", "d": "4"}
    assert store.labels.get(other.id) == {"a": "1"}


def test_a_run_takes_labels_in_the_transaction_that_creates_it(store: SqlStore) -> None:
    run = a_run()
    operation = SetLabels(run.id, LabelChange({"a": "1"}), max_labels=64)

    def create_and_label(uow) -> object:
        uow.runs.add(run)
        return operation(uow)

    assert do(store, create_and_label) == {"a": "1"}
    assert store.labels.get(run.id) == {"a": "1"}


def test_labels_are_listed_newest_run_first(store: SqlStore) -> None:
    runs = [a_run() for _ in range(5)]
    add_runs(store, runs)
    for number, run in enumerate(runs):
        put(store, run, team="ab"[number % 2], other="a")
    newest_first = [run.id for run in reversed(runs)]
    assert listed(store, key="team") == [
        Label(run_id, "team", "ab"[len(runs) % 2 == number % 2])
        for number, run_id in enumerate(newest_first)
    ]
    assert [each.run_id for each in listed(store, key="team", value="b")] == newest_first[1::2]
    assert listed(store, key="team", value="") == []
    assert listed(store, key="absent") == []


def test_a_page_ends_where_it_is_large_enough(store: SqlStore) -> None:
    runs = [a_run() for _ in range(3)]
    add_runs(store, runs)
    for run in runs:
        put(store, run, key="v" * 256)
    page = store.labels.list(LabelQuery("key", limit_bytes=300))
    assert (len(page.items), page.has_more) == (1, True)


def test_lists_are_ranges_of_an_index(store: SqlStore) -> None:
    """Page 10,000 must cost as much as page 1: no sorting, no scan of the table."""
    connection = store._dialect.reading.connect()
    with connection:
        if connection.dialect.name != "sqlite":
            return  # PostgreSQL scans small tables whatever their indexes.
        for query, index in (
            (LabelQuery("key", after_run_id=new_id()), "label_by_key"),
            (LabelQuery("key", "value", after_run_id=new_id()), "label_by_value"),
        ):
            plan = _plan(store, connection, query)
            assert index in plan
            assert "TEMP B-TREE" not in plan


def _plan(store: SqlStore, connection: Any, query: LabelQuery) -> str:
    statements: list[tuple[str, Any]] = []

    def record(_c, _cursor, statement, parameters, _context, _many) -> None:
        statements.append((statement, parameters))

    engine = store._dialect.reading
    event.listen(engine, "before_cursor_execute", record)
    try:
        store.labels.list(query)
    finally:
        event.remove(engine, "before_cursor_execute", record)
    ((statement, parameters),) = statements
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    return " ".join(row[-1] for row in rows)


def test_labels_are_deleted_with_their_run(store: SqlStore) -> None:
    root, other = a_run(), a_run()
    child = a_run(parent=root)
    add_runs(store, [root, child, other])
    for run in (root, child, other):
        put(store, run, a="1")
    assert do(store, lambda uow: delete_tree(uow, root.id)) == 2
    assert [each.run_id for each in listed(store, key="a")] == [other.id]
    assert store.labels.get(root.id) is None


def test_reads_of_runs_do_not_touch_labels(store: SqlStore) -> None:
    run = a_run()
    add_runs(store, [run])
    put(store, run, a="1")
    statements: list[str] = []

    def record(_c, _cursor, statement, *_: object) -> None:
        statements.append(statement)

    engine = store._dialect.reading
    event.listen(engine, "before_cursor_execute", record)
    try:
        store.runs.get(RunKind.FLOW, run.id)
    finally:
        event.remove(engine, "before_cursor_execute", record)
    assert not any("label" in each for each in statements)
