"""Events that are held back until the run that they belong to was reported.

While user code makes the name of a run, the run is the current one but not reported yet: its record
is sent once, with the name in it. What that code logs, or calls, is reported after it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowspan.core.engine import EngineIO

current_hold: ContextVar[EngineIO | None] = ContextVar("flowspan_current_hold", default=None)
"""The world whose `emit` takes events while a run gets its name; None in all other code."""
