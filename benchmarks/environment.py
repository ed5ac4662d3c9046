"""The environment of what is measured, without settings that would change the figures."""

from __future__ import annotations

import os


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's, without settings of flowspan and OpenTelemetry, with these variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FLOWSPAN_", "OTEL_"))
    }
    return {**kept, **variables}
