"""The sessions whose spans have no receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from flowspan_service.domain.states import Cause

if TYPE_CHECKING:
    from flowspan_service.app.ports import Clock
    from flowspan_service.domain.runs import Run

log = structlog.get_logger("flowspan.spans")

KNOWN_US = 60_000_000
"""The time for which a session is known to have no receiver: its next Hello may name one."""
MAX_SESSIONS = 10_000


class UnreceivedSpans:
    """Knows the sessions without a receiver, and warns once for each that has a crashed run.

    `note` is for the exporter's thread, `is_known` for the writer's.

    Args:
        clock: The time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known_us: dict[str, int] = {}
        self._warned: set[str] = set()

    def is_known(self, session_id: str | None) -> bool:
        """Return True if a session had no receiver a moment ago."""
        at_us = self._known_us.get(session_id or "")
        return at_us is not None and self._clock.monotonic_us() - at_us < KNOWN_US

    def note(self, run: Run) -> None:
        """Note a run whose span has no receiver."""
        session_id = run.session_id or ""
        for memory in (self._known_us, self._warned):
            if len(memory) >= MAX_SESSIONS:
                memory.clear()
        self._known_us[session_id] = self._clock.monotonic_us()
        if run.cause != Cause.SESSION_LOST or session_id in self._warned:
            return
        self._warned.add(session_id)
        log.warning(
            "spans_have_no_receiver",
            session_id=session_id,
            run_id=run.id,
            reason="the process of the run is gone, and this service knows no receiver for its "
            "span: set --otlp-endpoint (FLOWSPAN_OTLP_ENDPOINT) for the service, or, for a "
            "program with a tracer provider of its own, FLOWSPAN_OTLP_ENDPOINT for the program; "
            "--client-otlp says whether the service uses the receivers of programs",
        )
