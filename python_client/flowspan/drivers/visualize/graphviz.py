"""Rendering of graphs with the `dot` program of Graphviz."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from flowspan.exceptions import VisualizationError

if TYPE_CHECKING:
    from collections.abc import Generator


class DrawnPath(type(Path())):  # type: ignore[misc] # before 3.12, Path itself cannot be subclassed
    """The path of a rendered graph. It can be awaited, for code that is written for Prefect."""

    def __await__(self) -> Generator[None, None, DrawnPath]:
        yield from ()
        return self


def draw(graph: str, file: Path) -> Path:
    """Render a graph to an SVG file, and return the file's path.

    Raises:
        VisualizationError: The program is not installed, or reports an error.
    """
    program = shutil.which("dot")
    if program is None:
        raise VisualizationError(
            "Graphviz is not installed: its program `dot` is not on the PATH. Install it (apt "
            "install graphviz, brew install graphviz), or use generate_mermaid_graph() or "
            "generate_dot_graph(), which return the graph as text."
        )
    command = [program, "-Tsvg", "-o", str(file)]
    done = subprocess.run(command, input=graph, capture_output=True, text=True, check=False)  # noqa: S603 - an installed program
    if done.returncode:
        raise VisualizationError(f"Graphviz could not draw the flow: {done.stderr.strip()}")
    return file
