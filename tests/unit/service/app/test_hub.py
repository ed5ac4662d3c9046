"""Waiting for the next commit."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flowspan_service.app.hub import CommitHub

WAIT_S = 60.0


def commit(hub: CommitHub) -> None:
    hub(position=1, log_position=1, ended=[])


@pytest.mark.asyncio
async def test_commit_of_another_thread_wakes_all_that_wait() -> None:
    hub = CommitHub(asyncio.get_running_loop())
    waits = [asyncio.create_task(hub.wait(after=hub.generation, timeout_s=3600)) for _ in range(3)]
    await asyncio.sleep(0)
    threading.Thread(target=commit, args=(hub,)).start()
    await asyncio.wait_for(asyncio.gather(*waits), WAIT_S)
    assert hub.generation == 1


@pytest.mark.asyncio
async def test_commit_between_reading_and_waiting_is_not_missed() -> None:
    hub = CommitHub(asyncio.get_running_loop())
    generation = hub.generation
    commit(hub)
    await asyncio.wait_for(hub.wait(after=generation, timeout_s=3600), WAIT_S)
    assert hub.generation == generation + 1


@pytest.mark.asyncio
async def test_waiting_ends_by_itself() -> None:
    hub = CommitHub(asyncio.get_running_loop())
    generation = hub.generation
    await asyncio.wait_for(hub.wait(after=generation, timeout_s=0.001), WAIT_S)
    assert hub.generation == generation, "nothing was committed"


def test_commit_after_the_loop_ended_is_of_no_interest() -> None:
    loop = asyncio.new_event_loop()
    hub = CommitHub(loop)
    loop.close()
    commit(hub)
    assert hub.generation == 1
