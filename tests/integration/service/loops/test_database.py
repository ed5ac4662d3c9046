"""The loop that polls the database announces changes and survives its own errors."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.loops.database import watch_database


@pytest.mark.asyncio
async def test_each_change_is_told_once() -> None:
    answers: list[str | Exception | None] = [
        None,
        "gone",
        "gone",
        OSError("?"),
        "other",
        None,
        None,
    ]

    class Changing(MemoryStore):
        def problem(self) -> str | None:
            answer = answers.pop(0) if answers else None
            if isinstance(answer, Exception):
                raise answer
            return answer

    told: list[str] = []

    async def tell(problem: str) -> None:
        told.append(problem)

    running = asyncio.create_task(watch_database(Changing(ManualClock()), tell, interval_s=0.001))
    while answers:
        assert not running.done()
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)
    running.cancel()
    assert told == ["gone", "other", ""]
