"""Where clients of this machine find the service of a home: ``<home>/service.json``."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE_NAME = "service.json"


def publish(
    home: Path,
    *,
    version: str,
    addresses: Sequence[str],
    is_embedded: bool,
    otlp_endpoint: str,
    started_at: str,
) -> None:
    """Says that the service of the home is ready, and where.

    Args:
        home: The folder.
        version: Of the service.
        addresses: Where it listens: "unix:/path", "127.0.0.1:4600"; the nearest first.
        is_embedded: Whether a client library started it.
        otlp_endpoint: Where spans go; empty for nowhere.
        started_at: When, as ISO 8601 text.
    """
    content = {
        "pid": os.getpid(),
        "version": version,
        "addresses": list(addresses),
        "embedded": is_embedded,
        "otlp_endpoint": otlp_endpoint,
        "started_at": started_at,
    }
    # Readers see the old file or the whole new one.
    handle, name = tempfile.mkstemp(dir=home, prefix=".service-", suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(name, home / FILE_NAME)


def unpublish(home: Path) -> None:
    """Takes it back, unless another service has published itself meanwhile."""
    found = read(home)
    if found is not None and found.get("pid") == os.getpid():
        with suppress(OSError):
            (home / FILE_NAME).unlink()


def read(home: Path) -> dict[str, Any] | None:
    """What is published; None if there is nothing to read."""
    try:
        found = json.loads((home / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
