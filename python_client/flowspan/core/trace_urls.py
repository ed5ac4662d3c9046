"""Addresses of traces in the page of a trace viewer, such as Jaeger's or Grafana's."""

from __future__ import annotations

import re

PLACEHOLDER = "{trace_id}"
_MAX_CHARACTERS = 2048
_VISIBLE = re.compile(r"[!-~]+")  # a terminal may obey what else a URL has
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


def check_trace_url(text: str) -> str:
    """Return the address of a trace, with `{trace_id}` in place of the id.

    Raises:
        ValueError: It is no such address; the message says why.
    """
    example = f"expected a URL such as http://localhost:16686/trace/{PLACEHOLDER}"
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"it is longer than {_MAX_CHARACTERS:,} characters")
    if _VISIBLE.fullmatch(text) is None:
        raise ValueError(f"it has spaces or characters that a URL must encode; {example}")
    from urllib.parse import urlsplit  # noqa: PLC0415 - start-up cost without the setting

    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port  # raises an error for a malformed one
    except ValueError as error:
        raise ValueError(f"{error}; {example}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(example)
    if "@" in parts.netloc:
        raise ValueError("a user and a password would be shown to all users of the service")
    if PLACEHOLDER not in text.removeprefix(f"{parts.scheme}://{parts.netloc}"):
        raise ValueError(f"it does not contain {PLACEHOLDER}; {example}")
    return text


def trace_url_told(text: object) -> str:
    """Return the address of a trace that a service told; empty if it is not fit to be shown."""
    try:
        return check_trace_url(str(text or ""))
    except ValueError:
        return ""


def trace_id_of(traceparent: str) -> str:
    """Return the trace id of a W3C traceparent, 32 hex digits; empty if it is malformed."""
    match = _TRACEPARENT.fullmatch(traceparent)
    return "" if match is None else match[1]


def is_sampled(traceparent: str) -> bool:
    """Return True if the trace of a W3C traceparent is sampled, so that its spans are exported."""
    match = _TRACEPARENT.fullmatch(traceparent)
    return match is not None and bool(int(match[2], 16) & _SAMPLED)


def url_of_trace(trace_url: str, traceparent: str) -> str:
    """Return the address of the trace of a run.

    Args:
        trace_url: The address with the placeholder; empty if it is not known.
        traceparent: The W3C traceparent of the run; empty without tracing.

    Returns:
        An empty text if the address is not known, or if the trace was not exported.
    """
    if not trace_url or not is_sampled(traceparent):
        return ""
    return trace_url.replace(PLACEHOLDER, trace_id_of(traceparent))
