"""Random stories about short runs, told as one event a run or as the three that it stands for."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.report_client import new_id

from flowspan_service.app.cancellations import BeginCancel, CancelBelow
from flowspan_service.app.event_records import NotUnderstood, ShortRun, run_ids_of
from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.runs import DeleteRun, SetState
from flowspan_service.app.sessions import EndSession, OpenSession
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.states import DEFAULT_NAMES, TERMINAL_TYPES, Cause, State, StateType
from flowspan_service.domain.verdicts import VerdictKind

if TYPE_CHECKING:
    from flowspan_service.app.event_records import ReportedEvent

ENDS = sorted(TERMINAL_TYPES)
LEASE_US = 30_000_000
_FILLER: ReportedEvent = ("", NotUnderstood("filler", ""))


def a_state(kind: int, time_us: int = 1, **fields: Any) -> State:
    return State(kind, DEFAULT_NAMES[kind], "", time_us, **fields)


def a_short_run(
    run_id: str,
    *,
    parent_id: str | None = None,
    first: int = StateType.PENDING,
    ended: State | None = None,
    times: tuple[int, int] = (1, 2),
    kind: int = RunKind.TASK,
    **content: Any,
) -> ReportedEvent:
    """Return the event of a short run."""
    values = {
        "function_name": "f", "run_name": "", "tags": (), "parameters": None, "trace": None,
        "version": "",
    } | content  # fmt: skip
    new = NewRun(
        id=run_id,
        kind=kind,
        parent_run_id=parent_id,
        root_run_id=parent_id or run_id,
        flow_run_id=None,
        created_us=times[0],
        state=a_state(first, times[0]),
        **values,
    )
    running = ProposedTransition(a_state(StateType.RUNNING, times[1]), 1, Cause.REPORTED)
    ended = ended or a_state(StateType.COMPLETED, times[1] + 1)
    return run_id, ShortRun(new, running, ProposedTransition(ended, 1, Cause.REPORTED))


@dataclass
class Story:
    """A random story: reports of two sessions, and requests in between.

    Attributes:
        run_ids: The runs that it is about.
        steps: The steps: a batch (of a session, its events), or another operation.
    """

    run_ids: list[str]
    steps: list[tuple[str, Any]] = field(default_factory=list)

    @classmethod
    def invented(cls, seed: int, *, runs: int = 8, steps: int = 30) -> Story:
        chance = random.Random(seed)
        story = cls([new_id() for _ in range(runs)])
        for _ in range(steps):
            run_id = chance.choice(story.run_ids)
            if chance.random() < 0.8:
                batch = [story._event(chance) for _ in range(chance.randint(1, 6))]
                story.steps.append((chance.choice("ab"), batch))
            else:
                kinds = ("cancel", "cancel_tree", "delete")
                story.steps.append((chance.choices(kinds, (4, 2, 1))[0], run_id))
        story.steps.append(("end", chance.choice("ab")))
        return story

    def _event(self, chance: random.Random) -> ReportedEvent:
        place = chance.randrange(len(self.run_ids))
        run_id = self.run_ids[place]
        times = chance.choice((1, 5)), chance.choice((6, 9))
        kind = chance.random()
        if kind < 0.6:
            # Mostly the same parent each time, so that creations agree.
            parent = None if place % 3 else self.run_ids[(place + 1) % len(self.run_ids)]
            return a_short_run(
                run_id,
                parent_id=parent,
                first=chance.choices(
                    (StateType.PENDING, StateType.SCHEDULED, StateType.RUNNING), (8, 3, 1)
                )[0],
                ended=a_state(chance.choice(ENDS), chance.choice((9, 12))),
                times=times,
                kind=self._kind(run_id),
                function_name=chance.choices(("f", "g"), (9, 1))[0],
            )
        if kind < 0.8:
            # So that a run is under way, or waits for its next attempt, when it comes again.
            short = a_short_run(run_id, times=times, kind=self._kind(run_id))[1]
            assert isinstance(short, ShortRun)
            return run_id, chance.choice((short.new, short.running))
        proposed = a_state(chance.choice(list(StateType)), times[1])
        return run_id, ProposedTransition(proposed, chance.choice((1, 1, 2)), Cause.REPORTED)

    def _kind(self, run_id: str) -> RunKind:
        """Return the kind of a run; only flow runs can be deleted."""
        return RunKind.TASK if self.run_ids.index(run_id) % 2 else RunKind.FLOW


class Telling:
    """A story told to a store.

    Args:
        store: A SqlStore or MemoryStore, empty.
        joined: True to report a short run as one event.
    """

    def __init__(self, store: Any, *, joined: bool) -> None:
        self._store = store
        self._joined = joined
        self._sessions = {name: new_id() for name in "ab"}
        self._sequences = dict.fromkeys("ab", 0)
        self.verdicts: list[tuple[Any, ...]] = []
        self.transition_count = 0
        for session_id in self._sessions.values():
            self._do(OpenSession(session_id, client={}, lease_us=LEASE_US))

    def tell(self, story: Story) -> dict[str, Any]:
        """Return what came of the story: everything that a reader could see."""
        for kind, what in story.steps:
            if kind == "cancel":
                for each in RunKind:
                    self._do_if_possible(SetState(each, what, a_state(StateType.CANCELLING)))
            elif kind == "cancel_tree":
                for each in RunKind:
                    self._do_if_possible(BeginCancel(each, what, "enough"))
                self._do(CancelBelow(what))
            elif kind == "delete":
                self._do_if_possible(DeleteRun(what, force=True))
            elif kind == "end":
                self._do(EndSession(self._sessions[what]))
            elif self._joined:
                self._report(kind, what)
            else:
                self._report_apart(kind, what)
        return self._outcome(story)

    def _report(self, name: str, events: list[ReportedEvent]) -> list[Any]:
        sequence = self._sequences[name]
        applied = self._do(
            ApplyReport(
                self._sessions[name],
                first_sequence=sequence + 1,
                events=events,
                run_ids=run_ids_of(events),
            )
        )
        self._sequences[name] = applied.up_to_sequence
        self.transition_count += applied.transition_count
        self.verdicts += [
            (name, each.sequence, each.kind, each.run_id, each.rule, each.reason, each.attempt)
            for each in applied.verdicts
            if each.rule != "filler"
        ]
        return applied.verdicts

    def _report_apart(self, name: str, events: list[ReportedEvent]) -> None:
        """Report the three events of each short run, unless the service refuses the first."""
        for run_id, what in events:
            if not isinstance(what, ShortRun):
                self._report(name, [(run_id, what)])
                continue
            answers = self._report(name, [(run_id, what.new)])
            if any(each.kind != VerdictKind.DUPLICATE for each in answers):
                self._report(name, [_FILLER, _FILLER])
            else:
                self._report(name, [(run_id, what.running), (run_id, what.ended)])

    def _outcome(self, story: Story) -> dict[str, Any]:
        names = {session_id: name for name, session_id in self._sessions.items()}
        runs = sorted(self._store.runs.load(story.run_ids), key=lambda run: run.id)
        for run in runs:
            run.session_id = names.get(run.session_id, run.session_id)
        changes = self._store.transitions.changes(after=0, run_id=None, limit=10_000)
        return {
            "verdicts": self.verdicts,
            "transitions": self.transition_count,
            "sequences": self._sequences,
            "runs": runs,
            "histories": [self._store.transitions.page(run.id).items for run in runs],
            "watched": [transition for transition, _ in changes.pairs],
        }

    def _do(self, operation: Any) -> Any:
        return self._store.submit(operation).result(60)

    def _do_if_possible(self, operation: Any) -> None:
        try:
            self._do(operation)
        except Exception as error:  # noqa: BLE001 - part of the story: the run does not exist yet
            self.verdicts.append(("refused", type(error).__name__))
