"""The reasons for which a run exists while its code does not run, as shown in traces."""

from __future__ import annotations

INPUT = "input"
"""Upstream runs have not ended."""
THREAD = "thread"
"""No thread of the task runner is free."""
PROCESS = "process"
"""No worker process is free, or a new one starts."""
LOCK = "lock"
"""Another run that computes the same result holds the lock of its cache key."""
RETRY = "retry"
"""The delay before the next attempt has not passed."""
NOTHING = ""
"""It no longer waits: its arguments are read or its result is looked up, for example."""
