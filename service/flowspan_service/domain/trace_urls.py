"""The address of a trace in the page of a trace viewer, which the service tells its clients."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

PLACEHOLDER = "{trace_id}"
_EXAMPLE = f"http://localhost:16686/trace/{PLACEHOLDER}"
_MAX_CHARACTERS = 2048
_VISIBLE = re.compile(r"[!-~]+")  # clients show it on terminals


def check_trace_url(text: str) -> str:
    """Return the address of a trace, with `{trace_id}` in place of the id.

    Raises:
        ValueError: It is no such address; the message says why.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"it is longer than {_MAX_CHARACTERS:,} characters")
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # raises an error for a malformed one
    except ValueError as error:
        raise ValueError(f"{error}; it is not a URL such as {_EXAMPLE}") from None
    if not is_address or _VISIBLE.fullmatch(text) is None:
        raise ValueError(f"it is not a URL such as {_EXAMPLE}")
    if "@" in parts.netloc:
        raise ValueError("all clients would see its user and password")
    if PLACEHOLDER not in text.removeprefix(f"{parts.scheme}://{parts.netloc}"):
        raise ValueError(f"it does not contain {PLACEHOLDER}, as in {_EXAMPLE}")
    return text
