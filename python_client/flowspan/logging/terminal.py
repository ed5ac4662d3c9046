"""Text for terminals: without control characters, colored only on a terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters but tabs and line ends, and those that turn the direction of a text."""

RESET = "\x1b[0m"
DIM = "\x1b[2m"
NAME = "\x1b[35m"
LEVELS = {
    "DEBUG": "\x1b[34m",
    "INFO": "\x1b[36m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[1;91m",
}
STATES = {
    "Completed": "\x1b[32m",
    "Cached": "\x1b[94m",
    "Cancelled": "\x1b[33m",
    "Failed": "\x1b[31m",
    "TimedOut": "\x1b[31m",
    "Crashed": "\x1b[1;91m",
}


def cleaned(text: str) -> str:
    """Return a text that a terminal only shows: what would command it is written out."""
    if text.isprintable():
        return text
    return _CONTROL.sub(_written_out, text.replace("\r\n", "\n"))


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def is_coloured(stream: object, environ: Mapping[str, str]) -> bool:
    """True if what is written to a stream is to be coloured, by the rules of Python itself.

    Args:
        stream: The stream.
        environ: The environment, for NO_COLOR, FORCE_COLOR and TERM, in this order.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in {"", "0"}:
        return True
    if environ.get("TERM") == "dumb":
        return False
    try:
        return bool(stream.isatty())  # type: ignore[attr-defined] # whatever it is
    except Exception:  # noqa: BLE001 - it is closed, or no stream at all
        return False


def painted(text: str, style: str | None, *, coloured: bool) -> str:
    """Return a text in a style."""
    return f"{style}{text}{RESET}" if coloured and style else text
