"""Loggers whose records are stored with a run, and their console output."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.run_queries import flow_runs, logs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import ServiceProcess

PROGRAM = """
    import logging, sys
    sys.path.insert(0, {folder!r})
    {setup}
    import noisy, wrapper
    from flowspan import flow, get_run_logger

    @flow(flow_run_name="mine")
    def outer():
        noisy.work()
        get_run_logger().info("run logger")
        logging.getLogger(__name__).info("own module")
        logging.getLogger("etl").info("own name")
        logging.info("root from here")
        wrapper.log(__name__, "own through a wrapper")
    outer()
"""
OWN = ["run logger", "own module", "own name", "root from here", "own through a wrapper"]
NOISE = ["library info", "library warning"]
SETUPS = {
    "none": "",
    "basicConfig": "logging.basicConfig(level='INFO', format='mine: %(message)s')",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Installed packages: one that logs, and one that logs for its caller."""
    path = tmp_path / "site-packages"
    path.mkdir()
    (path / "noisy.py").write_text(
        "import logging\n"
        "def work():\n"
        "    logging.getLogger(__name__).info('library info')\n"
        "    logging.getLogger(__name__).warning('library warning')\n"
    )
    (path / "wrapper.py").write_text(
        "import logging\ndef log(name, text):\n    logging.getLogger(name).info(text)\n"
    )
    return path


def stored(service: ServiceProcess) -> list[str]:
    (run,) = flow_runs(service.channel)
    said = [log.message for log in logs(service.channel, run.id)]
    return [text for text in said if not text.startswith(("Begins", "Completed"))]


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("extra", ["", "noisy", "other,noisy", "root"])
def test_libraries_are_captured_where_asked_for(
    service: ServiceProcess, folder: Path, setup: str, extra: str
) -> None:
    code = PROGRAM.format(folder=str(folder), setup=SETUPS[setup])
    env = {"FLOWSPAN_LOGGING_EXTRA_LOGGERS": extra}
    with FlowProcess(
        code, home=service.home / "client", address=service.address, env=env
    ) as process:
        process.finish()
        errors = process.errors
    assert stored(service) == [*(NOISE if extra else []), *OWN]
    for text in OWN:
        assert errors.count(text) == 1, errors
    assert errors.count("library warning") == 1, errors  # As Python shows it.
    assert errors.count("library info") == (1 if extra or setup != "none" else 0), errors
    assert ("Flow run 'mine'" in errors) == (setup == "none")


def test_the_level_is_that_of_the_setting(service: ServiceProcess, folder: Path) -> None:
    code = PROGRAM.format(folder=str(folder), setup="")
    env = {"FLOWSPAN_LOGGING_LEVEL": "WARNING", "FLOWSPAN_LOGGING_EXTRA_LOGGERS": "noisy"}
    with FlowProcess(
        code, home=service.home / "client", address=service.address, env=env
    ) as process:
        process.finish()
        assert "run logger" not in process.errors
    assert stored(service) == ["library warning"]


@pytest.mark.parametrize(
    ("env", "is_coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
        ({"TERM": "xterm", "FLOWSPAN_LOGGING_COLORS": "false"}, False),
    ],
)
def test_a_terminal_gets_colours_and_no_commands_of_a_run(
    service: ServiceProcess, tmp_path: Path, env: dict[str, str], is_coloured: bool
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from flowspan import flow, get_run_logger\n"
        "@flow(flow_run_name='a\\x1b]0;b')\n"
        "def outer(): get_run_logger().info('c\\x1b[2Jd\\x9b')\n"
        "outer()\n"
    )
    ours, its = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TERM"}}
    try:
        subprocess.run(
            [sys.executable, str(program)],
            env={**kept, "FLOWSPAN_ADDRESS": service.address, **env},
            stderr=its,
            check=True,
            timeout=120,
        )
        text = os.read(ours, 1 << 16).decode()
    finally:
        os.close(its)
        os.close(ours)
    assert ("\x1b[36mINFO" in text) == is_coloured
    assert ("\x1b" in text) == is_coloured
    for raw in ("\x1b]", "\x1b[2J", "\x9b"):
        assert raw not in text
    assert r"c\x1b[2Jd\x9b" in text
    assert r"'a\x1b]0;b'" in text
