"""Runs whose times come from several clocks: no duration is negative, and known clocks agree."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.app.event_records import ReportedEvent, ShortRun, Untimed
from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.runs import CreateRun, SetState
from flowspan_service.app.sessions import EndSession, Introduction, OpenSession
from flowspan_service.domain.clocks import SAME_CLOCK_US
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun, Run, RunKind
from flowspan_service.domain.states import Cause, State, StateType
from flowspan_service.domain.verdicts import VerdictKind

S = StateType
HOUR_S = 3600
RUN = "r"


@dataclass
class Client:
    """A process with a clock of its own.

    Attributes:
        store: The service.
        ahead_s: The client's clock minus the service's.
        sends_time: True if its Hello has a time.
        says_times: True if its events have one.
    """

    store: MemoryStore
    ahead_s: float = 0.0
    sends_time: bool = True
    says_times: bool = True

    def __post_init__(self) -> None:
        self.id = str(uuid.uuid4())
        self.sequence = 1
        self.hello()

    def now_us(self) -> int:
        return self.store.clock.now_us() + round(self.ahead_s * 1e6)

    def hello(self, *, recovering: bool = False) -> None:
        offset_us = self.store.clock.now_us() - self.now_us() if self.sends_time else None
        said = Introduction(clock_offset_us=offset_us, is_recovering=recovering)
        self.store.do(OpenSession(self.id, client={}, lease_us=30_000_000, introduction=said))

    def create(self) -> list[VerdictKind]:
        state = self._state(S.PENDING)
        new = NewRun(
            RUN, RunKind.FLOW, "f", "", None, RUN, None, (), None, None, "", state.time_us, state
        )
        return self._report((RUN, new if self.says_times else Untimed(new)))

    def enter(self, kind: StateType, *, attempt: int = 1) -> list[VerdictKind]:
        proposed = ProposedTransition(self._state(kind), attempt, Cause.REPORTED)
        return self._report((RUN, proposed if self.says_times else Untimed(proposed)))

    def report_short(self) -> list[VerdictKind]:
        """Report a run of 3 s that begins now, in one event."""
        states = [self._state(S.PENDING), self._state(S.RUNNING)]
        self.store.clock.advance(3)
        states.append(self._state(S.COMPLETED))
        pending, running, ended = states
        running.time_us = self.now_us() - 3_000_000  # its time is required
        new = NewRun(
            RUN, RunKind.FLOW, "f", "", None, RUN, None, (), None, None, "", pending.time_us,
            pending,
        )  # fmt: skip
        end = ProposedTransition(ended, 1, Cause.REPORTED)
        begin = ProposedTransition(running, 1, Cause.REPORTED)
        if self.says_times:
            return self._report((RUN, ShortRun(new, begin, end)))
        return self._report((RUN, ShortRun(Untimed(new), begin, Untimed(end))))

    def goodbye(self) -> None:
        self.store.do(EndSession(self.id))

    def _state(self, kind: StateType) -> State:
        at_us = self.now_us() if self.says_times else self.store.clock.now_us()
        return State(kind, kind.name.capitalize(), "", at_us)

    def _report(self, event: ReportedEvent) -> list[VerdictKind]:
        operation = ApplyReport(
            self.id, first_sequence=self.sequence, events=[event], run_ids=[RUN]
        )
        self.sequence += 1
        return [VerdictKind(verdict.kind) for verdict in self.store.do(operation).verdicts]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


def the_run(store: MemoryStore) -> Run:
    run = store.runs.get(RunKind.FLOW, RUN)
    assert run is not None
    return run


def times_s(store: MemoryStore) -> tuple[float, float, float]:
    """The wait before the start, the time from start to end, and the run duration."""
    run = the_run(store)
    assert run.started_us is not None
    assert run.ended_us is not None
    return (
        (run.started_us - run.created_us) / 1e6,
        (run.ended_us - run.started_us) / 1e6,
        run.run_duration_us / 1e6,
    )


AHEAD = pytest.mark.parametrize("ahead_s", [0.0, HOUR_S, -HOUR_S], ids=["same", "ahead", "behind"])


@AHEAD
def test_a_run_that_crashes_has_its_real_duration(store: MemoryStore, ahead_s: float) -> None:
    client = Client(store, ahead_s)
    client.create()
    store.clock.advance(2)
    client.enter(S.RUNNING)
    store.clock.advance(30)
    client.goodbye()
    assert the_run(store).state.type == S.CRASHED
    assert times_s(store) == (2, 30, 30)


@AHEAD
def test_a_run_that_is_cancelled_has_its_real_duration(store: MemoryStore, ahead_s: float) -> None:
    client = Client(store, ahead_s)
    client.create()
    client.enter(S.RUNNING)
    store.clock.advance(5)
    store.do(SetState(RunKind.FLOW, RUN, State(S.CANCELLING, "Cancelling", "", 0)))
    store.clock.advance(1)
    client.enter(S.CANCELLED)
    assert times_s(store) == (0, 6, 6)


@AHEAD
def test_silence_is_overruled_by_another_process(store: MemoryStore, ahead_s: float) -> None:
    client = Client(store, ahead_s)
    client.create()
    client.enter(S.RUNNING)
    client.goodbye()
    store.clock.advance(5)
    second = Client(store)
    second.enter(S.RUNNING)
    store.clock.advance(5)
    second.goodbye()
    assert times_s(store) == (0, 10, 5)


@pytest.mark.parametrize("second_s", [0.0, 2 * HOUR_S, -HOUR_S])
@AHEAD
def test_two_processes_report_one_run(store: MemoryStore, ahead_s: float, second_s: float) -> None:
    first, second = Client(store, ahead_s), Client(store, second_s)
    first.create()
    store.clock.advance(1)
    first.enter(S.RUNNING)
    store.clock.advance(3)
    first.goodbye()
    assert second.enter(S.RUNNING) == []
    store.clock.advance(4)
    second.enter(S.COMPLETED)
    assert times_s(store) == (1, 7, 7)
    assert the_run(store).session_id == second.id


@AHEAD
def test_a_run_created_through_the_api_keeps_the_services_clock(
    store: MemoryStore, ahead_s: float
) -> None:
    created_us = store.clock.now_us()
    state = State(S.SCHEDULED, "Scheduled", "", created_us)
    store.do(
        CreateRun(
            NewRun(
                RUN, RunKind.FLOW, "f", "", None, RUN, None, (), None, None, "", created_us, state
            )
        )
    )
    client = Client(store, ahead_s)
    store.clock.advance(1)
    client.enter(S.RUNNING)
    store.clock.advance(2)
    client.enter(S.COMPLETED)
    assert times_s(store) == (1, 2, 2)
    assert the_run(store).ended_us == store.clock.now_us()


@AHEAD
def test_events_without_times_are_on_the_services_clock(store: MemoryStore, ahead_s: float) -> None:
    client = Client(store, ahead_s, says_times=False)
    client.create()
    created_us = store.clock.now_us()
    store.clock.advance(1)
    client.enter(S.RUNNING)
    store.clock.advance(2)
    client.enter(S.COMPLETED)
    assert the_run(store).created_us == created_us
    assert times_s(store) == (1, 2, 2)


@AHEAD
@pytest.mark.parametrize("says_first", [True, False])
def test_some_events_have_times_and_others_have_none(
    store: MemoryStore, ahead_s: float, *, says_first: bool
) -> None:
    client = Client(store, ahead_s, says_times=says_first)
    client.create()
    client.says_times = not says_first
    store.clock.advance(1)
    client.enter(S.RUNNING)
    client.says_times = says_first
    store.clock.advance(2)
    client.enter(S.COMPLETED)
    assert times_s(store) == (1, 2, 2)


@AHEAD
@pytest.mark.parametrize("says_times", [True, False])
def test_short_runs(store: MemoryStore, ahead_s: float, *, says_times: bool) -> None:
    client = Client(store, ahead_s, says_times=says_times)
    assert client.report_short() == []
    assert times_s(store) == (0, 3, 3)
    client.sequence = 4
    assert set(client.report_short()) == {VerdictKind.DUPLICATE, VerdictKind.REJECTED}


def test_the_same_state_again_without_a_time_is_a_duplicate(store: MemoryStore) -> None:
    client = Client(store, says_times=False)
    client.create()
    client.enter(S.RUNNING)
    store.clock.advance(5)
    assert client.enter(S.RUNNING) == [VerdictKind.DUPLICATE]
    client.enter(S.FAILED)
    store.clock.advance(5)
    assert client.enter(S.FAILED) == [VerdictKind.DUPLICATE]
    assert client.enter(S.COMPLETED) == [VerdictKind.REJECTED]


def test_a_small_difference_is_no_difference(store: MemoryStore) -> None:
    """It may be the delay of the message: the times of an ordinary run stay as they are."""
    client = Client(store, ahead_s=-(SAME_CLOCK_US - 1) / 1e6)
    client.create()
    client.enter(S.RUNNING)
    store.clock.advance(5)
    client.goodbye()
    assert the_run(store).ended_us == store.clock.now_us()


def test_the_offset_is_that_of_the_last_hello(store: MemoryStore) -> None:
    client = Client(store)
    client.ahead_s = HOUR_S
    client.hello(recovering=True)
    assert store.data.sessions[client.id].clock_offset_us == 0, "another process delivers"
    client.hello()
    assert store.data.sessions[client.id].clock_offset_us == -HOUR_S * 1_000_000
    client.sends_time = False
    client.hello()
    assert store.data.sessions[client.id].clock_offset_us == -HOUR_S * 1_000_000


SKEWS = st.sampled_from([0.0, 0.5, -0.5, 3.0, -3.0, HOUR_S, -HOUR_S, 1e9, -1e9]) | st.floats(
    -1e5, 1e5, allow_nan=False
)
CLIENTS = st.tuples(SKEWS, st.booleans(), st.booleans())
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["RUNNING", "SCHEDULED", "PAUSED", "FAILED", "COMPLETED", "CANCELLED"]),
        st.integers(0, 1),
        st.integers(0, 2),
        st.floats(0, 100),
        st.sampled_from([0.0, 0.0, 0.0, -50.0, 50.0]),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(
    clients=st.lists(CLIENTS, min_size=2, max_size=2),
    steps=STEPS,
    end=st.sampled_from(["goodbye", "cancel", "complete"]),
)
def test_no_duration_is_negative_whatever_the_clocks(
    clients: list[tuple[float, bool, bool]],
    steps: list[tuple[str, int, int, float, float]],
    end: str,
) -> None:
    store = MemoryStore(ManualClock())
    both = [
        Client(store, skew_s, sends_time=sends, says_times=says) for skew_s, sends, says in clients
    ]
    both[0].create()
    for kind, who, retry, wait_s, step_s in steps:
        client = both[who]
        store.clock.advance(wait_s)
        client.ahead_s += step_s  # the clock is set
        if the_run(store).session_id != client.id:
            both[1 - who].goodbye()  # a living owner keeps its run
        attempt = the_run(store).attempt + (retry == 2)
        client.enter(StateType[kind], attempt=attempt)
        check_times(the_run(store))
    if end == "goodbye":
        for client in both:
            client.goodbye()
    elif end == "cancel":
        store.do(SetState(RunKind.FLOW, RUN, State(S.CANCELLED, "Cancelled", "", 0)))
    else:
        both[0].goodbye()
        both[1].enter(S.COMPLETED, attempt=the_run(store).attempt)
    check_times(the_run(store))
    assert the_run(store).state.is_terminal


def check_times(run: Run) -> None:
    begun_us = run.created_us if run.started_us is None else run.started_us
    assert run.created_us <= begun_us
    assert run.run_duration_us >= 0
    assert run.state.time_us >= 0
    if run.ended_us is not None:
        assert begun_us <= run.ended_us
        assert run.run_duration_us <= run.ended_us - begun_us


@settings(deadline=None)
@given(
    first_s=SKEWS, second_s=SKEWS, waits=st.tuples(*[st.integers(1, 1000)] * 3), says=st.booleans()
)
def test_durations_are_right_if_the_clocks_are_known(
    first_s: float, second_s: float, waits: tuple[int, int, int], *, says: bool
) -> None:
    store = MemoryStore(ManualClock())
    first, second = Client(store, first_s, says_times=says), Client(store, second_s)
    first.create()
    store.clock.advance(waits[0])
    first.enter(S.RUNNING)
    store.clock.advance(waits[1])
    first.goodbye()
    second.enter(S.RUNNING)
    store.clock.advance(waits[2])
    second.goodbye()
    tolerance_s = 2 * SAME_CLOCK_US / 1e6
    waited_s, took_s, ran_s = times_s(store)
    assert waited_s == pytest.approx(waits[0], abs=tolerance_s)
    assert took_s == pytest.approx(waits[1] + waits[2], abs=tolerance_s)
    assert ran_s == pytest.approx(waits[1] + waits[2], abs=tolerance_s)
