"""The languages with a client, and how to build and start their conformance programs."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SELECTION = "FLOWSPAN_TEST_LANGUAGES"
"""Comma-separated names of languages, or "all". Python alone without it."""


@dataclass(frozen=True)
class Language:
    """A language with a client.

    Attributes:
        name: The name in gaps.yaml and in FLOWSPAN_TEST_LANGUAGES.
        title: The name for people.
        tools: The programs that must be installed.
        driver: The command of the driver of the wire tier, without the repository's path.
        program: The file in the folder of a case of the idiom tier.
        runs: The command that runs this file, before its path.
        folder: The folder of the client; the tests are left out where it is missing.
    """

    name: str
    title: str
    tools: tuple[str, ...]
    driver: tuple[str, ...]
    program: str
    runs: tuple[str, ...]
    folder: str

    @property
    def problem(self) -> str:
        """The reason why nothing of this language can run here; empty if it can."""
        missing = [tool for tool in self.tools if shutil.which(tool) is None]
        if missing:
            return f"{self.title} is left out: {', '.join(missing)} is not installed"
        if not (ROOT / self.folder).is_dir():
            return f"{self.title} is left out: there is no {self.folder}"
        return ""


PYTHON = Language(
    name="python",
    title="Python",
    tools=(),
    driver=(sys.executable, str(HERE / "drivers" / "python_driver.py")),
    program="python.py",
    runs=(sys.executable,),
    folder="python_client",
)
LANGUAGES = (PYTHON,)


def selected() -> tuple[Language, ...]:
    """Return the languages to test.

    Raises:
        ValueError: FLOWSPAN_TEST_LANGUAGES names an unknown language.
    """
    names = os.environ.get(SELECTION, PYTHON.name).split(",")
    known = {each.name: each for each in LANGUAGES}
    if names == ["all"]:
        return LANGUAGES
    unknown = [name for name in names if name not in known]
    if unknown:
        msg = f"{SELECTION} has {', '.join(unknown)}; the languages are {', '.join(known)}"
        raise ValueError(msg)
    return tuple(known[name] for name in names)
