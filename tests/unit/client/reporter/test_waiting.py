"""The duration of a flush: it waits while the service answers. Uses a simulated clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from flowspan.reporter import waiting
from flowspan.reporter.intake import FlushRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

SILENCE_S = 0.05
TIMEOUT_S = 2.0


class Service:
    """A loop and a flush request for which things happen at scheduled times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, is_away: bool) -> None:
        self.now_s = 100.0
        self.outbox = SimpleNamespace(acked=0)
        self.request = FlushRequest()
        self.request.done.wait = self.wait  # type: ignore[method-assign] # takes no real time
        self.loop: Any = SimpleNamespace(
            backlog=SimpleNamespace(outbox=self.outbox),
            trouble="nothing listens there" if is_away else "",
            is_alive=True,
        )
        self.script: list[tuple[float, Callable[[], None]]] = []
        monkeypatch.setattr(waiting, "clock", SimpleNamespace(monotonic=lambda: self.now_s))

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Schedule an action at this time after the start."""
        self.script.append((100.0 + seconds, action))

    def ack(self, sequence: int) -> None:
        """Acknowledge everything up to the sequence."""
        self.outbox.acked = sequence

    def finish(self) -> None:
        """Acknowledge everything."""
        self.request.is_acked = True
        self.request.done.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Replace the event's `wait`: advance the clock and run the due actions."""
        assert timeout is not None
        self.now_s += timeout
        while self.script and self.script[0][0] <= self.now_s:
            self.script.pop(0)[1]()
        return self.request.done.is_set()

    def flush(self) -> bool:
        """Return True if everything was acknowledged in time."""
        return waiting.wait_for_acks(
            self.loop, self.request, silence_s=SILENCE_S, timeout_s=TIMEOUT_S
        )


def test_a_service_that_is_away_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch, is_away=True)
    assert not service.flush()
    assert service.now_s < 100.0 + 2 * SILENCE_S


def test_a_service_that_is_back_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a process would end while catching up and leave its last events behind."""
    service = Service(monkeypatch, is_away=True)
    service.at(0.04, lambda: setattr(service.loop, "trouble", ""))
    service.at(1.0, lambda: service.ack(9_000))
    service.at(2.5, lambda: service.ack(9_999))
    service.at(4.0, service.finish)
    assert service.flush()


def test_an_ack_alone_shows_that_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch, is_away=False)
    service.at(0.04, lambda: service.ack(1))
    service.at(1.0, service.finish)
    assert service.flush()


def test_a_service_that_comes_and_goes_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service(monkeypatch, is_away=True)
    for number in range(100):
        trouble = "" if number % 2 == 0 else "it broke"
        service.at(0.04 + number, lambda text=trouble: setattr(service.loop, "trouble", text))
    assert not service.flush()
    assert service.now_s < 100.0 + 2 * TIMEOUT_S


def test_a_service_that_falls_silent_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch, is_away=True)
    service.at(0.04, lambda: service.ack(1))
    assert not service.flush()
    assert service.now_s >= 100.0 + TIMEOUT_S
