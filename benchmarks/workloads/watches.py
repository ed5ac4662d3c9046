"""Latency of a state to its watchers, and the cost of watchers of idle runs.

A state is reported every 50 ms, with one watcher of its tree and with 50, each over its own
connection. The latency is the time from the reporting call until a watcher has received the
state. Then events are reported as fast as they are stored, alternately without watchers and
with 50 watchers of other runs.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

import grpc

from benchmarks.watching import Session, created, entered, ingest, new_id
from benchmarks.workloads.support import Outcome, main
from flowspan.v1 import watch_service_pb2, watch_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MANY = 50
BETWEEN_S = 0.05
INGEST_S = 2.0
TURNS = (False, True, True, False)
"""True with watchers. The order compensates for the growth of the database."""


def connect() -> grpc.aio.Channel:
    """Return a new connection."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(os.environ["FLOWSPAN_ADDRESS"], options=options)


async def changes(channel: grpc.aio.Channel, run_id: str) -> AsyncIterator[Any]:
    """Yield None once the watch is established, and then its changes."""
    stub = watch_service_pb2_grpc.WatchServiceStub(channel)
    async for answer in stub.Watch(watch_service_pb2.WatchRequest(run_id=run_id)):
        if answer.HasField("snapshot_end"):
            yield None
        elif answer.HasField("change"):
            yield answer.change


async def latencies(watchers: int, states: int) -> list[float]:
    """Return the latency of each state to each watcher, in seconds."""
    root, reporting = new_id(), connect()
    session = Session(reporting)
    await session.report([created(root), entered(root, "RUNNING")])
    sent: dict[int, float] = {}
    found: list[float] = []
    standing = asyncio.Semaphore(0)

    async def watch() -> None:
        async with connect() as channel:
            async for change in changes(channel, root):
                if change is None:
                    standing.release()
                else:
                    found.append(time.perf_counter() - sent[change.transition.ordinal])

    watching = [asyncio.create_task(watch()) for _ in range(watchers)]
    for _ in watching:
        await standing.acquire()
    for ordinal in range(3, states + 3):
        await asyncio.sleep(BETWEEN_S)
        event = entered(root, "RUNNING")
        sent[ordinal] = time.perf_counter()
        await session.report([event])
    sent[states + 3] = time.perf_counter()
    await session.report([entered(root, "COMPLETED")])
    await asyncio.gather(*watching)
    await reporting.close()
    return found


def ingest_rate() -> float:
    """Return the transitions per second that a client in another process gets stored."""
    context = multiprocessing.get_context("spawn")
    counts = context.Queue()
    client = context.Process(target=ingest, args=(os.environ["FLOWSPAN_ADDRESS"], INGEST_S, counts))
    client.start()
    rate: float = counts.get()
    client.join()
    return rate


async def idle_cost() -> float:
    """Return the share of the ingest rate that is lost to watchers of idle runs."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    roots = [new_id() for _ in range(MANY)]
    async with connect() as channel:
        session = Session(channel)
        await session.report([created(root) for root in roots])
    await asyncio.to_thread(ingest_rate)  # warm-up
    for is_watched in TURNS:
        channels = [connect() for _ in roots] if is_watched else []
        watches = [changes(*each) for each in zip(channels, roots, strict=False)]
        for watch in watches:
            await anext(watch)
        rates[is_watched].append(await asyncio.to_thread(ingest_rate))
        for watch in watches:
            await watch.aclose()
        for channel in channels:
            await channel.close()
    return 1 - statistics.mean(rates[True]) / statistics.mean(rates[False])


def measure(count: int) -> Outcome:
    outcome = Outcome({})
    for watchers in (1, MANY):
        cuts = statistics.quantiles(asyncio.run(latencies(watchers, count)), n=20)
        outcome.figures[f"{watchers}, p50"] = cuts[9]
        outcome.figures[f"{watchers}, p95"] = cuts[18]
    outcome.figures["idle"] = asyncio.run(idle_cost())
    return outcome


if __name__ == "__main__":
    main(measure, count=100)
