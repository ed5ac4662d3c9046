"""A fork waits for the imports of other threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from flowspan.telemetry import fork_guard
from flowspan.telemetry.fork_guard import ForkGuard

if TYPE_CHECKING:
    import pytest


def test_a_fork_waits_for_an_import() -> None:
    guard, order = ForkGuard(), []
    imports, may_end = threading.Event(), threading.Event()

    def importing() -> None:
        with guard.no_fork():
            imports.set()
            assert may_end.wait(60)
            order.append("imported")

    def forking() -> None:
        guard.before_fork()
        order.append("forks")
        guard.after_in_parent()

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(importing)
        assert imports.wait(60)
        other = threads.submit(forking)
        may_end.set()
        one.result(60)
        other.result(60)
    assert order == ["imported", "forks"]
    with guard.no_fork():
        guard.before_fork()  # the thread that imports may fork itself
        guard.after_in_parent()


def test_a_fork_does_not_wait_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_guard, "LONGEST_WAIT_S", 0.01)
    guard = ForkGuard()
    imports, may_end = threading.Event(), threading.Event()

    def importing() -> None:
        with guard.no_fork():
            imports.set()
            assert may_end.wait(60)

    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(importing)
        assert imports.wait(60)
        guard.before_fork()
        guard.after_in_parent()  # releases nothing
        may_end.set()
        done.result(60)
    guard.before_fork()
    guard.after_in_child()
    with guard.no_fork():
        pass
