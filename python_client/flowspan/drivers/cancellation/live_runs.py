"""The runs of this process, found when one is needed.

A registry would cost each call of a task. Commands to single calls are rare, so the lookup pays: it
asks the garbage collector, which takes about as long as a full collection.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from flowspan.core.run_objects import FlowRun, TaskRun

if TYPE_CHECKING:
    from flowspan.core.run import Run


def live_runs() -> list[Run]:
    """Return the runs that something refers to, in no particular order.

    They include runs that have ended, and the views of attempts (`Run.copy_for_attempt`).
    """
    # Every object refers to its class. Only these objects are returned, so no value of a user is
    # touched or kept alive.
    found = gc.get_referrers(FlowRun, TaskRun)
    runs: list[Run] = [each for each in found if type(each) is FlowRun or type(each) is TaskRun]
    # The attribute that `__init__` sets last: another thread may be creating a run.
    return [run for run in runs if hasattr(run, "asyncio_task")]
