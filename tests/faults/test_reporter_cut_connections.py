"""Promise 2 of the reporter: whatever the network does, each event is stored once."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from tests.support.engine_events import Journal
from tests.support.proxy import Proxy
from tests.support.run_queries import wait_until

from flowspan.config import Config
from flowspan.reporter import Reporter, loop

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import ServiceProcess

TIMEOUT_S = 60.0


@pytest.mark.parametrize("seed", [1, 2])
def test_promise_exactly_once_when_connections_are_cut_anywhere(
    seed: int, service: ServiceProcess, flowspan_home: Path
) -> None:
    dice = random.Random(seed)
    with Proxy(service.address) as proxy:
        # From the middle of the preface to the middle of a batch or of an ack.
        proxy.cut_after = lambda: int(10 ** dice.uniform(1.0, 5.0))
        reporter = Reporter(Config(address=proxy.address, home=flowspan_home))
        journal = Journal(reporter)
        try:
            while proxy.cut_count < 12:
                for _ in range(5):
                    journal.run(log_count=5)
                reporter.flush(0.05)
            proxy.cut_after = lambda: None
            # A flush that found no connection before does not wait for one again.
            wait_until(lambda: reporter.flush(TIMEOUT_S).acked, "all to be acked")
        finally:
            reporter.close()
    journal.check(service.channel)


def test_promise_exactly_once_when_the_network_swallows_everything(
    service: ServiceProcess, flowspan_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "ACK_TIMEOUT_S", 0.5)
    with Proxy(service.address) as proxy:
        reporter = Reporter(Config(address=proxy.address, home=flowspan_home))
        journal = Journal(reporter)
        try:
            journal.run()
            assert reporter.flush(TIMEOUT_S).acked
            proxy.is_swallowing = True
            journal.run()
            outcome = reporter.flush(1.0)
            assert not outcome.acked
            assert outcome.spooled
            proxy.is_swallowing = False
            wait_until(lambda: reporter.flush(TIMEOUT_S).acked, "all to be acked")
            assert proxy.connection_count > 1
        finally:
            reporter.close()
    journal.check(service.channel)


def test_promise_exactly_once_over_a_slow_network(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    with Proxy(service.address) as proxy:
        proxy.delay_s = 0.02
        reporter = Reporter(Config(address=proxy.address, home=flowspan_home))
        journal = Journal(reporter)
        try:
            for _ in range(50):
                journal.run()
            assert reporter.flush(TIMEOUT_S).acked
        finally:
            reporter.close()
    journal.check(service.channel)
