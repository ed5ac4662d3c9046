"""Promise 4, legal histories: the rules against an independently written model.

The model keeps the whole history of a run and judges a proposal by that alone; the rules see the
row of the run. Both must agree on any proposals in any order, and the times, attempts and counts in
the row must follow from the history.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flowspan_service.domain.rules import transitions as rules
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.states import Cause, State, StateType
from flowspan_service.domain.verdicts import VerdictKind

WAITING = {"SCHEDULED", "PENDING"}
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
DEAD_ENDS = {"COMPLETED", "CANCELLED", "CANCELLING"}


@dataclass(frozen=True)
class Entry:
    """A state in a history, as names."""

    type: str
    name: str
    time: int
    attempt: int
    cause: str


@dataclass
class Model:
    """A run represented by its history."""

    history: list[Entry] = field(default_factory=list)

    @property
    def last(self) -> Entry:
        return self.history[-1]

    def answer(self, proposed: Entry) -> str:
        """ACCEPTED, DUPLICATE, REJECTED or ABORT."""
        last = self.last
        if proposed.attempt < last.attempt:
            return "ABORT"
        if proposed.attempt > last.attempt:
            next_one = proposed.attempt == last.attempt + 1
            begins = proposed.type in WAITING or proposed.type == "RUNNING"
            return "ACCEPTED" if next_one and begins and last.type not in DEAD_ENDS else "REJECTED"
        repeated = (proposed.type, proposed.name) == (last.type, last.name)
        if repeated and (proposed.time == last.time or proposed.cause == "REQUESTED"):
            return "DUPLICATE"
        return "ACCEPTED" if self._may_follow(proposed) else "REJECTED"

    def _may_follow(self, proposed: Entry) -> bool:
        last = self.last
        if last.type in ENDED:
            if (last.type, proposed.type, proposed.name) == (
                "COMPLETED",
                "COMPLETED",
                "RolledBack",
            ):
                return proposed.cause == "REPORTED" and last.name != "RolledBack"
            silent = last.type == "CRASHED" and last.cause == "SESSION_LOST"
            return silent and proposed.cause == "REPORTED"
        if proposed.type in ENDED:
            return True
        if last.type == "CANCELLING":
            return False
        if last.type == "RUNNING":
            return proposed.type != "PENDING"
        if last.type == "PAUSED":
            return proposed.type != "PAUSED"
        return True


class HistoryMachine(RuleBasedStateMachine):
    """Proposals at random, mostly near what the run is doing."""

    @initialize(first=st.sampled_from(sorted(WAITING)))
    def create(self, first: str) -> None:
        self.time = 1_000
        entry = Entry(first, first.capitalize(), self.time, 1, "REPORTED")
        self.model = Model([entry])
        self.run = Run(
            id="0190a000-0000-7000-8000-000000000001",
            kind=RunKind.FLOW,
            function_name="f",
            run_name="",
            parent_run_id=None,
            root_run_id="0190a000-0000-7000-8000-000000000001",
            flow_run_id="0190a000-0000-7000-8000-000000000001",
            tags=(),
            parameters=None,
            trace=None,
            version="",
            created_us=self.time,
            state=as_state(entry),
        )

    @rule(
        kind=st.sampled_from([kind.name for kind in StateType]),
        named=st.sampled_from(["", "", "Retrying", "RolledBack"]),
        step=st.sampled_from([0, 1, 1, 10, -5]),
        attempt=st.sampled_from([0, 0, 0, 0, 1, 1, -1, 2]),
        cause=st.sampled_from(["REPORTED", "REPORTED", "REPORTED", "REQUESTED"]),
    )
    def proposed(self, kind: str, named: str, step: int, attempt: int, cause: str) -> None:
        self.time += step
        number = max(1, self.model.last.attempt + attempt)
        self._wish(Entry(kind, named or kind.capitalize(), self.time, number, cause))

    @rule()
    def repeat(self) -> None:
        self._wish(self.model.last)

    @rule()
    def fall_silent(self) -> None:
        self.time += 1
        attempt = self.model.last.attempt
        self._wish(Entry("CRASHED", "Crashed", self.time, attempt, "SESSION_LOST"))

    def _wish(self, entry: Entry) -> None:
        expected = self.model.answer(entry)
        proposed = rules.ProposedTransition(as_state(entry), entry.attempt, Cause[entry.cause])
        objection = rules.decide(self.run, proposed)
        kind = VerdictKind.ACCEPTED if objection is None else objection.kind
        assert kind.name == expected, (entry, self.model.history)
        if objection is None:
            rules.enter(self.run, proposed)
            self.model.history.append(entry)

    @invariant()
    def the_row_follows_from_the_history(self) -> None:
        history, run = self.model.history, self.run
        starts = [entry.time for entry in history if entry.type == "RUNNING"]
        created = history[0].time
        started = max(starts[0], created) if starts else None
        ended = max(history[-1].time, started or created)
        assert StateType(run.state.type).name == self.model.last.type
        assert run.transition_count == len(history)
        assert run.attempt == self.model.last.attempt
        assert run.started_us == started
        assert run.ended_us == (ended if run.state.is_terminal else None)
        assert run.run_duration_us == self._time_in_running()
        if run.state.is_terminal:
            assert run.run_duration_us <= ended - (started or created)

    def _time_in_running(self) -> int:
        """The sum of the steps from RUNNING, at each end at most the time since the start."""
        begun, ran = None, 0
        for before, after in pairwise(self.model.history):
            if before.type == "RUNNING" or (before.type == "CANCELLING" and begun is not None):
                ran += max(0, after.time - before.time)
            if after.type == "RUNNING" and begun is None:
                begun = max(after.time, self.model.history[0].time)
            if after.type in ENDED and begun is not None:
                ran = min(ran, max(0, after.time - begun))
        return ran

    @invariant()
    def an_attempt_ends_once(self) -> None:
        for attempt in {entry.attempt for entry in self.model.history}:
            entries = [entry for entry in self.model.history if entry.attempt == attempt]
            ends = [e for e in entries if e.type in ENDED and e.cause != "SESSION_LOST"]
            if [e.type for e in ends] == ["COMPLETED", "COMPLETED"] and ends[
                0
            ].name != "RolledBack":
                assert ends.pop(0).attempt == ends[0].attempt
                assert ends[0].name == "RolledBack"
            assert len(ends) <= 1
            assert not ends or entries[-1] == ends[0]


def as_state(entry: Entry) -> State:
    return State(StateType[entry.type], entry.name, "", entry.time)


test_promise_legal_history_whatever_is_wished = HistoryMachine.TestCase
test_promise_legal_history_whatever_is_wished.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None
)
