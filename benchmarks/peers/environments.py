"""Virtual environments of the peers, one per engine, under .build/peers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FOLDER = ROOT / ".build" / "peers"

# Requirements by engine. Prefect 3.8.8 does not run with the newest fastapi.
REQUIREMENTS = {
    "prefect": ("prefect==3.8.8", "fastapi==0.140.0"),
    "dbos": ("dbos==3.4.0",),
}


def python_of(engine: str) -> Path:
    """Return the Python of an engine's environment; create the environment if it is missing."""
    folder = _FOLDER / engine
    python = folder / "bin" / "python"
    done = folder / ".installed"
    wanted = "\n".join(REQUIREMENTS[engine])
    if done.exists() and done.read_text() == wanted:
        return python
    print(f"installing {engine} into {folder}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *REQUIREMENTS[engine]], check=True)
    done.write_text(wanted)
    return python


def version_of(engine: str) -> str:
    """Return the installed version of an engine."""
    code = f"from importlib.metadata import version; print(version({engine!r}))"
    done = subprocess.run(
        [str(python_of(engine)), "-c", code], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def bare_environment(home: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a peer's process: its own home, no user settings, no telemetry."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "DBOS_", "FLOWSPAN_", "OTEL_", "PYTHON"))
    }
    return {**kept, "HOME": str(home), "DO_NOT_TRACK": "1", **variables}


def last_json(output: str) -> dict[str, float]:
    """Return the JSON in the last line of a program's output."""
    return json.loads(output.strip().splitlines()[-1])
