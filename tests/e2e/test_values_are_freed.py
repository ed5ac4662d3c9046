"""Values of runs, which must not wait for the garbage collector: they may be large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.flow_processes import run_code

if TYPE_CHECKING:
    from pathlib import Path

# In a process of its own: pytest keeps the log records of a test, and they know their runs.
PROGRAM = """
import asyncio, gc, time, weakref
from flowspan import flow, task
from flowspan.testing import flowspan_test_harness

class Large:
    pass

@task
def replace(value):
    return Large()

@flow
def plain(value):
    return replace(value)

@flow
def around(value):
    return plain(value)

@flow
def submitting(value):
    return replace.submit(value).result()

@flow
async def asynchronous(value):
    return replace(value)

@flow(timeout_seconds=60)
def limited(value):
    return replace(value)

def in_a_loop(value):
    return asyncio.run(asynchronous(value))

def keeps(run):
    value = Large()
    result = run(value)
    seen = weakref.ref(value), weakref.ref(result)
    del value, result
    # A thread of a task runner may still be about to let go of them.
    end = time.monotonic() + 10
    while any(each() is not None for each in seen) and time.monotonic() < end:
        time.sleep(0.01)
    return any(each() is not None for each in seen)

with flowspan_test_harness():
    runs = [replace, plain, around, submitting, in_a_loop, limited]
    for run in runs:
        run(Large())
    gc.collect()
    gc.disable()
    print("kept:", [getattr(run, "__name__", "") for run in runs if keeps(run)])
"""


def test_values_are_freed_without_the_garbage_collector(tmp_path: Path) -> None:
    assert "kept: []" in run_code(PROGRAM, home=tmp_path)
