"""A recorder of events that summarizes them and checks them against the service's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.core.commands import CANCEL, Command
from flowspan.core.events import (
    ARTIFACT,
    ARTIFACT_CHANGE,
    CREATED,
    LOG,
    STATE,
    Event,
    RunRecord,
)
from flowspan_service.domain.rules.transitions import ProposedTransition, decide, enter
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.states import TERMINAL_TYPES, Cause, State, StateType

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from flowspan.core.commands import Inbox


class Recorder:
    """A fake reporter that records events."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.outer_runs: set[str] = set()
        self.flushes = 0
        self.inboxes: dict[str, Inbox] = {}
        self.cancels: dict[str, Callable[[str], Any]] = {}

    def flush(self) -> None:
        self.flushes += 1

    def watch_commands(self, run_id: str, inbox: Inbox) -> None:
        self.inboxes[run_id] = inbox
        self.cancels[run_id] = lambda reason: inbox(Command(CANCEL, run_id, reason))

    def forget(self, run_id: str) -> None:
        del self.inboxes[run_id], self.cancels[run_id]

    @property
    def runs(self) -> list[RunRecord]:
        """The runs in order of creation."""
        return [event[1] for event in self.events if event[0] == CREATED]

    def run(self, name: str) -> RunRecord:
        """Return the only run of a flow or task."""
        (found,) = [run for run in self.runs if run.function_name == name]
        return found

    def states(self, run: RunRecord | str) -> list[tuple[str, int]]:
        """Return the state names of a run after Pending, each with its attempt."""
        record = self.run(run) if isinstance(run, str) else run
        return [(e[4], e[2]) for e in self.events if e[0] == STATE and e[1] == record.id]

    def end(self, run: RunRecord | str) -> tuple[str, str]:
        """Return the type and the name of a run's last state."""
        record = self.run(run) if isinstance(run, str) else run
        event = [e for e in self.events if e[0] == STATE and e[1] == record.id][-1]
        return StateType(event[3]).name, event[4]

    def last_event(self, run: RunRecord | str) -> Event:
        """Return the event of a run's last state."""
        record = self.run(run) if isinstance(run, str) else run
        return [e for e in self.events if e[0] == STATE and e[1] == record.id][-1]

    def logs(self, run: RunRecord | str | None = None, level: int = 0) -> list[str]:
        """Return the messages that a run logged, or all messages."""
        record = self.run(run) if isinstance(run, str) else run
        return [
            event[6]
            for event in self.events
            if event[0] == LOG and event[3] >= level and (not record or event[1] == record.id)
        ]

    def check_legal(self) -> None:
        """Check that each run was created before its states and that the service accepts them."""
        for run in check_legal(self.events, self.outer_runs):
            assert run.state.type in TERMINAL_TYPES, f"{run.run_name} was left {run.state.name}"
        assert not self.cancels, "ended runs are still registered for cancellation"


def check_legal(events: Iterable[Event], outer_runs: Collection[str] = ()) -> list[Run]:
    """Apply the service's rules to the events; return the runs as the service would store them.

    Args:
        events: The events.
        outer_runs: Runs of other processes, which may be parents and roots.

    Raises:
        AssertionError: A rule rejects an event.
    """
    runs: dict[str, Run] = {}
    for event in events:
        if event[0] == CREATED:
            run = _created(event)
            assert run.id not in runs, "the run was created twice"
            known = {None, *runs, *outer_runs}
            assert run.parent_run_id in known
            assert run.root_run_id in known or run.root_run_id == run.id
            runs[run.id] = run
        elif event[0] == STATE:
            _, run_id, attempt, kind, name, message, time_ns, _failure, scheduled_ns = event
            assert type(kind) is int
            state = State(StateType(kind), name, message, time_ns // 1000)
            assert (scheduled_ns is not None) == (kind == StateType.SCHEDULED)
            proposed = ProposedTransition(state, attempt, Cause.REPORTED)
            objection = decide(runs[run_id], proposed)
            assert objection is None, f"{runs[run_id]}: {name}: {objection}"
            enter(runs[run_id], proposed)
        elif event[0] == ARTIFACT:
            assert not event[2] or event[2] in runs
        elif event[0] != ARTIFACT_CHANGE:
            assert event[0] == LOG
            assert event[1] in runs
    return list(runs.values())


def _created(event: Event) -> Run:
    _, record, name, time_ns = event
    return Run(
        id=record.id,
        kind=RunKind.FLOW if record.is_flow else RunKind.TASK,
        function_name=record.function_name,
        run_name=record.run_name,
        parent_run_id=record.parent_run_id,
        root_run_id=record.root_run_id,
        flow_run_id=record.flow_run_id,
        tags=record.tags,
        parameters=None,
        trace=None,
        version=record.version,
        created_us=time_ns // 1000,
        state=State(StateType.PENDING, name, "", time_ns // 1000),
    )
