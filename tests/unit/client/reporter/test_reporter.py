"""The reporter of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.engine_events import Journal

from flowspan.config import Config
from flowspan.reporter import Reporter
from flowspan.reporter.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


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
