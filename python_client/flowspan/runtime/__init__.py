"""Facts about the current run.

`flowspan.runtime.flow_run.id`, `flowspan.runtime.task_run.name`, …; each is None (or empty) if
there is no such run.

In tests of user code, an environment variable overrides each of them, inside of runs and outside:
FLOWSPAN__RUNTIME__FLOW_RUN__NAME, FLOWSPAN__RUNTIME__TASK_RUN__RUN_COUNT, …; lists and dictionaries
are JSON.
"""

from __future__ import annotations

from flowspan.runtime import deployment, flow_run, task_run

__all__ = ["deployment", "flow_run", "task_run"]
