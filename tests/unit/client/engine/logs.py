"""What the tests of logs have in common."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowspan.logging import capture, set_console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.client.engine.recorder import Recorder


def said(recorder: Recorder, name: str) -> list[str]:
    """What user code logged in a run."""
    logs = recorder.logs(name)
    return [text for text in logs if not text.startswith(("Begins (flow", "Completed after"))]


@contextmanager
def alone() -> Iterator[None]:
    """The handlers of pytest taken off the root logger, as in a program without logging."""
    root = logging.getLogger()
    others = [handler for handler in root.handlers if handler not in capture._own]
    for handler in others:
        root.removeHandler(handler)
    set_console(True)
    try:
        yield
    finally:
        set_console(False)
        for handler in others:
            root.addHandler(handler)
