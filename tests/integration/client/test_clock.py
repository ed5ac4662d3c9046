"""Real clocks and waits, even if Python's own are patched."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from math import inf
from typing import TYPE_CHECKING

import freezegun
import pytest
import time_machine
from tests.support.flow_processes import run_code

from flowspan import clock
from flowspan.clock import aio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S = 60.0


@pytest.fixture(params=["real", "freezegun", "time-machine", "patched"])
def _stopped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "freezegun":
        with freezegun.freeze_time("2020-01-01"):
            yield
    elif request.param == "time-machine":
        with time_machine.travel("2020-01-01", tick=False):
            yield
    else:
        if request.param == "patched":
            for name in ("time", "monotonic", "perf_counter"):
                monkeypatch.setattr(time, name, lambda: 5.0)
            monkeypatch.setattr(time, "time_ns", lambda: 5)
            monkeypatch.setattr(time, "sleep", lambda _: None)
            monkeypatch.setattr(asyncio, "sleep", None)
        yield


def _wall_ns() -> int:
    return time.clock_gettime_ns(5)  # CLOCK_REALTIME_COARSE, which nothing patches.


needs_coarse_clock = pytest.mark.skipif(
    not hasattr(time, "CLOCK_BOOTTIME"), reason="needs Linux's clocks"
)


@pytest.mark.usefixtures("_stopped")
def test_waits_take_their_time() -> None:
    began_s = clock.monotonic()
    clock.sleep(0.02)
    assert clock.monotonic() - began_s >= 0.02
    reader, writer = os.pipe()
    try:
        assert not clock.wait_readable(reader, 0.02)
        assert clock.monotonic() - began_s >= 0.04
        os.write(writer, b"x")
        assert clock.wait_readable(reader, inf)
    finally:
        os.close(reader)
        os.close(writer)


@needs_coarse_clock
@pytest.mark.usefixtures("_stopped")
def test_the_time_is_the_real_one() -> None:
    before = _wall_ns()
    found = clock.now_ns()
    later = clock.wall_clock()()
    assert before <= found <= later
    assert later - before < WAIT_S * 1e9


@pytest.mark.usefixtures("_stopped")
def test_a_timer_makes_its_call() -> None:
    called, other = threading.Event(), threading.Event()
    never = clock.call_later(inf, other.set)
    cancelled = clock.call_later(0.001, other.set)
    cancelled.cancel()
    clock.call_later(0.01, called.set)
    assert called.wait(WAIT_S)
    assert not other.is_set()
    never.cancel()
    never.cancel()


def test_many_cancelled_timers_are_not_kept() -> None:
    timers = [clock.call_later(3600, list) for _ in range(2000)]
    for timer in timers:
        timer.cancel()
    assert len(clock._timers._heap) < 1000


FORKED = """
    import os, threading
    from flowspan import clock

    clock.call_later(0, list)  # the thread runs in this process
    child = os.fork()
    if not child:
        called = threading.Event()
        clock.call_later(0.001, called.set)
        os._exit(0 if called.wait(60) else 1)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_timer_in_a_forked_child(tmp_path: Path) -> None:
    run_code(FORKED, home=tmp_path)


@pytest.mark.usefixtures("_stopped")
def test_coroutines_wait() -> None:
    async def wait() -> None:
        began_s = clock.monotonic()
        await aio.sleep(0.02)
        assert clock.monotonic() - began_s >= 0.02
        await aio.sleep(0)
        with pytest.raises(TimeoutError):
            async with aio.Deadline(0.02) as deadline:
                await asyncio.Event().wait()
        assert deadline.expired()
        async with aio.Deadline(inf) as deadline:
            await aio.sleep(0.001)
        assert not deadline.expired()
        with pytest.raises(TimeoutError):
            async with aio.Deadline(-1):
                await asyncio.Event().wait()

    asyncio.run(wait())


def test_a_deadline_that_comes_nearer() -> None:
    async def wait() -> None:
        async with aio.Deadline(3600) as deadline:
            assert not deadline.advance(3000)
            threading.Thread(target=deadline.advance, args=(3000,)).start()
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(wait())


def test_a_loop_that_was_closed_is_not_told() -> None:
    async def leave() -> None:
        aio.after(0.01)

    asyncio.run(leave())
    called = threading.Event()
    clock.call_later(0.02, called.set)  # The timer thread has survived it.
    assert called.wait(WAIT_S)


def test_whether_the_clock_is_the_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not clock.is_patched()
    with freezegun.freeze_time("2020-01-01"):
        assert clock.is_patched()
        assert clock.program_ns() == 1_577_836_800_000_000_000
    with time_machine.travel(1_577_836_800, tick=False):
        assert clock.is_patched()
        assert clock.program_ns() == 1_577_836_800_000_000_000
    assert not clock.is_patched()

    def no_time() -> int:
        raise RuntimeError("no time")

    monkeypatch.setattr(time, "time_ns", no_time)
    assert clock.now_ns() <= clock.program_ns()


@pytest.fixture
def _own_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the clock's offset after a test that sets the clock."""
    monkeypatch.setattr(clock, "_offset_ns", clock.offset_ns())


HOUR_NS = 3600 * 10**9


@pytest.mark.usefixtures("_own_offset")
def test_the_time_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before, running = clock.now_ns(), clock.wall_clock()
    monkeypatch.setattr(clock, "_wall_ns", lambda: _wall_ns() - HOUR_NS)
    times = [before, running(), clock.now_ns(), clock.wall_clock()(), running(), clock.now_ns()]
    assert times == sorted(times)
    assert times[-1] - before < WAIT_S * 1e9
    assert clock.of_wall_ns(_wall_ns() - HOUR_NS) >= before


@pytest.mark.usefixtures("_own_offset")
def test_a_clock_that_was_set_forward_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    running = clock.wall_clock()
    before = running()
    monkeypatch.setattr(clock, "_wall_ns", lambda: _wall_ns() + HOUR_NS)
    assert running() - before < HOUR_NS, "a run that started earlier must keep its clock"
    clock.wall_clock()
    assert running() - before > HOUR_NS - 1e9  # The coarse clock of this test lags behind.


@pytest.mark.usefixtures("_own_offset")
def test_another_process_is_followed_forward_only() -> None:
    offset_ns = clock.offset_ns()
    clock.follow(offset_ns - HOUR_NS)
    assert clock.offset_ns() >= offset_ns
    clock.follow(offset_ns + HOUR_NS)
    assert clock.offset_ns() == offset_ns + HOUR_NS
