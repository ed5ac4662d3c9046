"""Relay of a worker's events, which the parent reports as its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan import telemetry
from flowspan.core.events import ARTIFACT, CREATED, STATE
from flowspan.core.run_course import RunCourse
from flowspan.core.states import RUNNING, TERMINAL_TYPES, State, StateType
from flowspan.drivers.processes.pipe_messages import FORGET, WATCH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan.core.commands import Command, Inbox
    from flowspan.core.events import Event, RunRecord
    from flowspan.core.run import Run
    from flowspan.drivers.process import ProcessContext

_TERMINAL = frozenset(kind.number for kind in TERMINAL_TYPES)
_RUNNING = RUNNING.number


class _OpenRun:
    """A run of the worker that has not ended.

    Attributes:
        record: The run.
        created_ns: The time of its creation.
        attempt: The number of its attempt.
        course: The progress of its span.
    """

    __slots__ = ("attempt", "course", "created_ns", "record")

    def __init__(self, record: RunRecord, created_ns: int) -> None:
        self.record = record
        self.created_ns = created_ns
        self.attempt = 1
        self.course = RunCourse()

    def enter(self, attempt: int, state_type: int, time_ns: int) -> None:
        """Record that the run entered a state."""
        self.attempt = attempt
        if state_type == _RUNNING:
            self.course.begin(time_ns)
        else:
            self.course.stop(time_ns)


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
        self._open: dict[str, _OpenRun] = {}
        """The open runs of the worker, by their ids."""
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
                self._open[event[1].id] = _OpenRun(event[1], event[3])
            elif code == STATE:
                self._follow(event)
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
        for run_id, run in reversed(self._open.items()):
            now = self._process.now_ns()
            ended = STATE, run_id, run.attempt, number, name, message, now, None, None
            self._process.emit(ended)
            run.course.stop(now)
            flow = self._flow_of(run.record)
            state = number, name, message, now
            telemetry.end_lost(run.record, flow, run.created_ns, run.course, state)
        self._open.clear()
        return count

    def _follow(self, event: Event) -> None:
        """Track the state of an open run."""
        _, run_id, attempt, state_type, _, _, time_ns, *_ = event
        if state_type in _TERMINAL:
            self._open.pop(run_id, None)
        elif run_id in self._open:
            self._open[run_id].enter(attempt, state_type, time_ns)

    def _flow_of(self, record: RunRecord) -> RunRecord | None:
        """Return the record of the flow run that an open run belongs to."""
        if record.is_flow:
            return record
        found = self._open.get(record.flow_run_id or "")
        if found is not None:
            return found.record
        flow_run = None if self.caller is None else self.caller.flow_run
        if flow_run is not None and flow_run.record.id == record.flow_run_id:
            return flow_run.record
        return None

    def _note_artifact(self, event: Event) -> None:
        """Record an artifact on the caller's span; other runs have their spans in the worker."""
        _, artifact_id, run_id, key, kind, _, _, time_ns = event
        caller = self.caller
        if caller is not None and caller.span is not None and caller.record.id == run_id:
            caller.span.made_artifact(artifact_id, kind, key, time_ns)

    def _watch(self, run_id: str) -> None:
        self._watched.add(run_id)
        self._process.watch_commands(run_id, self._deliver)
