"""Background work."""

from __future__ import annotations

import asyncio

import pytest

from flowspan_service.loops.background import running, until_stopped


def test_work_runs_during_the_block_and_is_cancelled_at_its_end() -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    async def failing() -> None:
        raise ValueError("the others continue")

    async def test() -> None:
        async with running([work(), failing()]):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert seen == ["began"]
        assert seen == ["began", "ended"]

    asyncio.run(test())


def start(stopped: asyncio.Event, *, idle_since_us: int | None, timeout_s: float | None):
    waiting = until_stopped(
        stopped,
        idle_since_us=lambda: idle_since_us,
        monotonic_us=lambda: 10_000_000,
        timeout_s=timeout_s,
    )
    return asyncio.create_task(waiting)


def test_an_idle_service_stops() -> None:
    async def test() -> None:
        stopped = asyncio.Event()
        await asyncio.wait_for(start(stopped, idle_since_us=0, timeout_s=0.01), 60)
        assert stopped.is_set(), "a signal now ends the process"

    asyncio.run(test())


@pytest.mark.parametrize(("idle_since_us", "timeout_s"), [(None, 0.01), (0, None)])
def test_a_service_in_use_stops_on_the_signal(
    idle_since_us: int | None, timeout_s: float | None
) -> None:
    async def test() -> None:
        stopped = asyncio.Event()
        waiting = start(stopped, idle_since_us=idle_since_us, timeout_s=timeout_s)
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        stopped.set()
        await asyncio.wait_for(waiting, 60)

    asyncio.run(test())
