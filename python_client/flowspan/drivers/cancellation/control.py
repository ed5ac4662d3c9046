"""RunControl: the inbox of one run for the service's commands.

To add a kind of command, add its decoder to `flowspan.reporter.commands.DECODERS` and its handler
to `HANDLERS`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flowspan.core.commands import CANCEL
from flowspan.drivers.cancellation.one_run import cancel_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.commands import Command
    from flowspan.core.run import Run

_logger = logging.getLogger("flowspan.commands")


class RunControl:
    """The inbox of a run: hands each command to the handler of its kind.

    Args:
        run: The run.
    """

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    def take(self, command: Command) -> bool:
        """Handle a command; ignore one of an unknown kind. See `flowspan.core.commands.Inbox`."""
        handler = HANDLERS.get(command.kind)
        if handler is None:
            run_id = self._run.record.id
            _logger.debug("Run %s ignored a command of unknown kind %r.", run_id, command.kind)
            return False
        return handler(self._run, command)


def _cancel(run: Run, command: Command) -> bool:
    cancel_run(run, command.payload)
    return True


HANDLERS: dict[str, Callable[[Run, Command], bool]] = {CANCEL: _cancel}
"""The handler of each kind, called with the run and the command; returns as `Inbox` does. It may be
called in any thread, must return at once, and must be idempotent."""
