"""Generate the data of `flowspan migrate`: the tables of docs/migrating-from-prefect.md as JSON.

The page is the source. A test compares it with the code, and the JSON with the page.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "migrating-from-prefect.md"
TARGET = ROOT / "python_client" / "flowspan" / "migrating" / "names.json"

COMMENT = re.compile(r"<!-- (.+) -->")
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


def tables() -> dict[str, dict[str, tuple[str, str]]]:
    """Return the verdict and note of each name on the page, by group."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    group = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        comment = COMMENT.fullmatch(line)
        if comment:
            group = comment[1]
            found[group] = {}
        elif not line:
            group = ""
        elif group and line.startswith("| `") and " | here | " not in line:
            names, word, note = (cell.strip() for cell in line.strip("|").split(" | "))
            found[group] |= dict.fromkeys(CODE.findall(names), (word, note))
    return found


def text() -> str:
    """Return the JSON, one name per line."""
    lines = [
        " " + json.dumps([group, name, word, LINK.sub(r"\1", note)], ensure_ascii=False)
        for group, names in tables().items()
        for name, (word, note) in names.items()
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
