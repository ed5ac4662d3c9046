"""Escaping of foreign text for the terminal.

Hosts, paths, URLs and errors come from the command line, the environment and other programs.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    r"\ud800-\udfff]"
)


def clean(text: str) -> str:
    r"""Return the text with control characters escaped ("\x1b"). Newlines and tabs stay."""
    if text.isprintable():
        return text
    return _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)
