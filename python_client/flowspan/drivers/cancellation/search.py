"""Delivery of commands to runs without an inbox: submitted and directly called tasks."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.drivers.cancellation.control import RunControl
from flowspan.drivers.cancellation.live_runs import live_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flowspan.core.commands import Command

_logger = logging.getLogger("flowspan.commands")

_PAUSE_S = 0.02
_PAUSE_SHARE = 9.0
"""The pause after a search, in multiples of its duration: a flood of commands, which a deleted tree
of runs may cause, must not slow down the program."""


class Search:
    """A search for the runs of commands, in a thread that lives only while there are any.

    Args:
        elsewhere: Takes the commands whose runs are not in this process; returns True if it knows
            the run.
    """

    def __init__(self, elsewhere: Callable[[Command], bool] = lambda _: False) -> None:
        self._elsewhere = elsewhere
        self._lock = threading.Lock()
        self._wanted: dict[tuple[str, str], Command] = {}
        self._is_going_on = False

    def ask(self, command: Command) -> None:
        """Deliver a command to its run, if there is one. Returns at once.

        Raises:
            RuntimeError: The system has no more threads.
        """
        with self._lock:
            self._wanted[command.kind, command.run_id] = command
            if self._is_going_on:
                return
            thread = threading.Thread(target=self._search, name="flowspan-search", daemon=True)
            thread.start()
            self._is_going_on = True

    def _search(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, {}
                if not wanted:
                    self._is_going_on = False
                    return
            began_s = clock.monotonic()
            self._deliver(wanted.values())
            clock.sleep(_PAUSE_S + _PAUSE_SHARE * (clock.monotonic() - began_s))

    def _deliver(self, commands: Iterable[Command]) -> None:
        runs = {run.record.id: run for run in live_runs() if run.copy_of is None}
        for command in commands:
            run = runs.get(command.run_id)
            try:
                if run is not None:
                    RunControl(run).take(command)
                elif not self._elsewhere(command):
                    # It has ended, or belongs to another session of this program.
                    _logger.debug("Run %s of %r was not found.", command.run_id, command.kind)
            except Exception:  # the other commands must arrive, too
                _logger.exception("run %s failed to handle %r", command.run_id, command.kind)
