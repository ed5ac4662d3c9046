"""The span that makes a running flow findable.

A run's span is exported when the run ends, so a trace viewer does not know a flow that runs for
hours. A top-level flow run that still runs after two seconds exports a child span of no length,
which gives its trace a title and makes it findable. Later it is a harmless child of the flow.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

# Flushing the spans of a program's own provider must not create spans.
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

from flowspan import clock
from flowspan.own_threads import own_thread

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("flowspan.telemetry")

PENDING_AFTER_S = 2.0
"""Time after which a running top-level flow is shown."""


def show_later(show: Callable[[], object]) -> clock.Timer:
    """Call a function in a thread of its own, once the flow has run for a while.

    Args:
        show: Exports the span. It may block. Its exceptions are logged.

    Returns:
        The timer, to cancel at the end of the run.
    """

    def start() -> None:
        # A daemon: nothing waits for it at the end of the process. RuntimeError, if no thread can
        # be started, is ignored by the timer.
        own_thread("flowspan-pending", run).start()

    def run() -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
        try:
            show()
        except Exception:
            logger.debug("The span of a running flow was not sent.", exc_info=True)

    return clock.call_later(PENDING_AFTER_S, start)
