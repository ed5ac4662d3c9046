"""Threads of flowspan itself."""

from __future__ import annotations

from contextvars import ContextVar

from flowspan.own_threads import own_thread

marker: ContextVar[str] = ContextVar("marker", default="none")


def test_the_function_runs_with_its_arguments_in_an_empty_context() -> None:
    marker.set("of the run")
    seen: list[tuple[str, int, int]] = []
    thread = own_thread("flowspan-test", lambda a, b: seen.append((marker.get(), a, b)), 1, 2)
    assert thread.daemon
    assert thread.name == "flowspan-test"
    thread.start()
    thread.join()
    assert seen == [("none", 1, 2)]
