"""Claims of loops: one process at a time, by the clock of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan_service.app.claims import MoveClaim, TakeClaim

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.store.builders import FakeClock

    from flowspan_service.domain.claims import LoopClaim
    from flowspan_service.stores.store import SqlStore

LEASE_US = 60_000_000


def take(store: SqlStore, holder: str, **options: Any) -> LoopClaim | None:
    operation = TakeClaim("loop", holder=holder, **{"lease_us": LEASE_US} | options)
    return store.submit(operation).result(60)


def move_claim(
    store: SqlStore, holder: str, position: int | None, *, lease_us: int | None = None
) -> bool:
    operation = MoveClaim("loop", holder=holder, position=position, lease_us=lease_us)
    return store.submit(operation).result(60)


def test_one_process_at_a_time_has_the_claim(store: SqlStore) -> None:
    assert store.claims.get("loop") is None
    claim = take(store, "one", begin_at=7)
    assert claim is not None
    assert (claim.holder, claim.position) == ("one", 7)
    assert take(store, "two") is None
    assert not move_claim(store, "two", 9)
    stored = store.claims.get("loop")
    assert stored is not None
    assert (stored.holder, stored.position) == ("one", 7)
    assert LEASE_US - 30_000_000 < stored.left_us <= LEASE_US
    assert take(store, "one", begin_at=0) is not None
    assert move_claim(store, "one", 8, lease_us=LEASE_US)
    assert take(store, "two") is None
    assert move_claim(store, "one", 9)
    claim = take(store, "two", begin_at=0)
    assert claim is not None
    assert claim.position == 9


def test_the_lease_is_measured_by_the_clock_of_the_database(
    store: SqlStore, clock: FakeClock
) -> None:
    assert take(store, "dead", begin_at=1, lease_us=0) is not None
    clock.time_us -= 3_600_000_000  # the wall clock of this process does not matter
    assert take(store, "two") is not None
    assert not move_claim(store, "dead", 2)
    clock.time_us += 7_200_000_000
    assert take(store, "three") is None


def test_a_claim_may_be_taken_and_set_back_at_once(store: SqlStore) -> None:
    assert take(store, "one", begin_at=5, rewind_to=9).position == 5  # type: ignore[union-attr]
    assert take(store, "one", rewind_to=3).position == 3  # type: ignore[union-attr]


def test_two_replicas_take_turns(store_url: str, open_url: Callable[..., SqlStore]) -> None:
    one, two = open_url(store_url), open_url(store_url)
    assert take(one, "one", begin_at=1) is not None
    assert take(two, "two") is None
    assert move_claim(one, "one", 4)
    claim = take(two, "two")
    assert claim is not None
    assert claim.position == 4
