"""The duration of a flush: it waits while the service answers. Uses a simulated clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.support.engine_events import Journal

from flowspan.config import Config
from flowspan.reporter import Reporter, reporter
from flowspan.reporter.intake import FlushRequest
from flowspan.reporter.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
        monkeypatch.setattr(reporter, "clock", SimpleNamespace(monotonic=lambda: self.now_s))

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
        return reporter._wait_for_acks(
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


def test_the_thread_outlives_errors_even_in_its_own_recovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = {"_pass": 1, "_drop_link": 1}

    def fail_once(name: str) -> Callable[..., None]:
        real = getattr(Loop, name)

        def method(self: Loop, *args: object) -> None:
            if failures[name]:
                failures[name] -= 1
                raise RuntimeError(name)
            real(self, *args)

        return method

    for name in failures:
        monkeypatch.setattr(Loop, name, fail_once(name))
    under_test = Reporter(Config(address="127.0.0.1:1", home=tmp_path))
    Journal(under_test).run()
    try:
        assert under_test.flush(0.2).spooled
    finally:
        under_test.close()
    assert failures == {"_pass": 0, "_drop_link": 0}
    assert "it continues" in caplog.text
