"""Shared helpers of the log tests."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowspan.logging import capture, set_console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.recorder import Recorder


def said(recorder: Recorder, name: str) -> list[str]:
    """Return the messages that user code logged in a run."""
    logs = recorder.logs(name)
    return [text for text in logs if not text.startswith(("Begins (flow", "Completed after"))]


@contextmanager
def alone() -> Iterator[None]:
    """Remove pytest's handlers from the root logger, as in a program without logging."""
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
