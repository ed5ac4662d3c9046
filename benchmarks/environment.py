"""Environment of the measured processes, without settings that would change the figures."""

from __future__ import annotations

import os


def clean_environment(**variables: str) -> dict[str, str]:
    """Return this environment with these variables, without settings of flowspan and OpenTelemetry.

    Python writes bytecode, as for users; compiling would double the start-up time.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FLOWSPAN_", "OTEL_", "PYTHONDONTWRITEBYTECODE"))
    }
    return {**kept, **variables}
