"""Facts about the run whose code is running.

`flowspan.runtime.flow_run.id`, `flowspan.runtime.task_run.name`, …; each is None (or empty) where
there is no such run.
"""

from __future__ import annotations

from flowspan.runtime import flow_run, task_run

__all__ = ["flow_run", "task_run"]
