"""Prints inside runs with `log_prints`: they are printed as ever, and reported as log lines."""

from __future__ import annotations

import builtins
import logging
import sys
from typing import Any

from flowspan.core.runs import current_run
from flowspan.logging.capture import report_text

LOGGER_NAME = "print"

_original = builtins.print
_installed = False


def install() -> None:
    """Puts `builtins.print` under watch: at the first run with log_prints, and then for good."""
    global _installed, _original  # noqa: PLW0603 - one per process
    if not _installed:
        _original, builtins.print = builtins.print, _print
        _installed = True


def _print(*args: Any, **kwargs: Any) -> None:
    run = current_run.get()
    file = kwargs.get("file")
    is_elsewhere = file is not None and file is not sys.stdout and file is not sys.stderr
    if run is None or not run.log_prints or is_elsewhere:
        _original(*args, **kwargs)
        return
    # Once for both: making the text may cost something, or say something else the second time.
    # Joined, for a text may be of a subclass of str, which `print` would ask for its text again.
    texts = ["".join((str(arg),)) for arg in args]
    _original(*texts, **kwargs)
    separator, end = kwargs.get("sep"), kwargs.get("end")
    text = (" " if separator is None else separator).join(texts)
    if end is not None:
        text += end
    text = text.rstrip("\n")
    if text:
        report_text(run, logging.INFO, LOGGER_NAME, text)
