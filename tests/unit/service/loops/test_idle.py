"""Shutdown of an idle service."""

from __future__ import annotations

import asyncio

import pytest

from flowspan_service.loops.idle import until_idle

TIMEOUT_S = 0.004


@pytest.mark.asyncio
async def test_use_puts_the_end_off() -> None:
    now_us, idle_since_us = 1_000_000, None
    looked = asyncio.Event()

    def since() -> int | None:
        looked.set()
        return idle_since_us

    waiting = asyncio.create_task(until_idle(since, lambda: now_us, timeout_s=TIMEOUT_S))

    async def look_again() -> None:
        for _ in range(2):
            looked.clear()
            await looked.wait()

    await look_again()  # The service is in use.
    assert not waiting.done()
    idle_since_us = now_us
    await look_again()  # It is idle, but not for long enough.
    assert not waiting.done()
    now_us += 4_000
    await waiting
