"""A recorder in place of the reporter; each test's events are checked against the rules."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from tests.support.recorder import Recorder

from flowspan.drivers import process as process_module
from flowspan.drivers.process import ProcessContext, set_process
from flowspan.logging import capture

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Keep tests without the recorder from starting a local service, which would outlive them."""
    yield
    assert process_module._process is None, "use the fixture `recorder`"


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Yield the recorder of the test's events, which the service's rules must accept."""
    recorder = Recorder()
    process = ProcessContext(
        recorder.events.append,
        flush=recorder.flush,
        watch_commands=recorder.watch_commands,
        forget=recorder.forget,
    )
    before = set_process(process)
    level = logging.getLogger().level
    capture.install(recorder.events.append, "INFO", console=False)
    try:
        yield recorder
        recorder.check_legal()
    finally:
        capture.uninstall()
        logging.getLogger().setLevel(level)
        set_process(before)
