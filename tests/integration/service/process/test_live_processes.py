"""The processes of this machine: whether one that was seen still exists."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flowspan_service.process import live_processes
from flowspan_service.process.live_processes import exists, mark_of

HERE = socket.gethostname()

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="only Linux has the marks of processes"
)


def test_a_process_that_lives_and_dies() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        mark = mark_of(process.pid, HERE)
        assert mark
        assert mark == mark_of(process.pid, HERE)
        assert exists(process.pid, HERE, mark) is True
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert exists(process.pid, HERE, mark) is False, "its parent has not noticed the end yet"
    assert exists(process.pid, HERE, mark) is False
    assert mark_of(process.pid, HERE) == ""


def test_another_process_with_the_same_id() -> None:
    mark = mark_of(os.getpid(), HERE)
    boot, _, started = mark.partition("/")
    assert exists(os.getpid(), HERE, f"{boot}/{int(started) + 1}") is False
    assert exists(os.getpid(), HERE, f"of an earlier boot/{started}") is False


def test_nothing_is_known_of_other_machines() -> None:
    mark = mark_of(os.getpid(), HERE)
    assert mark_of(os.getpid(), f"{HERE}x") == ""
    assert exists(os.getpid(), f"{HERE}x", mark) is None
    assert exists(os.getpid(), HERE, "") is None
    for number in (0, -1, 1 << 40):
        assert mark_of(number, HERE) == ""


def test_a_process_of_another_user_is_none_of_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id from another container may be that of any process here."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert mark_of(os.getpid(), HERE) == ""


def test_a_system_without_marks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mark = mark_of(os.getpid(), HERE)
    monkeypatch.setattr(live_processes, "_PROC", tmp_path)
    live_processes._boot.cache_clear()
    try:
        assert mark_of(os.getpid(), HERE) == ""
        assert exists(os.getpid(), HERE, mark) is None
    finally:
        live_processes._boot.cache_clear()
