"""Leases: who lives, and who is lost."""

from __future__ import annotations

import pytest
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.app.sessions import (
    ConnectionBroken,
    ExtendLeases,
    LeaseTerms,
    OpenSession,
    Reap,
    RenewLease,
)
from flowspan_service.domain.errors import NotFoundError, SessionTakenOverError
from flowspan_service.domain.runs import SessionStatus

LEASE_US, GRACE_US = 30_000_000, 10_000_000


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


def opened(store: MemoryStore, session_id: str = "s", **client: str):
    operation = OpenSession(session_id, client=client, lease_us=LEASE_US, connection_id="c")
    return store.do(operation)


def reap(store: MemoryStore, **alive_until_us: int) -> list[str]:
    return store.do(Reap(limit=10, alive_until_us=alive_until_us)).sessions


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


def test_lease_ends_when_it_ends(store: MemoryStore) -> None:
    opened(store)
    store.clock.advance(29.9)
    assert reap(store) == []
    store.clock.advance(0.1)
    assert reap(store) == ["s"]
    assert reap(store) == []


def test_renewing_begins_the_lease_anew(store: MemoryStore) -> None:
    opened(store)
    store.clock.advance(29)
    store.do(RenewLease("s", connection_id="c"))
    store.clock.advance(29)
    assert reap(store) == []


def test_renewing_is_for_the_connection_that_has_it(store: MemoryStore) -> None:
    opened(store)
    with pytest.raises(SessionTakenOverError):
        store.do(RenewLease("s", connection_id="another"))
    with pytest.raises(NotFoundError):
        store.do(RenewLease("t"))


def test_lease_renewed_in_memory_counts(store: MemoryStore) -> None:
    opened(store)
    store.clock.advance(31)
    alive_until_us = store.clock.now_us() + 5_000_000
    assert reap(store, s=alive_until_us) == []
    assert store.data.sessions["s"].lease_expires_us == alive_until_us
    store.clock.advance(5)
    assert reap(store, s=alive_until_us) == ["s"]


def test_broken_connection_shortens_the_lease_and_never_lengthens_it(store: MemoryStore) -> None:
    opened(store)
    broken = ConnectionBroken("s", connection_id="c", grace_us=GRACE_US)
    store.do(broken)
    expires_us = store.data.sessions["s"].lease_expires_us
    assert expires_us == store.clock.now_us() + GRACE_US
    store.clock.advance(5)
    store.do(broken)
    assert store.data.sessions["s"].lease_expires_us == expires_us


def test_older_connection_that_breaks_is_nobodys_business(store: MemoryStore) -> None:
    opened(store)
    store.do(ConnectionBroken("s", connection_id="older", grace_us=GRACE_US))
    store.do(ConnectionBroken("nobody", connection_id="c", grace_us=GRACE_US))
    assert store.data.sessions["s"].lease_expires_us == store.clock.now_us() + LEASE_US


def test_start_of_the_service_gives_a_full_lease(store: MemoryStore) -> None:
    opened(store, "s")
    store.clock.advance(1000)
    opened(store, "t")
    assert store.do(ExtendLeases(lease_us=LEASE_US)) == 1
    store.clock.advance(29)
    assert reap(store) == []


def test_limit_leaves_the_rest_for_the_next_time(store: MemoryStore) -> None:
    for name in "abc":
        opened(store, name)
        store.clock.advance(1)
    store.clock.advance(100)
    first = store.do(Reap(limit=2, alive_until_us={}))
    assert (first.sessions, first.has_more) == (["a", "b"], True)
    assert reap(store) == ["c"]
