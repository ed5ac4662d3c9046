"""The last signs of life of crashed runs, and the names of runs, as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.store.builders import a_run, add_runs, delete_tree, do, new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.stores.store import SqlStore


def test_last_signs(store_url: str, open_url: Callable[..., SqlStore]) -> None:
    store = open_url(store_url)
    runs = [a_run() for _ in range(3)]
    add_runs(store, runs)
    first, second, third = (run.id for run in runs)
    do(store, lambda uow: uow.last_signs.note(first, 5))
    do(store, lambda uow: uow.last_signs.note(second, 1 << 52))
    do(store, lambda uow: uow.last_signs.note(first, 7))
    store.close()
    store = open_url(store_url)
    assert store.last_signs.of([first, second, third, new_id()]) == {first: 7, second: 1 << 52}
    assert store.last_signs.of([]) == {}


def test_the_last_sign_goes_with_its_run(store: SqlStore) -> None:
    run = a_run()
    add_runs(store, [run])
    do(store, lambda uow: uow.last_signs.note(run.id, 5))
    do(store, lambda uow: delete_tree(uow, run.id))
    assert store.last_signs.of([run.id]) == {}


def test_function_names(store: SqlStore) -> None:
    runs = [a_run(function_name=name) for name in ("etl", "größe")]
    add_runs(store, runs)
    ids = [run.id for run in runs]
    assert store.runs.function_names([*ids, new_id()]) == dict(
        zip(ids, ("etl", "größe"), strict=True)
    )
    assert store.runs.function_names([]) == {}
