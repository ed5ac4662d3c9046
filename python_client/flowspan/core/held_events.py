"""Events that are held back until their run is reported.

While user code computes the name of a run, that run is already current but not yet reported: its
record is sent once, with its name. Logs and nested runs of that code are reported after it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowspan.core.engine import EngineIO

current_hold: ContextVar[EngineIO | None] = ContextVar("flowspan_current_hold", default=None)
"""The engine I/O whose `emit` holds events back while a run gets its name; else None."""
