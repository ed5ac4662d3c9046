"""Relay of a worker's events, which the parent reports as its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan import telemetry
from flowspan.core.events import ARTIFACT, CREATED, STATE
from flowspan.core.states import TERMINAL_TYPES, State, StateType
from flowspan.drivers.processes.pipe_messages import FORGET, WATCH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan.core.commands import Command, Inbox
    from flowspan.core.events import Event, RunRecord
    from flowspan.core.run import Run
    from flowspan.drivers.process import ProcessContext

_TERMINAL = frozenset(kind.number for kind in TERMINAL_TYPES)


class Relay:
    """A relay for the events of one worker, which tracks the open runs of the worker.

    Args:
        process: The parent's process context.
        deliver: Sends a command of the service to the worker.

    Attributes:
        caller: The run whose function the worker is calling; else None. Its span is in this
            process.
    """

    def __init__(self, process: ProcessContext, deliver: Inbox) -> None:
        self.caller: Run | None = None
        self._process = process
        self._deliver = deliver
        self._open: dict[str, tuple[RunRecord, int]] = {}
        """The open runs of the worker, with their creation times."""
        self._attempts: dict[str, int] = {}
        """The current attempt of each open run that has begun."""
        self._watched: set[str] = set()

    def open(self) -> None:
        """Make the worker known to its process context, until `end_open`."""
        self._process.relays[id(self)] = self

    def deliver(self, command: Command) -> bool:
        """Send the worker a command, if the run is open there; else return False."""
        if command.run_id not in self._open:
            return False
        self._deliver(command)
        return True

    def take(self, events: Iterable[Event]) -> None:
        """Relay events to the parent's reporter."""
        emit = self._process.emit
        for event in events:
            code = event[0]
            if code == CREATED:
                self._open[event[1].id] = event[1], event[3]
            elif code == STATE:
                if event[3] in _TERMINAL:
                    self._open.pop(event[1], None)
                    self._attempts.pop(event[1], None)
                else:
                    self._attempts[event[1]] = event[2]
            elif code == ARTIFACT:
                self._note_artifact(event)
            elif code == WATCH:
                self._watch(event[1])
                continue
            elif code == FORGET:
                self._watched.discard(event[1])
                self._process.forget(event[1])
                continue
            emit(event)

    def end_open(self, kind: StateType, message: str) -> int:
        """End the runs that a dead worker left open, inner ones first.

        Args:
            kind: The type of their terminal state.
            message: The reason.

        Returns:
            The number of open runs.
        """
        self._process.relays.pop(id(self), None)
        for run_id in self._watched:
            self._process.forget(run_id)
        self._watched.clear()
        count = len(self._open)
        name, number = State(kind).name, kind.number
        for run_id, (record, created_ns) in reversed(self._open.items()):
            now = self._process.now_ns()
            attempt = self._attempts.get(run_id, 1)
            self._process.emit((STATE, run_id, attempt, number, name, message, now, None, None))
            telemetry.end_lost(record, created_ns, (number, name, message, now))
        self._open.clear()
        self._attempts.clear()
        return count

    def _note_artifact(self, event: Event) -> None:
        """Record an artifact on the caller's span; other runs have their spans in the worker."""
        _, artifact_id, run_id, key, kind, _, _, time_ns = event
        caller = self.caller
        if caller is not None and caller.span is not None and caller.record.id == run_id:
            caller.span.made_artifact(artifact_id, kind, key, time_ns)

    def _watch(self, run_id: str) -> None:
        self._watched.add(run_id)
        self._process.watch_commands(run_id, self._deliver)
