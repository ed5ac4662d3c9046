"""All files of flowspan are private to the user, for any umask and over existing files."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tests.support.child_processes import dying_with_us
from tests.support.command_process import COMMAND
from tests.support.run_queries import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UMASKS = [0o022, 0o000, 0o077]
TIMEOUT_S = 120.0
UMASK_IDS = [f"{mask:03o}" for mask in UMASKS]

FLOWS = """
    import os
    from flowspan import flow, get_run_logger, task
    from flowspan.cache_policies import INPUTS
    from flowspan.locking.filesystem import FileSystemLockManager
    from flowspan.task_runners import ProcessPoolTaskRunner

    HOME = os.environ["FLOWSPAN_HOME"]
    POLICY = INPUTS.configure(
        isolation_level="SERIALIZABLE", lock_manager=FileSystemLockManager(HOME + "/locks")
    )

    @task(cache_policy=POLICY, persist_result=True)
    def kept(n):
        return n

    @task(persist_result=True, result_storage_key="a/b/{parameters[n]}")
    def named(n):
        return n

    @task(persist_result=True)
    def elsewhere(n):
        return n

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1), log_prints=True, persist_result=True)
    def everything():
        get_run_logger().warning("a log")
        print("a print")
        return [kept.submit(1).result(), named(2), elsewhere.submit(3).result()]

    everything()
    with_lock = FileSystemLockManager(HOME + "/locks")
    with_lock.acquire_lock("key", "holder")
"""

CHOSEN = """
    import os
    from flowspan import flow

    @flow(persist_result=True, result_storage=os.environ["CHOSEN"])
    def there():
        return 1

    there()
"""

HARNESS = """
    import os
    from flowspan import flow
    from flowspan.testing import flowspan_test_harness

    @flow(persist_result=True)
    def tested():
        return 1

    with flowspan_test_harness() as harness:
        tested()
        home = os.environ["FLOWSPAN_HOME"]
        for folder, _, files in os.walk(home):
            for path in (folder, *(os.path.join(folder, file) for file in files)):
                print(oct(os.lstat(path).st_mode & 0o077), path)
"""


def run(code: str, home: Path, umask: int, **env: str) -> str:
    """Run a program stored outside of the home."""
    script = home.parent / f"program-{os.urandom(4).hex()}.py"
    script.write_text(textwrap.dedent(code))
    return run_command([sys.executable, str(script)], home, umask, **env)


def run_command(command: list[str], home: Path, umask: int, **env: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, "FLOWSPAN_HOME": str(home), **env},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def everything_in(home: Path) -> Iterator[Path]:
    yield home
    for folder, folders, files in os.walk(home):
        for name in (*folders, *files):
            yield home.__class__(folder, name)


def assert_private(home: Path, *, expected: set[str]) -> None:
    """Check that nothing in the home is open to others and that the expected files exist."""
    names = set()
    for path in everything_in(home):
        with suppress(FileNotFoundError):  # The service deletes files, too.
            found = path.lstat()
            names.add(path.name)
            right = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
            mode = stat.S_IMODE(found.st_mode)
            assert mode == right, f"{path} has the mode {mode:04o}"
    assert names >= expected


@pytest.mark.slow
@pytest.mark.parametrize("umask", UMASKS, ids=UMASK_IDS)
def test_nothing_in_a_home_is_for_others(umask: int, flowspan_home: Path) -> None:
    run(FLOWS, flowspan_home, umask)
    run_command([COMMAND, "run", "ls"], flowspan_home, umask)
    spooling = {"FLOWSPAN_ADDRESS": "127.0.0.1:1", "FLOWSPAN_FLUSH_TIMEOUT_S": "0.1"}
    run(FLOWS, flowspan_home, umask, **spooling)
    assert len(list((flowspan_home / "spool").glob("*.spool"))) == 1
    assert list((flowspan_home / "locks").iterdir())
    assert list((flowspan_home / "results" / "a" / "b").iterdir())
    expected = {
        *("flowspan.db", "flowspan.db-wal", "flowspan.db-shm", "flowspan.db.lock", "start.lock"),
        *("service.json", "service.log", "service.sock", "spool", "results", "locks"),
    }
    assert_private(flowspan_home, expected=expected)


@pytest.mark.parametrize("umask", UMASKS, ids=UMASK_IDS)
def test_a_home_that_was_open_to_others_is_tightened(umask: int, flowspan_home: Path) -> None:
    """This includes a home that an earlier version created, with its contents."""
    run(CHOSEN, flowspan_home, umask, CHOSEN=str(flowspan_home / "results"))
    run_command([COMMAND, "server", "stop"], flowspan_home, umask)
    (flowspan_home / "spool").mkdir(exist_ok=True)
    (flowspan_home / "spool" / "x.spool.damaged").write_text("old")
    for path in everything_in(flowspan_home):
        path.chmod(0o777 if path.is_dir() else 0o666)
    run_command([COMMAND, "run", "ls"], flowspan_home, umask)
    assert_private(flowspan_home, expected={"flowspan.db", "service.sock", "x.spool.damaged"})


@pytest.mark.parametrize("umask", UMASKS, ids=UMASK_IDS)
def test_a_chosen_folder_keeps_its_permissions_and_its_files_are_private(
    umask: int, flowspan_home: Path, tmp_path: Path
) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing" / "below"
    there.mkdir()
    there.chmod(0o755)
    for chosen in (there, missing):
        run(CHOSEN, flowspan_home, umask, CHOSEN=str(chosen))
    assert stat.S_IMODE(there.stat().st_mode) == 0o755
    (file,) = there.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert_private(missing, expected=set())
    assert_private(missing.parent, expected=set())


@pytest.mark.parametrize("umask", UMASKS, ids=UMASK_IDS)
def test_a_service_of_its_own_is_private(
    umask: int, flowspan_home: Path, short_tmp_path: Path
) -> None:
    """Its socket is private from the start, and a database elsewhere is tightened."""
    socket = short_tmp_path / "run" / "own.sock"
    database = short_tmp_path / "elsewhere.db"
    database.touch()
    database.chmod(0o666)
    process = subprocess.Popen(
        [
            *(*dying_with_us(), sys.executable, "-m", "flowspan_service", "--port", "0"),
            *(
                "--home",
                str(flowspan_home),
                "--socket",
                str(socket),
                "--db",
                f"sqlite:///{database}",
            ),
        ],
        umask=umask,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    seen: set[int] = set()

    def is_ready() -> bool:
        for _ in range(2000):
            with suppress(FileNotFoundError):
                seen.add(stat.S_IMODE(socket.lstat().st_mode))
        return (flowspan_home / "service.json").exists()

    try:
        wait_until(is_ready, "the service")
        assert seen == {0o600}
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        for path in short_tmp_path.glob("elsewhere.db*"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert_private(flowspan_home, expected={"service.json"})
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("umask", UMASKS, ids=UMASK_IDS)
def test_a_home_of_the_harness_is_private(umask: int, flowspan_home: Path) -> None:
    for line in run(HARNESS, flowspan_home, umask).splitlines():
        assert line.startswith("0o0 "), line


def test_a_temporary_folder_as_a_home_stays_open(flowspan_home: Path) -> None:
    """Tightening it would lock out its other users; flowspan's files in it are still private."""
    flowspan_home.mkdir()
    flowspan_home.chmod(0o1777)
    run(CHOSEN, flowspan_home, 0o000, CHOSEN=str(flowspan_home / "results"))
    assert stat.S_IMODE(flowspan_home.stat().st_mode) == 0o1777
    for path in everything_in(flowspan_home):
        if path != flowspan_home:
            assert not path.lstat().st_mode & 0o077, path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of folders")
def test_a_home_of_another_user_is_not_touched(flowspan_home: Path) -> None:
    flowspan_home.mkdir()
    flowspan_home.chmod(0o755)
    shutil.chown(flowspan_home, 65534)
    run(CHOSEN, flowspan_home, 0o022, CHOSEN=str(flowspan_home / "results"))
    assert stat.S_IMODE(flowspan_home.stat().st_mode) == 0o755
    for path in everything_in(flowspan_home):
        if path != flowspan_home:
            assert not path.lstat().st_mode & 0o077, path
