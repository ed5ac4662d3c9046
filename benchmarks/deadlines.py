"""The cost of a deadline, and its overrun, by mechanism.

`python -m benchmarks.deadlines [--json]`. Tasks whose events are discarded, with and without
`timeout_seconds`: in the main thread (an alarm signal), in another thread (an extra thread) and as
coroutines (asyncio). Beside them stand the ordinary ways: the time limit of a future, whose thread
is abandoned, and `asyncio.timeout`, around the bare function. The overrun is the time from the
deadline to the end of the call, in wall time. The costs are CPU time of the process, inside of a
flow. All figures are the median of several rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flowspan import flow, task
from flowspan.drivers.process import ProcessContext, set_process

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7
CALLS = 300
LATE_CALLS = 11
DEADLINE_S = 0.05
FAR_S = 60.0
STEP_S = 0.001


def nothing() -> None:
    """Do nothing."""


async def nothing_later() -> None:
    """Do nothing, asynchronously."""


def wait() -> None:
    """Wait in short steps, and stop at last after a second."""
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        time.sleep(STEP_S)


async def wait_later() -> None:
    """Wait asynchronously."""
    await asyncio.sleep(1.0)


@flow
def cost_us(call: Callable[[], object]) -> float:
    """Return the CPU time of a call in microseconds."""
    figures = []
    for _ in range(ROUNDS + 1):
        began = time.process_time()
        for _ in range(CALLS):
            call()
        figures.append((time.process_time() - began) / CALLS * 1e6)
    return statistics.median(figures[1:])


@flow
async def cost_later_us(call: Callable[[], Any]) -> float:
    """Return the CPU time of an asynchronous call in microseconds."""
    figures = []
    for _ in range(ROUNDS + 1):
        began = time.process_time()
        for _ in range(CALLS):
            await call()
        figures.append((time.process_time() - began) / CALLS * 1e6)
    return statistics.median(figures[1:])


def overrun_ms(call: Callable[[], object]) -> float:
    """Return the time from the deadline to the end of a call in milliseconds."""
    figures = []
    for _ in range(LATE_CALLS):
        began = time.perf_counter()
        with suppress(TimeoutError):
            call()
        figures.append((time.perf_counter() - began - DEADLINE_S) * 1e3)
    return statistics.median(figures)


def in_thread(function: Callable[[], Any]) -> Any:
    """Return the value of a function in another thread."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def with_future(function: Callable[[], object], timeout_s: float) -> None:
    """Call a function in a thread that is abandoned at the deadline."""
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(function).result(timeout_s)
    finally:
        pool.shutdown(wait=False)


async def with_asyncio(function: Callable[[], Any], timeout_s: float) -> None:
    """Await a coroutine with asyncio's own time limit."""
    async with asyncio.timeout(timeout_s):
        await function()


def figures() -> dict[str, float]:
    """Measure all mechanisms."""
    plain, far = task(nothing), task(timeout_seconds=FAR_S)(nothing)
    later, far_later = task(nothing_later), task(timeout_seconds=FAR_S)(nothing_later)
    late = task(timeout_seconds=DEADLINE_S)(wait)
    late_later: Any = task(timeout_seconds=DEADLINE_S)(wait_later)
    return {
        "task without a deadline (µs)": cost_us(plain),
        "task, main thread: alarm (µs)": cost_us(far),
        "task, other thread: extra thread (µs)": in_thread(lambda: cost_us(far)),
        "bare function, future with a limit (µs)": cost_us(lambda: with_future(nothing, FAR_S)),
        "async task without a deadline (µs)": asyncio.run(cost_later_us(later)),
        "async task with a deadline (µs)": asyncio.run(cost_later_us(far_later)),
        "bare coroutine, asyncio.timeout (µs)": asyncio.run(
            cost_later_us(lambda: with_asyncio(nothing_later, FAR_S))
        ),
        "overrun, main thread (ms)": overrun_ms(late),
        "overrun, other thread (ms)": in_thread(lambda: overrun_ms(late)),
        "overrun, future, thread abandoned (ms)": overrun_ms(lambda: with_future(wait, DEADLINE_S)),
        "overrun, async task (ms)": overrun_ms(lambda: asyncio.run(late_later())),
        "overrun, asyncio.timeout (ms)": overrun_ms(
            lambda: asyncio.run(with_asyncio(wait_later, DEADLINE_S))
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    process = ProcessContext(
        lambda event: None,
        flush=lambda: None,
        watch_commands=lambda run_id, inbox: None,
        forget=lambda run_id: None,
    )
    before = set_process(process)
    try:
        found = figures()
    finally:
        set_process(before)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name:44} {value:10,.1f}")


if __name__ == "__main__":
    main()
