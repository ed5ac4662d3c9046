"""Flows with unusual homes: strange names, and users without a home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import run_code
from tests.support.service import end_local_service

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
    from flowspan import flow, get_client, task
    from flowspan.artifacts import create_link_artifact
    from flowspan.config import get_config

    @task(persist_result=True)
    def step(x):
        return x

    @flow(persist_result=True)
    def small():
        create_link_artifact("https://example.com", key="k")
        return step(1)

    if __name__ == "__main__":
        small()
        with get_client(sync_client=True) as client:
            (run,) = client.read_flow_runs()
            assert run.state.is_completed()
            assert run.state.result() == 1
            assert client.read_latest_artifact("k").type == "link"
        assert (get_config().home / "flowspan.db").exists()
        print("done", ascii(str(get_config().home)))
"""
NAMES = {
    "percent": "a%41b",
    "percent alone": "100%",
    "fragment": "a#b",
    "query": "a?b=c",
    "space": "a b",
    "leading space": " a",
    "newline": "a\nb",
    "tab": "a\tb",
    "letters": "ünï-日本",
    "user": "a:b@c",
    "semicolon": "a;b&c",
    "comma": "a,b",
    "commas": ",a:b,,c;d,",
    "long for a socket, with commas": "a,b" * 40,
    "pattern": "[a]*",
    "backslash": "a\\b",
    "format": "{0}%s",
    "long for a socket": "x" * 120,
    "long for a socket, encoded": "%41" * 40,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_home_may_be_called_anything(name: str, flowspan_home: Path) -> None:
    home = flowspan_home / NAMES[name]
    try:
        output = run_code(PROGRAM, home=flowspan_home, env={"FLOWSPAN_HOME": str(home)})
        assert output.split() == ["done", *ascii(str(home)).split()]
        # No second folder exists, whose name was parsed differently.
        assert [each for each in flowspan_home.iterdir() if each.is_dir()] == [home]
    finally:
        end_local_service(home)


def test_an_address_may_be_a_socket_of_any_name(flowspan_home: Path) -> None:
    code = """
        import os
        from flowspan import flow, get_client

        @flow
        def small(): ...

        with get_client(sync_client=True) as client:
            path = client.address.removeprefix("unix:")
        for name in ("a%41 b#c?d.sock", "a,b:c,.sock"):
            link = os.path.join(os.path.dirname(path), name)
            os.symlink(path, link)
            for address in (f"unix:{link}", f"unix://{link}"):
                with get_client(sync_client=True, address=address) as client:
                    assert list(client.read_flow_runs()) == []
        print("done")
    """
    assert "done" in run_code(code, home=flowspan_home)


@pytest.mark.parametrize(
    "where", ["no HOME", "HOME is empty", "HOME is relative", "HOME is a file"]
)
def test_a_user_without_a_home_directory_gets_a_private_folder(
    where: str, flowspan_home: Path, short_tmp_path: Path
) -> None:
    """As in a container that runs under a user id unknown to the image."""
    unshare = shutil.which("unshare")
    command = [unshare or "", "--user", "--map-user=54321"]
    if unshare is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("cannot switch to another user here")
    script, file = short_tmp_path / "program.py", short_tmp_path / "file"
    script.write_text("\n".join(line.removeprefix("    ") for line in PROGRAM.splitlines()))
    file.write_text("")
    temporary = short_tmp_path / "t"
    temporary.mkdir()
    env = {key: value for key, value in os.environ.items() if key not in {"HOME", "FLOWSPAN_HOME"}}
    env["TMPDIR"] = str(temporary)
    homes = {"HOME is empty": "", "HOME is relative": "here", "HOME is a file": str(file)}
    if where in homes:
        env["HOME"] = homes[where]
    home = temporary / "flowspan-54321" / "home"
    try:
        done = subprocess.run(
            [*command, sys.executable, str(script)],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    finally:
        end_local_service(home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["done", repr(str(home))]
    assert f"Runs are kept in {home}" in done.stderr
    assert "FLOWSPAN_HOME" in done.stderr
