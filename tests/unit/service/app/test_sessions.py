"""Leases: living and lost sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.app.sessions import (
    ConnectionBroken,
    EndSession,
    Introduction,
    LeaseTerms,
    OpenSession,
    Reap,
    RenewLease,
)
from flowspan_service.domain.errors import NotFoundError, SessionTakenOverError
from flowspan_service.domain.leases import LeaseWatch
from flowspan_service.domain.runs import NewRun, RunKind, TraceContext
from flowspan_service.domain.sessions import OtlpTarget, SessionStatus
from flowspan_service.domain.states import Cause, State, StateType

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.sessions import SessionEnd

LEASE_US, GRACE_US = 30_000_000, 10_000_000


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


def opened(store: MemoryStore, session_id: str = "s", **client: str):
    operation = OpenSession(session_id, client=client, lease_us=LEASE_US, connection_id="c")
    return store.do(operation)


class Watcher:
    """A service process that checks the sessions every second."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.watch = LeaseWatch(lease_us=LEASE_US)
        self.frames: dict[str, int] = {}
        self.look()

    def look(self, limit: int = 10) -> list[str]:
        reaped = self.store.do(
            Reap(
                self.watch,
                limit=limit,
                frames=lambda key: self.frames.get(key, 0),
                monotonic_us=self.store.clock.monotonic_us,
            )
        )
        self.watch.remember(reaped.look)
        assert reaped.has_more == (len(reaped.look.silent) > limit)
        return reaped.sessions

    def pass_time(self, seconds: int) -> list[str]:
        lost = self.look()
        for _ in range(seconds):
            self.store.clock.advance(1)
            lost += self.look()
        return lost


@pytest.fixture
def watcher(store: MemoryStore) -> Watcher:
    return Watcher(store)


def test_terms_bound_what_is_asked() -> None:
    terms = LeaseTerms(lease_us=30, grace_us=10, min_lease_us=5, max_lease_us=100)
    assert [terms.granted(asked) for asked in (0, 1, 50, 1000)] == [30, 5, 50, 100]


def test_opening_again_resumes(store: MemoryStore) -> None:
    assert opened(store, name="a", hostname="h").is_new
    store.data.sessions["s"].last_sequence = 7
    again = opened(store, name="b")
    assert (again.is_new, again.resume_after) == (False, 7)
    client = store.data.sessions["s"].client
    assert (client["name"], client["hostname"]) == ("b", "h")


@pytest.mark.parametrize("status", [SessionStatus.LOST, SessionStatus.CLOSED])
def test_opening_brings_a_session_back(store: MemoryStore, status: SessionStatus) -> None:
    opened(store)
    store.data.sessions["s"].status = status
    opened(store)
    assert store.data.sessions["s"].status == SessionStatus.OPEN


def test_lease_ends_when_it_ends(store: MemoryStore, watcher: Watcher) -> None:
    opened(store)
    assert watcher.pass_time(29) == []
    assert watcher.pass_time(1) == ["s"]
    session = store.data.sessions["s"]
    assert (session.status, session.lease_expires_us) == (
        SessionStatus.LOST,
        store.clock.now_us(),
    )
    assert watcher.pass_time(60) == []


def test_renewing_begins_the_lease_anew(store: MemoryStore, watcher: Watcher) -> None:
    opened(store)
    assert watcher.pass_time(29) == []
    store.do(RenewLease("s", connection_id="c"))
    assert watcher.pass_time(29) == []


@pytest.mark.parametrize("hours", [-48, 48])
def test_wall_clock_has_no_say(store: MemoryStore, watcher: Watcher, hours: int) -> None:
    opened(store)
    assert watcher.pass_time(15) == []
    store.clock.step(hours * 3600)
    assert watcher.pass_time(14) == []
    assert watcher.pass_time(1) == ["s"]


def test_wall_clocks_of_two_processes_may_differ(store: MemoryStore, watcher: Watcher) -> None:
    opened(store, "s")
    for _ in range(6):
        assert watcher.pass_time(10) == []
        store.clock.step(-25)
        store.do(RenewLease("s", connection_id="c"))
        store.clock.step(25)


def test_renewing_is_for_the_connection_that_has_it(store: MemoryStore) -> None:
    opened(store)
    with pytest.raises(SessionTakenOverError):
        store.do(RenewLease("s", connection_id="another"))
    with pytest.raises(NotFoundError):
        store.do(RenewLease("t"))


def test_frames_in_memory_count(store: MemoryStore, watcher: Watcher) -> None:
    opened(store)
    for frame in range(1, 5):
        watcher.frames["s"] = frame
        assert watcher.pass_time(29) == []
    assert watcher.pass_time(1) == ["s"]


def test_broken_connection_has_the_grace(store: MemoryStore, watcher: Watcher) -> None:
    opened(store)
    assert watcher.pass_time(15) == []
    store.do(ConnectionBroken("s", connection_id="c", grace_us=GRACE_US))
    assert watcher.pass_time(9) == []
    assert watcher.pass_time(1) == ["s"]


def test_grace_is_no_longer_than_the_lease(store: MemoryStore, watcher: Watcher) -> None:
    opened(store)
    store.do(ConnectionBroken("s", connection_id="c", grace_us=100 * LEASE_US))
    assert watcher.pass_time(30) == ["s"]


def test_connection_that_has_not_the_session_changes_nothing(store: MemoryStore) -> None:
    opened(store)
    before = store.data.sessions["s"]
    store.do(ConnectionBroken("s", connection_id="older", grace_us=GRACE_US))
    store.do(ConnectionBroken("nobody", connection_id="c", grace_us=GRACE_US))
    assert store.data.sessions["s"] == before


def test_start_of_the_service_gives_a_full_lease(store: MemoryStore, watcher: Watcher) -> None:
    opened(store)
    store.do(ConnectionBroken("s", connection_id="c", grace_us=GRACE_US))
    assert watcher.pass_time(5) == []
    store.clock.advance(1000)
    restarted = Watcher(store)
    assert restarted.pass_time(29) == []
    assert restarted.pass_time(1) == ["s"]


def test_limit_leaves_the_rest_for_the_next_time(store: MemoryStore, watcher: Watcher) -> None:
    for name in "abc":
        opened(store, name)
    assert watcher.pass_time(29) == []
    store.clock.advance(1)
    first = watcher.look(limit=2)
    assert len(first) == 2
    assert sorted(first + watcher.look()) == ["a", "b", "c"]


def test_sign_in_the_same_transaction_comes_first(store: MemoryStore, watcher: Watcher) -> None:
    """A sign that a slow writer got before the check counts, however late it is written."""
    opened(store)
    assert watcher.pass_time(29) == []
    store.clock.advance(1)
    store.do(RenewLease("s", connection_id="c"))
    assert watcher.look() == []


def end_of(store: MemoryStore) -> SessionEnd:
    end = store.sessions.span_sources(["s"])["s"].end
    assert end is not None
    return end


def begin(store: MemoryStore, run_id: str, *, trace: TraceContext | None, session_id: str) -> None:
    def add(uow: UnitOfWork) -> None:
        state = State(StateType.RUNNING, "Running", "", uow.now_us)
        new = NewRun(
            *(run_id, RunKind.FLOW, "f", "", None, run_id, run_id, (), None, trace, ""),
            *(uow.now_us, state),
        )
        uow.runs.add(new.make(cause=Cause.REPORTED, session_id=session_id))

    store.do(Change(add))


class Change:
    """An operation that calls a function."""

    run_ids = ()
    weight = 1

    def __init__(self, change: Callable[[UnitOfWork], None]) -> None:
        self.change = change

    def __call__(self, uow: UnitOfWork) -> None:
        self.change(uow)


TRACE = TraceContext(f"00-{'a' * 32}-{'b' * 16}-01")


def test_the_last_sign_of_life_of_crashed_runs(store: MemoryStore, watcher: Watcher) -> None:
    opened(store)
    begin(store, "traced", trace=TRACE, session_id="s")
    begin(store, "untraced", trace=None, session_id="s")
    watcher.pass_time(10)
    store.do(RenewLease("s"))
    heard_us = store.clock.now_us()
    assert watcher.pass_time(60) == ["s"]
    crashed = store.data.runs["traced"]
    assert crashed.state.type == StateType.CRASHED
    assert crashed.state.time_us - heard_us >= LEASE_US
    assert store.data.last_signs == {"traced": heard_us}
    session = store.sessions.get("s")
    assert session is not None
    assert session.last_sign_us == heard_us


def test_the_last_sign_is_on_the_clock_of_the_run_and_after_its_states(
    store: MemoryStore, watcher: Watcher
) -> None:
    hour_us = 3_600_000_000
    introduction = Introduction(clock_offset_us=hour_us)  # the client is an hour behind
    store.do(OpenSession("s", client={}, lease_us=LEASE_US, introduction=introduction))
    begin(store, "behind", trace=TRACE, session_id="s")
    store.data.runs["behind"].state.time_us -= hour_us
    opened(store, "t")
    begin(store, "ahead", trace=TRACE, session_id="t")
    store.data.runs["ahead"].state.time_us += 500_000  # less than counts as another clock
    begun_us = store.clock.now_us()
    watcher.pass_time(60)
    assert store.data.last_signs == {"behind": begun_us - hour_us, "ahead": begun_us + 500_000}


def test_a_session_that_takes_leave_leaves_no_sign(store: MemoryStore) -> None:
    opened(store)
    begin(store, "left", trace=TRACE, session_id="s")
    store.do(EndSession("s"))
    assert store.data.runs["left"].state.type == StateType.CRASHED
    assert store.data.last_signs == {}


def test_a_connection_that_was_broken_off(store: MemoryStore, watcher: Watcher) -> None:
    opened(store)
    store.do(ConnectionBroken("s", connection_id="c", grace_us=GRACE_US))
    assert not end_of(store).is_broken_off
    opened(store)
    store.do(ConnectionBroken("s", connection_id="c", grace_us=GRACE_US, is_broken_off=True))
    assert end_of(store).is_broken_off
    assert watcher.pass_time(10) == ["s"]
    assert end_of(store).is_broken_off
    opened(store)
    assert not end_of(store).is_broken_off, "it came back"


def test_the_mark_of_a_process_is_that_of_its_last_hello(store: MemoryStore) -> None:
    client = {"process_id": "7", "hostname": "h"}

    def say(mark: str | None, *, is_recovering: bool = False) -> tuple[str, int, str]:
        introduction = Introduction(process_mark=mark, is_recovering=is_recovering)
        store.do(OpenSession("s", client=client, lease_us=LEASE_US, introduction=introduction))
        end = end_of(store)
        return end.hostname, end.process_id, end.process_mark

    assert say("m") == ("h", 7, "m")
    assert say(None) == ("h", 7, "m"), "it was not looked at"
    assert say("", is_recovering=True) == ("h", 7, "m"), "another process delivers its events"
    assert say("") == ("h", 7, ""), "from elsewhere, such as through a proxy"


def test_the_receivers_of_a_client(store: MemoryStore) -> None:
    def say(target: OtlpTarget | None, *, is_recovering: bool = False) -> OtlpTarget | None:
        introduction = Introduction(target=target, is_recovering=is_recovering)
        store.do(OpenSession("s", client={}, lease_us=LEASE_US, introduction=introduction))
        return store.sessions.span_sources(["s"])["s"].target

    assert say(None) is None
    assert "s" not in store.data.targets, "a new session without one costs no write"
    one, other = OtlpTarget("grpc", "http://a"), OtlpTarget("grpc", "http://b")
    assert say(one) == one
    assert say(None, is_recovering=True) == one
    assert say(other) == other
    assert say(None) is None
