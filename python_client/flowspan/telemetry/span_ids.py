"""The ids of the spans of flowspan's own provider."""

from __future__ import annotations

import os
from random import Random

from opentelemetry.sdk.trace.id_generator import IdGenerator

_random = Random()  # noqa: S311 - ids are no secrets
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


class SpanIds(IdGenerator):
    """Random ids from a generator of their own.

    The SDK takes them from the functions of `random`. A flow that calls `random.seed(42)` would get
    other numbers with tracing than without, and two such processes would choose the same ids.
    """

    def generate_span_id(self) -> int:
        """Return a new span id."""
        return _random.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        """Return a new trace id."""
        return _random.getrandbits(128) or 1

    def is_trace_id_random(self) -> bool:
        """Return True, which sets the flag of W3C Trace Context."""
        return True
