"""The languages with a client, and how to build and start their conformance programs."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILT = ROOT / ".build" / "conformance"
SELECTION = "FLOWSPAN_TEST_LANGUAGES"
"""Comma-separated names of languages, or "all". Python alone without it."""
BUILD_TIMEOUT_S = 1800


@dataclass(frozen=True)
class Language:
    """A language with a client.

    In commands, `{root}` is the folder of the repository, `{built}` the one for what is built,
    `{program}` the path of a program, and `{case}` the name of its case.

    Attributes:
        name: The name in gaps.yaml and in FLOWSPAN_TEST_LANGUAGES.
        title: The name for people.
        folder: The folder of the client; its tests are left out where it is missing.
        tools: The programs that must be installed.
        build: The commands that build everything, each with its folder.
        driver: The command of the driver of the wire tier.
        program: The file in the folder of a case of the idiom tier.
        runs: The command that runs this file.
        has_codes_for_signals: True if a process that is ended by a signal exits with 128 and its
            number, as the JVM does, and not by the signal.
    """

    name: str
    title: str
    folder: str
    driver: tuple[str, ...]
    program: str
    runs: tuple[str, ...]
    tools: tuple[str, ...] = ()
    build: tuple[tuple[str, str], ...] = ()
    has_codes_for_signals: bool = False

    @property
    def problem(self) -> str:
        """The reason why nothing of this language can run here; empty if it can."""
        missing = [tool for tool in self.tools if shutil.which(tool) is None]
        if missing:
            return f"{self.title} is left out: {', '.join(missing)} is not installed"
        if not (ROOT / self.folder).is_dir():
            return f"{self.title} is left out: there is no {self.folder}"
        return ""

    def driver_command(self) -> list[str]:
        """Return the command of the driver."""
        return [_filled(part) for part in self.driver]

    def program_command(self, program: Path) -> list[str]:
        """Return the command that runs a program, which is a file in the folder of a case."""
        return [_filled(part, program=str(program), case=program.parent.name) for part in self.runs]


def _filled(text: str, **names: str) -> str:
    return text.format(root=ROOT, built=BUILT, **names)


PYTHON = Language(
    name="python",
    title="Python",
    folder="python_client",
    driver=(sys.executable, "{root}/tests/conformance/drivers/python_driver.py"),
    program="python.py",
    runs=(sys.executable, "{program}"),
)
GO = Language(
    name="go",
    title="Go",
    folder="clients/go",
    tools=("go",),
    build=(("{root}/tests/conformance", "go build -o {built}/go/ ./drivers/... ./idiom/..."),),
    driver=("{built}/go/go_driver",),
    program="main.go",
    runs=("{built}/go/{case}",),
)
TYPESCRIPT = Language(
    name="typescript",
    title="TypeScript",
    folder="clients/typescript",
    tools=("node", "npm"),
    build=(
        (
            "{root}/clients/typescript",
            "test -d node_modules || npm ci --silent; npm run --silent build",
        ),
        (
            "{root}/tests/conformance",
            "{root}/clients/typescript/node_modules/.bin/tsc -p . --outDir {built}/typescript"
            " && mkdir -p {built}/typescript/node_modules"
            " && ln -sfn {root}/clients/typescript {built}/typescript/node_modules/flowspan",
        ),
    ),
    driver=("node", "{built}/typescript/drivers/typescript_driver.mjs"),
    program="typescript.mts",
    runs=("node", "{built}/typescript/idiom/{case}/typescript.mjs"),
)
JAVA_RUNS = (
    *("sh", "-c", 'exec java -cp "$(cat {built}/java/classpath)" "$@"', "sh"),
    # They end before the optimizing compiler and a parallel collector would be worth their start.
    *("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
    "-Dlogback.configurationFile={root}/tests/conformance/drivers/logback.xml",
)
JAVA = Language(
    name="java",
    title="Java",
    folder="clients/java",
    tools=("javac",),
    build=(
        (
            "{root}/clients/java",
            "mkdir -p {built}/java && ./mvnw -q -B -pl client compile"
            " org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath"
            " -Dmdep.outputFile={built}/java/dependencies -Dmdep.includeScope=test"
            " && printf '%s:' {built}/java/classes {root}/clients/java/client/target/classes"
            " > {built}/java/classpath"
            " && cat {built}/java/dependencies >> {built}/java/classpath",
        ),
        (
            "{root}/tests/conformance",
            "rm -rf {built}/java/classes && mkdir {built}/java/classes && javac -encoding UTF-8"
            " --release 17 -Xlint:all,-processing -Werror -d {built}/java/classes"
            ' -cp "$(cat {built}/java/classpath)"'
            " drivers/*.java program/*.java idiom/*/*.java",
        ),
    ),
    driver=(*JAVA_RUNS, "JavaDriver"),
    program="Program.java",
    runs=(*JAVA_RUNS, "idiom.{case}.Program"),
    has_codes_for_signals=True,
)
LANGUAGES = (PYTHON, GO, TYPESCRIPT, JAVA)


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


@functools.cache
def build(language: Language) -> None:
    """Build the client and the programs of a language, once for all test processes of a test run.

    Raises:
        RuntimeError: A command failed; the message has its output.
    """
    BUILT.mkdir(parents=True, exist_ok=True)
    # A second build would replace files that the programs of other test processes use.
    test_run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    with (BUILT / f"{language.name}.built").open("a+") as built:
        fcntl.flock(built, fcntl.LOCK_EX)
        built.seek(0)
        built_in, _, problem = built.read().partition("\n")
        if built_in != test_run:
            problem = _build_problem(language)
            built.truncate(0)
            built.write(f"{test_run}\n{problem}")
    if problem:
        raise RuntimeError(problem)


def _build_problem(language: Language) -> str:
    """Run the commands, and return the output of one that fails; empty if none does."""
    for folder, command in language.build:
        done = subprocess.run(
            ["sh", "-ec", _filled(command)],
            cwd=_filled(folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            return f"{command} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return ""
