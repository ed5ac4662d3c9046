"""Run Prefect programs and compare their output with the output that they declare.

`make test-prefect` runs it in an environment with the real Prefect; test_programs.py runs the same
programs on flowspan, with the imports migrated. A program ends with comments::

    # prints: the line that both print
    # prefect prints: a line that only Prefect prints
    # flowspan prints: a line that only flowspan prints
    # because: why flowspan differs

It needs only the standard library, so that it runs beside any Prefect::

    python tests/migrating/run.py            # all programs
    python tests/migrating/run.py retries    # those with this word in their path
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import sys
import tempfile
import traceback
from pathlib import Path

_START_S = 240  # The start of Prefect's server, on a busy machine.

FOLDER = Path(__file__).parent
LINE = re.compile(r"# (prints|prefect prints|flowspan prints|because): ?(.*)")


def programs() -> list[Path]:
    """Return all programs: the small ones and the examples."""
    return sorted([*FOLDER.glob("programs/*/*.py"), *FOLDER.glob("examples/*.py")])


def name_of(program: Path) -> str:
    """Return the name of a program: its path in this folder, without the ending."""
    return program.relative_to(FOLDER).with_suffix("").as_posix()


def expected(text: str, package: str) -> list[str]:
    """Return the lines that a program should print.

    Args:
        text: The program.
        package: "prefect" or "flowspan".

    Raises:
        ValueError: It declares no output, or a difference without a reason.
    """
    said = [match.groups() for match in map(LINE.fullmatch, text.splitlines()) if match]
    words = {word for word, _ in said}
    if not words:
        raise ValueError("the program has no comments '# prints: …' at its end")
    if words & {"prefect prints", "flowspan prints"} and "because" not in words:
        raise ValueError("the program needs a comment '# because: …', as its output differs")
    return [line for word, line in said if word in {"prints", f"{package} prints"}]


def run(path: Path, name: str) -> list[str]:
    """Import a program as a module with a unique name, and return the lines that it prints.

    If an exception ends the program, its type and its message are the last lines.
    """
    module_name = "migrating_" + re.sub(r"\W", "_", name)
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            spec.loader.exec_module(module)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        traceback.print_exc()
        printed.write(f"{type(error).__name__}: {error}\n")
    return [line.rstrip() for line in printed.getvalue().splitlines()]


def difference(text: str, package: str, printed: list[str]) -> str:
    """Return the difference between declared and printed lines; empty if they are equal."""
    wanted = expected(text, package)
    if wanted == printed:
        return ""
    return "\n".join(
        ["expected:", *(f"    {line}" for line in wanted), "printed:"]
        + [f"    {line}" for line in printed]
    )


def on_prefect(words: list[str]) -> int:
    """Run programs on the installed Prefect; return the number of programs with other output."""
    import prefect
    from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    wrong = count = 0
    with prefect_test_harness(server_startup_timeout=_START_S):
        for path in programs():
            name = name_of(path)
            if words and not any(word in name for word in words):
                continue
            count += 1
            with (
                tempfile.TemporaryDirectory() as results,
                temporary_settings(updates={PREFECT_LOCAL_STORAGE_PATH: Path(results)}),
            ):
                told = difference(path.read_text(encoding="utf-8"), "prefect", run(path, name))
            wrong += bool(told)
            print(f"{'FAILED' if told else 'passed'} {name}", told, sep="\n" if told else "")
    print(
        f"{count - wrong} of {count} programs behave as declared on Prefect {prefect.__version__}."
    )
    return wrong


if __name__ == "__main__":
    sys.exit(1 if on_prefect(sys.argv[1:]) else 0)
