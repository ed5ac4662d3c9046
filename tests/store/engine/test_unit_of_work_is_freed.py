"""Memory of transactions, which must not wait for the garbage collector."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

from tests.store.builders import a_run

if TYPE_CHECKING:
    from flowspan_service.app.ports import Store, UnitOfWork


class Remember:
    """An operation that creates a run, and keeps a weak reference to its unit of work."""

    weight = 1
    run_ids: tuple[str, ...] = ()

    def __call__(self, uow: UnitOfWork) -> weakref.ref[Any]:
        uow.runs.add(a_run())
        return weakref.ref(uow)


def test_a_unit_of_work_is_freed_without_the_garbage_collector(store: Store) -> None:
    gc.disable()
    try:
        unit = store.submit(Remember()).result(timeout=30)
        store.submit(Remember()).result(timeout=30)
        assert unit() is None
    finally:
        gc.enable()
