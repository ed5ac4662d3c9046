"""Keep-alives: when they are due. The interval of these tests has passed already, or never will."""

from __future__ import annotations

import asyncio

import pytest

from flowspan_service.api.calls import keep_alives
from flowspan_service.api.calls.keep_alives import KeepAlive

NEVER_S = 1e6


def test_none_is_due_before_the_interval() -> None:
    async def run() -> list[bool]:
        keep_alive = KeepAlive()
        return [keep_alive.is_due]

    assert asyncio.run(run()) == [False]


def test_a_wait_ends_when_one_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_alives, "INTERVAL_S", 0.0)

    async def run() -> bool:
        keep_alive = KeepAlive()
        await keep_alive.wait(asyncio.Event().wait())
        return keep_alive.is_due

    assert asyncio.run(run())


def test_a_wait_ends_with_its_event() -> None:
    async def run() -> bool:
        keep_alive = KeepAlive()
        event = asyncio.Event()
        event.set()
        await keep_alive.wait(event.wait())
        return keep_alive.is_due

    assert not asyncio.run(run())


def test_a_message_puts_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_alives, "INTERVAL_S", 0.0)

    async def run() -> tuple[bool, bool]:
        keep_alive = KeepAlive()
        before = keep_alive.is_due
        monkeypatch.setattr(keep_alives, "INTERVAL_S", NEVER_S)
        keep_alive.sent()
        return before, keep_alive.is_due

    assert asyncio.run(run()) == (True, False)


@pytest.mark.parametrize("error", [TimeoutError("of the store"), ValueError("bad")], ids=repr)
def test_errors_of_the_event_are_raised(error: Exception) -> None:
    """A timeout of the event is not mistaken for the end of the wait."""

    async def fail() -> None:
        raise error

    async def run() -> None:
        await KeepAlive().wait(fail())

    with pytest.raises(type(error), match=str(error)):
        asyncio.run(run())
