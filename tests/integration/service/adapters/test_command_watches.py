"""Watches of commands, woken from another thread."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flowspan_service.adapters.command_watches import CommandWatches

WAIT_S = 60.0


@pytest.mark.asyncio
async def test_news_of_another_thread_wake_all_watches_of_the_session() -> None:
    watches = CommandWatches()
    with watches.watch("a") as one, watches.watch("a") as two, watches.watch("b") as other:
        threading.Thread(target=watches, args=({"a", "c"},)).start()
        assert await asyncio.gather(one.news(WAIT_S), two.news(WAIT_S)) == [True, True]
        assert not await other.news(0)
        assert watches.sessions() == ["a", "b"]
    assert len(watches) == 0


@pytest.mark.asyncio
async def test_news_between_taking_and_waiting_are_not_missed() -> None:
    watches = CommandWatches()
    with watches.watch("a") as watch:
        watch.take()
        watches({"a"})
        assert await watch.news(WAIT_S)
        assert await watch.news(0)
        watch.take()
        assert not await watch.news(0.001)
        watches.wake_all()
        assert await watch.news(0)


@pytest.mark.asyncio
async def test_news_for_others_do_not_touch_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    watches = CommandWatches()
    watches({"a"})  # before the first watch
    with watches.watch("a"):
        calls: list[object] = []
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *call: calls.append(call))
        watches({"b"})
        assert calls == []
        watches({"a"})
        assert len(calls) == 1
        monkeypatch.undo()
    watches({"a"})  # after the last


def test_news_after_the_end_of_the_loop_are_dropped() -> None:
    watches = CommandWatches()

    async def leave_open() -> None:
        watches.watch("a").__enter__()

    asyncio.run(leave_open())
    watches({"a"})
