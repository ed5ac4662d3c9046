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
    _original(*args, **kwargs)
    run = current_run.get()
    if run is None or not run.log_prints:
        return
    file = kwargs.get("file")
    if file is not None and file is not sys.stdout and file is not sys.stderr:
        return
    separator = kwargs.get("sep")
    text = (" " if separator is None else separator).join(map(str, args))
    end = kwargs.get("end")
    if end not in {None, "\n"}:
        text += end
    text = text.rstrip("\n")
    if text:
        report_text(run, logging.INFO, LOGGER_NAME, text)
