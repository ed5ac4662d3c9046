"""The surroundings of the local service that a program starts.

The service outlives its starter and serves other programs, so it must not run under what watches or
changes its starter alone. Such tools change how Python starts, in every child process that inherits
the environment:

- `opentelemetry-instrument`, `ddtrace-run` and `newrelic-admin` put a folder with a `sitecustomize`
  into PYTHONPATH.
- coverage and autowrapt install a `.pth` file, which acts if a variable is set.
- PYTHONINSPECT and PYTHONSTARTUP concern a session at a terminal.
- Debuggers of the pydevd family (debugpy in VS Code, PyCharm) rewrite the command of each Python
  that the program starts.

Worker processes and other children of the program inherit all of these: they belong to the program.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowspan.core.run_context import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

_OF_THE_RUN = frozenset({VARIABLE, "TRACEPARENT", "TRACESTATE"})
_OF_TOOLS = frozenset(
    {
        "AUTOWRAPT_BOOTSTRAP",
        "COVERAGE_PROCESS_CONFIG",
        "COVERAGE_PROCESS_START",
        "PYTHONINSPECT",
        "PYTHONSTARTUP",
    }
)
_OF_OPENTELEMETRY = "OTEL_PYTHON_"
"""Variables that say how to instrument a Python program."""
_OF_EXPORTERS = "OTEL_PYTHON_EXPORTER_"
"""Those among them that the service's own exporters need, such as for their credentials."""
_CUSTOMIZATIONS = ("sitecustomize", "usercustomize")


def service_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for the local service.

    Args:
        environ: The environment of the program that starts it. Relative entries of its PYTHONPATH
            are made absolute, because the service runs in another folder.
    """
    inherited = {name: text for name, text in environ.items() if _is_inherited(name)}
    path = inherited.pop("PYTHONPATH", "")
    entries = [os.path.abspath(entry) for entry in path.split(os.pathsep) if entry]
    kept = [entry for entry in entries if not _is_of_a_tool(Path(entry))]
    if kept:
        inherited["PYTHONPATH"] = os.pathsep.join(kept)
    return inherited


def without_debugger() -> AbstractContextManager[Any]:
    """Return a context in which a debugger of this program does not follow into children."""
    pydevd = sys.modules.get("_pydev_bundle.pydev_monkey")
    skip = getattr(pydevd, "skip_subprocess_arg_patch", nullcontext)
    context: AbstractContextManager[Any] = skip()
    return context


def _is_inherited(name: str) -> bool:
    if name.startswith(_OF_OPENTELEMETRY):
        return name.startswith(_OF_EXPORTERS)
    return name not in _OF_THE_RUN and name not in _OF_TOOLS


def _is_of_a_tool(folder: Path) -> bool:
    """Return True if a folder changes how Python starts, and has no packages for the service."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    if not any(name.split(".")[0] in _CUSTOMIZATIONS for name in names):
        return False
    has_packages = "flowspan_service" in names or any(name.endswith(".dist-info") for name in names)
    return not has_packages
