"""Threads of flowspan itself, which belong to no run."""

from __future__ import annotations

import threading
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def own_thread(name: str, function: Callable[..., object], *arguments: Any) -> threading.Thread:
    """Return a new daemon thread that calls a function in an empty context.

    OpenTelemetry's instrumentation of threads, and Python itself if it is built without the GIL,
    give a thread the context in which it was started. A thread that outlives the run that started
    it would keep the values and the span of the run, and name them in its log records.
    """
    return threading.Thread(
        target=Context().run, args=(function, *arguments), name=name, daemon=True
    )
