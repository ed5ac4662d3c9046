"""Crash points."""

from __future__ import annotations

import os
import signal

import pytest

from flowspan_service.process.crash_points import crash_point


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: found.append(arguments))
    return found


def test_the_process_dies_at_the_given_visit(kills: list[tuple[int, int]]) -> None:
    reached = crash_point("before_commit", 2)
    assert reached is not None
    for name in ("before_commit", "after_commit", "after_commit"):
        reached(name)
    assert not kills
    reached("before_commit")
    assert kills == [(os.getpid(), signal.SIGKILL)]
    reached("before_commit")
    assert len(kills) == 1


def test_other_points_are_not_watched() -> None:
    assert crash_point(None, 1) is None
    assert crash_point("before_ack", 1, elsewhere=["before_ack"]) is None
