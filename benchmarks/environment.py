"""The environment of what is measured, without settings that would change the figures."""

from __future__ import annotations

import os


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's with these variables, without settings of flowspan and OpenTelemetry.

    Python keeps bytecode, as it does for users: compiling would double the time of a start.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FLOWSPAN_", "OTEL_", "PYTHONDONTWRITEBYTECODE"))
    }
    return {**kept, **variables}
