"""A fork waits for calls of gRPC, which would abort its child."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from flowspan.telemetry import channel_gate
from flowspan.telemetry.channel_gate import ChannelGate

if TYPE_CHECKING:
    import pytest

WAIT_S = 10.0


def fork() -> int:
    """Fork a child that says whether it can make a call; return its exit code."""
    child = os.fork()
    if not child:
        code = 1
        try:
            free = all(gate.lock.acquire(blocking=False) for gate in list(channel_gate._gates))
            code = 0 if free else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_fork_waits_for_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_gate, "FORK_WAIT_S", WAIT_S)
    gate, other = ChannelGate(), ChannelGate()
    is_calling, may_end, codes = threading.Event(), threading.Event(), []

    def call() -> None:
        with gate:
            is_calling.set()
            assert may_end.wait(WAIT_S)

    calling = threading.Thread(target=call)
    calling.start()
    assert is_calling.wait(WAIT_S)
    forking = threading.Thread(target=lambda: codes.append(fork()))
    forking.start()
    forking.join(0.05)
    assert forking.is_alive()
    may_end.set()
    forking.join(WAIT_S)
    calling.join(WAIT_S)
    assert codes == [0]
    with gate, other:
        pass


def test_a_call_that_takes_long_does_not_prevent_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_gate, "FORK_WAIT_S", 0.0)
    gate = ChannelGate()
    with gate:
        assert fork() == 0, "the child has gates of its own"
        assert not gate.lock.acquire(blocking=False), "the call still holds it"
    with gate:
        pass


def test_forks_in_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_gate, "FORK_WAIT_S", WAIT_S)
    gate, codes = ChannelGate(), []
    threads = [threading.Thread(target=lambda: codes.append(fork())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert codes == [0] * 4
    with gate:
        pass
