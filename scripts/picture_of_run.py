"""Draw the output of `flowspan run show latest`: `python scripts/picture_of_run.py OUT.svg`."""

from __future__ import annotations

import argparse
import os
import pty
import re
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

COMMAND = "flowspan run show latest"
WIDTH = 80
FONT_FACES = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def printed_on_a_terminal(command: str) -> str:
    """Return the terminal output of a command, including colours."""
    chunks: list[bytes] = []

    def read(descriptor: int) -> bytes:
        chunk = os.read(descriptor, 65536)
        chunks.append(chunk)
        return chunk

    os.environ |= {"COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    pty.spawn(command.split(), read)
    return b"".join(chunks).decode().replace("\r\n", "\n")


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT.svg")
    arguments = parser.parse_args()
    text = Text.from_ansi(f"$ {COMMAND}\n{printed_on_a_terminal(COMMAND)}".rstrip())
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(text)
    svg = console.export_svg(title="", theme=SVG_EXPORT_THEME, unique_id="run")
    # The picture must not load other resources.
    svg = re.sub(r"<!-- .*? -->", "<!-- Drawn by scripts/picture_of_run.py -->", svg, count=1)
    svg = FONT_FACES.sub("", svg).replace("Fira Code", "ui-monospace, Menlo, Consolas")
    arguments.out.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
