"""The time at the end of the process for the last exports of all signals together."""

from __future__ import annotations

import multiprocessing
from multiprocessing import util
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import clock
from flowspan.telemetry import logs, process_end

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, in a process that has not begun to end."""
    times = [100.0]
    monkeypatch.setattr(process_end, "_exit_began_s", None)
    monkeypatch.setattr(clock, "monotonic", lambda: times[0])
    return times


def test_the_end_of_the_process_waits_two_seconds_for_all_signals(now: list[float]) -> None:
    assert process_end.exit_time_left() == process_end.EXIT_FLUSH_S
    process_end.begin_exit()
    now[0] += 1.5
    process_end.begin_exit()
    assert process_end.exit_time_left() == pytest.approx(0.5)
    now[0] += 10
    assert 0 < process_end.exit_time_left() < 0.5


class Export:
    """Notes the time that is left when it is shut down."""

    def __init__(self, now: list[float]) -> None:
        self.now = now
        self.left_s: list[float] = []

    def shutdown(self) -> None:
        self.now[0] += 0.5
        self.left_s.append(process_end.exit_time_left())


def test_logs_may_end_first_and_start_the_time_for_all(
    now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    export = Export(now)
    monkeypatch.setattr(logs, "_current", lambda: export)
    logs._at_exit()
    assert export.left_s == [pytest.approx(1.5)], (
        "functions registered later run earlier, so before the provider's"
    )


def test_whichever_signal_ends_first_in_a_child_starts_the_time_for_all(
    now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[Callable[[], None]] = []

    def finalize(_: None, function: Callable[[], None], **options: Any) -> None:
        assert options == {"exitpriority": 10}
        registered.append(function)

    monkeypatch.setattr(util, "Finalize", finalize)
    export = Export(now)
    process_end.at_end_of_child(export.shutdown)
    assert not registered, "other processes call the functions of atexit"
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    process_end.at_end_of_child(export.shutdown)
    process_end.at_end_of_child(export.shutdown)
    for function in registered:
        function()
    assert export.left_s == [pytest.approx(1.5), pytest.approx(1.0)]
