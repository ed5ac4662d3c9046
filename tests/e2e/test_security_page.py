"""The commands of docs/security.md under "Share a service", run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.access import create_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
TIMEOUT_S = 120.0
HOST = "flows.example.com"
ADDRESS = f"{HOST}:4600"


def commands(heading: str) -> list[str]:
    """Return the commands of a section."""
    _, found, rest = PAGE.partition(f"# {heading}\n")
    assert found, heading
    section = re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    return [
        command for block in blocks for command in re.findall(r"^\$ (.*)$", block, re.MULTILINE)
    ]


def run(command: str, folder: Path, **env: str) -> str:
    """Run a command of the page as a user of another machine; return its output."""
    done = subprocess.run(
        ["sh", "-euc", command],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "FLOWSPAN_HOME": str(folder / "home"),
            **env,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the certificates that the page creates."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    if "OpenSSL 3" not in run("openssl version", tmp_path):
        pytest.skip("needs OpenSSL 3")
    made = commands("Create a certificate")
    assert len(made) == 2
    for command in made:
        run(command.replace(HOST, "localhost").replace("192.0.2.7", "127.0.0.1"), tmp_path)
    for key in ("ca.key", "server.key"):
        assert stat.S_IMODE((tmp_path / key).stat().st_mode) == 0o600
    return tmp_path


def test_commands_share_a_service(
    folder: Path, start_service: Callable[..., ServiceProcess]
) -> None:
    first, serve, *others = (
        each for each in commands("Share a service") if not each.startswith("export ")
    )
    flags = re.search(r"--tls-cert \S+ --tls-key \S+", serve)
    assert flags is not None
    files = [str(folder / each) if "." in each else each for each in flags[0].split()]
    service = start_service(asks_over_socket=True, arguments=tuple(files))
    run(first, folder, FLOWSPAN_HOME=str(service.home))
    with_profile = [each for each in others if "server start" not in each and "unix:" not in each]
    assert len(with_profile) == 4
    for command in with_profile:
        here = command.replace(ADDRESS, f"localhost:{service.port}")
        run(here.replace(" --tls ", " --tls --tls-ca ca.pem "), folder)
    names = run('flowspan token ls --json | sed \'s/.*"name": *"\\([a-z]*\\)".*/\\1/\'', folder)
    assert names.split() == ["me", "nightly"]
    for token in ("me.token", "nightly.token"):
        assert stat.S_IMODE((folder / token).stat().st_mode) == 0o600


def test_commands_share_it_without_a_profile(
    folder: Path, start_service: Callable[..., ServiceProcess]
) -> None:
    service = start_service(
        asks_over_socket=True,
        arguments=(
            *("--tls-cert", str(folder / "server.pem"), "--tls-key", str(folder / "server.key")),
            *("--tls-client-ca", str(folder / "ca.pem")),
        ),
    )
    (folder / "token").write_text(create_token(service.channel, "ci", "read"))
    settings = [each for each in commands("Share a service") if each.startswith("export ")]
    script = "\n".join([*settings, "flowspan run ls"])
    script = script.replace(ADDRESS, f"127.0.0.1:{service.port}")
    script = script.replace("/run/secrets/flowspan", "token")
    # The page uses one authority for both sides, and creates certificates for clients alike.
    shown = run(
        script,
        folder,
        FLOWSPAN_TLS_CA="ca.pem",
        FLOWSPAN_TLS_CLIENT_CERT="server.pem",
        FLOWSPAN_TLS_CLIENT_KEY="server.key",
    )
    assert "No flow runs" in shown
