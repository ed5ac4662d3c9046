"""Text for terminals: free of control characters, coloured only on a terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters except tabs and line ends, and characters that change text direction."""

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
    """Return a string with control characters escaped, so that a terminal only displays it."""
    if text.isprintable():
        return text
    return _CONTROL.sub(_written_out, text.replace("\r\n", "\n"))


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def is_coloured(stream: object, environ: Mapping[str, str]) -> bool:
    """Return True if output to a stream should be coloured, by Python's own rules.

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
        return bool(stream.isatty())  # type: ignore[attr-defined] # any object
    except Exception:  # noqa: BLE001 - it is closed, or not a stream
        return False


def painted(text: str, style: str | None, *, coloured: bool) -> str:
    """Return a string in a style."""
    return f"{style}{text}{RESET}" if coloured and style else text
