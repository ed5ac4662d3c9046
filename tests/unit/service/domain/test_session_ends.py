"""The decision whether the process of a session is over."""

from __future__ import annotations

from typing import Any

import pytest

from flowspan_service.domain.session_ends import (
    ALIVE_US,
    RETURNED_US,
    SILENT_US,
    remaining_us,
)
from flowspan_service.domain.sessions import Session, SessionEnd, SessionStatus, end_of

ENDED_US = 1_700_000_000_000_000
LOST, CLOSED, OPEN = SessionStatus.LOST, SessionStatus.CLOSED, SessionStatus.OPEN


def left(status: int, *, waited_us: int = 0, exists: bool | None = None, **facts: Any) -> int:
    end = SessionEnd(status, ENDED_US, **facts)
    return remaining_us(end, now_us=ENDED_US + waited_us, exists=exists)


@pytest.mark.parametrize(
    ("expected", "facts"),
    [
        (0, {"status": CLOSED}),
        (0, {"status": LOST, "is_broken_off": True}),
        (0, {"status": LOST, "is_broken_off": True, "exists": True}),
        (0, {"status": LOST, "exists": False}),
        (ALIVE_US, {"status": LOST, "exists": True}),
        (SILENT_US, {"status": LOST, "exists": None}),
        (RETURNED_US, {"status": OPEN, "exists": None}),
        (RETURNED_US, {"status": OPEN, "is_broken_off": True}),
    ],
)
def test_how_long_a_process_is_waited_for(expected: int, facts: dict[str, Any]) -> None:
    assert left(**facts) == expected
    if expected:
        assert left(**facts, waited_us=expected - 1) == 1
        assert left(**facts, waited_us=expected) == left(**facts, waited_us=2 * expected) == 0
        assert left(**facts, waited_us=-5) == expected + 5, "the clock was set back"


def test_a_forgotten_session_is_over() -> None:
    assert remaining_us(None, now_us=0, exists=None) == 0


def test_facts_in_a_row() -> None:
    client = {"hostname": "h", "process_id": "7", "process_mark": "b/1", "broken_off": "1"}
    assert end_of(LOST, 5, client) == SessionEnd(
        LOST, 5, is_broken_off=True, hostname="h", process_id=7, process_mark="b/1"
    )
    assert end_of(OPEN, 5, {"process_id": "-7"}) == SessionEnd(OPEN, 5)
    assert end_of(OPEN, 5, {}).is_open


def test_the_last_sign_of_life_survives_the_end() -> None:
    session = Session("s", OPEN, 0, lease_us=30, lease_expires_us=0, created_us=0)
    session.renew(1_000)
    assert session.last_sign_us == 1_000
    session.renew(2_000, silence_us=10)
    assert session.last_sign_us == 2_000
    session.be_lost(2_500)
    assert (session.status, session.lease_expires_us, session.last_sign_us) == (LOST, 2_500, 2_000)
    session.renew(3_000)
    assert session.last_sign_us == 3_000
    session.be_lost(2_900)  # the clock was set back
    assert session.last_sign_us == 2_900


def test_the_last_sign_in_a_row_of_an_older_version() -> None:
    session = Session("s", OPEN, 0, lease_us=30, lease_expires_us=1_030, created_us=0)
    assert session.last_sign_us == 1_000
    session.status, session.lease_expires_us = CLOSED, 1_010
    assert session.last_sign_us == 1_010
