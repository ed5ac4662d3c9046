"""The commands of docs/http.md, run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.run_queries import flow_history, flow_runs, logs

if TYPE_CHECKING:
    from tests.support.harness import Harness

PAGE = Path(__file__).resolve().parents[2] / "docs" / "http.md"


def commands() -> list[str]:
    """Return the commands of the page, each with its continued lines."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found = []
    for block in blocks:
        found += re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE)
    return found


def output_of(command: str, port: int) -> bytes:
    """Run a command; a watch is ended after its snapshot."""
    here = command.replace("127.0.0.1:4680", f"127.0.0.1:{port}")
    is_watch = "--max-time" in here
    with subprocess.Popen(
        ["bash", "-c", here.replace("--max-time 5", "")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        output = b""
        while chunk := process.stdout.read1():
            output += chunk
            if is_watch and b"snapshotEnd" in output:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == (-signal.SIGKILL if is_watch else 0), command
    return output


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_command_of_the_page_works(harness: Harness) -> None:
    port = harness.start_http()
    assert len(commands()) >= 6
    answers = {command: output_of(command, port) for command in commands()}
    for command, answer in answers.items():
        assert "127.0.0.1:4680" in command
        assert (b'"code":' in answer) == ("WRONG" in command), (command, answer)
    assert b'"version":"1.2.3"' in b"".join(answers.values())
    assert b'"text":"0.5"' in b"".join(answers.values())
    (refused,) = (each for each in answers.values() if b'"code"' in each)
    assert b"is not one of" in refused


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_three_calls_report_a_run(harness: Harness) -> None:
    (script,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert script.count("call ") >= 3
    here = script.replace("127.0.0.1:4680", f"127.0.0.1:{harness.start_http()}")
    done = subprocess.run(["sh", "-ec", here], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"lease":"600s"' in done.stdout
    (run,) = flow_runs(harness.channel)
    assert (run.flow_name, list(run.tags)) == ("nightly-backup", ["db"])
    assert flow_history(harness.channel, run.id) == ["Pending", "Running", "Completed"]
    assert run.state.result.data == b'{"rows": 3}'
    assert [log.message for log in logs(harness.channel, run.id)] == ["half of it is copied"]
