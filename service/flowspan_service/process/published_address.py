"""The published address of a home's service: ``<home>/service.json``, for local clients."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FILE_NAME = "service.json"


def publish(
    home: Path,
    *,
    version: str,
    addresses: Sequence[str],
    is_embedded: bool,
    otlp_endpoint: str,
    trace_url: str,
    otlp_target: Mapping[str, str],
    started_at: str,
    http_address: str,
    is_over_tls: bool,
) -> None:
    """Publish the addresses of a home's service that is ready.

    Args:
        home: The folder.
        version: The version of the service.
        addresses: Its addresses ("unix:/path", "127.0.0.1:4600"), the nearest first.
        is_embedded: True if a client library started it.
        trace_url: The address of a trace, with ``{trace_id}`` in place of the id; empty for none.
        otlp_endpoint: The OTLP/gRPC endpoint to export spans to; empty for none.
        otlp_target: The receivers of spans and logs, by the fields of flowspan.v1.OtlpTarget; empty
            for none.
        started_at: The start of the service, as ISO 8601 text.
        http_address: Its address over HTTP ("http://127.0.0.1:4680"); empty without one.
        is_over_tls: True if its TCP addresses are served over TLS.
    """
    content = {
        "pid": os.getpid(),
        "version": version,
        "addresses": list(addresses),
        "embedded": is_embedded,
        "otlp_endpoint": otlp_endpoint,
        "trace_url": trace_url,
        "otlp_target": dict(otlp_target),
        "started_at": started_at,
        "http_address": http_address,
        "tls": is_over_tls,
    }
    # Readers see the old file or the complete new one.
    handle, name = tempfile.mkstemp(dir=home, prefix=".service-", suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(name, home / FILE_NAME)


def unpublish(home: Path) -> None:
    """Remove the published address, unless another service has replaced it."""
    found = read(home)
    if found is not None and found.get("pid") == os.getpid():
        with suppress(OSError):
            (home / FILE_NAME).unlink()


def read(home: Path) -> dict[str, Any] | None:
    """Return the published content; None if the file is missing or malformed."""
    try:
        found = json.loads((home / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
