"""The wiring: store, use cases, servers and loops, from one Config."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import shlex
import signal
import socket
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from flowspan_service.api.backend import About, Activity, Backend
from flowspan_service.app.hub import CommitHub
from flowspan_service.app.live import LiveSessions
from flowspan_service.app.sessions import LeaseTerms
from flowspan_service.config import default_home, without_secrets
from flowspan_service.domain.errors import ServiceError
from flowspan_service.loops.commands import bring_commands
from flowspan_service.loops.database import watch_database
from flowspan_service.loops.housekeeping import keep_house
from flowspan_service.loops.idle import until_idle
from flowspan_service.loops.open_files import watch_open_files
from flowspan_service.loops.reaper import Reaper
from flowspan_service.loops.unfinished import finish_unfinished
from flowspan_service.process.clock import SystemClock
from flowspan_service.process.logging import set_up_logging
from flowspan_service.process.open_files import raise_limit
from flowspan_service.process.plain_text import clean
from flowspan_service.process.private_files import own_home
from flowspan_service.process.published_address import publish, unpublish
from flowspan_service.process.standard_streams import keep_files_private, log_file, say
from flowspan_service.stores import (
    StoreLock,
    StoreLockedError,
    StoreOpenError,
    open_store,
    sqlite_path,
)
from flowspan_service.transports.grpc.server import ListenError, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from flowspan_service.app.ports import Clock, Store
    from flowspan_service.config import Config

log = structlog.get_logger("flowspan.service")

EXIT_LOCKED = 3
EXIT_ADDRESS = 4
EXIT_DATABASE = 5

STOP_GRACE_S = 3.0
"""How long calls may take to end when the service stops."""
TAKE_OVER_S = 10.0
"""How long the local service may take to make room for one that a person starts."""
READERS = 8
COLLECT_AFTER = 200_000
"""The collector looks when so many objects were made that are still there."""
_MAX_SOCKET_PATH = 100
"""In bytes: the system's limit is 104 or 108, and gRPC needs some of it."""


def main(config: Config, *, on_ready: Callable[[list[str]], None] | None = None) -> int:
    """Run the service until it is stopped; return the exit code.

    Args:
        config: The settings.
        on_ready: Is called with the addresses once the service answers there.
    """
    keep_files_private()
    set_up_logging(level=config.log_level, as_json=config.log_format == "json")
    raise_limit()
    try:
        with _home_and_lock(config) as lock:
            store = open_store(
                config.db, clock=SystemClock(), on_point=_crash_point(config, "before_ack")
            )
            try:
                asyncio.run(_serve(config, store, lock, on_ready))
            finally:
                # The loop's handlers are gone with it; Ctrl-C is to end this too, without a word.
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                store.close()
    except StoreLockedError as error:
        holder = error.holder
        if config.is_embedded and (holder is None or holder.embedded):
            log.info("another local service was faster", error=str(error))
            return 0
        return _complain(str(error), EXIT_LOCKED)
    except StoreOpenError as error:
        return _complain(str(error), EXIT_DATABASE)
    except ListenError as error:
        return _complain(str(error), EXIT_ADDRESS)
    except ServiceError as error:
        return _complain(f"The service cannot start. {error}", EXIT_DATABASE)
    return 0


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"flowspan: {clean(message)}\n")
    return code


@contextlib.contextmanager
def _home_and_lock(config: Config) -> Iterator[StoreLock | None]:
    """Makes the home, and takes the lock of a SQLite database; None for other databases."""
    try:
        own_home(config.home)
    except OSError as error:
        raise StoreOpenError(
            f"The home {config.home} cannot be made ({error.strerror}). Name another one with "
            "--home or FLOWSPAN_HOME."
        ) from error
    path = sqlite_path(config.db)
    if path is None:
        yield None
        return
    with _take_lock(path, is_embedded=config.is_embedded) as lock:
        yield lock


def _take_lock(path: Path, *, is_embedded: bool) -> StoreLock:
    """The lock; a local service that has it is asked to stop, if a person starts this one."""
    deadline = time.monotonic() + TAKE_OVER_S
    asked: int | None = None
    while True:
        try:
            return StoreLock(path, embedded=is_embedded)
        except StoreLockedError as error:
            holder = error.holder
            if is_embedded or time.monotonic() > deadline:
                raise
            if holder is None:
                # It was just taken, and not yet signed; or given back a moment ago.
                time.sleep(0.02)
                continue
            if not holder.embedded:
                raise
            if holder.pid != asked:
                log.info("taking over from the local service", process_id=holder.pid)
                asked = holder.pid
                with contextlib.suppress(ProcessLookupError):
                    os.kill(holder.pid, signal.SIGTERM)
            time.sleep(0.02)


async def _serve(
    config: Config,
    store: Store,
    lock: StoreLock | None,
    on_ready: Callable[[list[str]], None] | None,
) -> None:
    """Serves until somebody stops it, or nobody has used it for long enough."""
    loop = asyncio.get_running_loop()
    # First of all, so that whoever finds the service announced may stop it.
    stopped = _stopped_by_signals(loop)
    clock = SystemClock()
    with contextlib.ExitStack() as stack:
        readers = stack.enter_context(
            ThreadPoolExecutor(READERS, thread_name_prefix="flowspan-read")
        )
        backend = Backend(
            store=store,
            clock=clock,
            readers=readers,
            terms=LeaseTerms(
                lease_us=round(config.lease_s * 1e6), grace_us=round(config.grace_s * 1e6)
            ),
            hub=CommitHub(loop, store, readers),
            live=LiveSessions(),
            about=About(
                version=version("flowspan"),
                database=config.db.partition(":")[0].partition("+")[0],
                started_us=clock.now_us(),
                process_id=os.getpid(),
                otlp_endpoint=config.otlp_endpoint,
                database_location=_location(config.db),
                log_file=log_file(config.home),
                is_embedded=config.is_embedded,
                idle_timeout_us=(
                    None if config.idle_timeout_s is None else round(config.idle_timeout_s * 1e6)
                ),
            ),
            activity=Activity(last_call_us=clock.steady_us()),
            on_point=_crash_point(config, "before_commit", "after_commit"),
        )
        store.on_commit(backend.hub)
        reaper = Reaper(store, clock, backend.live, backend.terms)
        await reaper.reap()  # the first look: whoever is there has a full lease from now on
        stack.enter_context(_spans(config, store, clock))
        server = Server(backend)
        addresses = _listen(server, config)
        await server.start()
        _announce(config, backend, lock, addresses)
        if on_ready is not None:
            on_ready(addresses)
        try:
            async with _loops(backend, reaper, server):
                await _until_stopped(config, backend, stopped)
        finally:
            unpublish(config.home)
            log.info("stopping")
            await server.stop(grace_s=STOP_GRACE_S)


@contextlib.contextmanager
def _spans(config: Config, store: Store, clock: Clock) -> Iterator[None]:
    """Exports the spans that clients cannot, if it is known where spans go."""
    variables = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not config.otlp_endpoint and not any(os.environ.get(name) for name in variables):
        yield
        return
    # OpenTelemetry's exporter takes long to load, and is not often needed.
    from flowspan_service.loops.spans import span_exporter  # noqa: PLC0415

    exporter = span_exporter(
        store,
        clock,
        endpoint=config.otlp_endpoint or None,
        home=config.home,
        environ=os.environ,
    )
    if exporter is None:
        yield
        return
    exporter.start()
    try:
        yield
    finally:
        exporter.close()


def _listen(server: Server, config: Config) -> list[str]:
    """Listens; returns the addresses, the nearest first."""
    addresses = []
    if config.socket is not None:
        path = _short_enough(config.socket)
        server.listen_on_socket(path)
        addresses.append(f"unix:{path}")
    if config.listens_on_tcp:
        if not _is_loopback(config.host):
            log.warning(
                "anybody who reaches this address may read and change everything: there is no "
                "authentication yet",
                host=config.host,
            )
        port = server.listen(config.host, config.port)
        host = f"[{config.host}]" if ":" in config.host else config.host
        addresses.append(f"{host}:{port}")
    return addresses


def _announce(
    config: Config, backend: Backend, lock: StoreLock | None, addresses: list[str]
) -> None:
    """Says that the service is ready: to clients, to those who find the lock taken, to people."""
    about = backend.about
    if lock is not None:
        lock.announce(addresses[-1])
    publish(
        config.home,
        version=about.version,
        addresses=addresses,
        is_embedded=config.is_embedded,
        otlp_endpoint=config.otlp_endpoint,
        started_at=datetime.fromtimestamp(about.started_us / 1e6, UTC).isoformat(),
    )
    database = without_secrets(config.db)
    log.info("ready", addresses=addresses, database=database, version=about.version)
    if config.listens_on_tcp:
        log.info("nothing is served over HTTP yet", http_port=config.http_port)
    if not config.is_embedded:
        say(
            f"flowspan {about.version} is ready at {addresses[-1]}, with {database}. "
            "Ctrl-C stops it.",
            *_how_to_reach(config, addresses),
        )
    _tune_collector()


def _how_to_reach(config: Config, addresses: list[str]) -> list[str]:
    """Return the lines that tell people how to point flows at this service."""
    home = shlex.quote(str(config.home))
    lines = [
        f"Flows of this machine find it if their FLOWSPAN_HOME is {home}"
        + (", as it is by default." if config.home == default_home() else "."),
        f"Or point them at it:  export FLOWSPAN_ADDRESS={shlex.quote(addresses[-1])}",
    ]
    if config.listens_on_tcp and not _is_loopback(config.host):
        port = addresses[-1].rpartition(":")[2]
        name = socket.gethostname()
        lines[1] = f"Or point them at it, from anywhere:  export FLOWSPAN_ADDRESS={name}:{port}"
    return lines


def _location(db: str) -> str:
    """Return the location of the database: a path, or a URL without the password."""
    path = sqlite_path(db)
    return without_secrets(db) if path is None else str(path)


def _tune_collector() -> None:
    """Lets the garbage collector look less often.

    What events are made of has no cycles, but makes so many objects that the collector, left alone,
    takes half of the time.
    """
    gc.enable()  # `__main__` turned it off
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 100)


@contextlib.asynccontextmanager
async def _loops(backend: Backend, reaper: Reaper, server: Server) -> AsyncIterator[None]:
    """Runs what the service does by itself."""
    work: list[Coroutine[None, None, None]] = [
        reaper.run(),
        keep_house(backend.store, backend.clock),
        finish_unfinished(backend.store, under_way=backend.deleting),
        watch_open_files(backend.files),
        watch_database(backend.store, server.set_problem),
    ]
    if backend.about.database != "sqlite":
        work.append(bring_commands(backend.store, backend.live, backend.readers))
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _stopped_by_signals(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """An event that is set by the first SIGINT or SIGTERM; the second ends the process at once."""
    stopped = asyncio.Event()

    def stop(number: int) -> None:
        if stopped.is_set():
            os._exit(128 + number)
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    return stopped


async def _until_stopped(config: Config, backend: Backend, stopped: asyncio.Event) -> None:
    """Returns when somebody stops the service, or when it was idle for long enough."""
    waits: list[asyncio.Task[object]] = [asyncio.create_task(stopped.wait())]
    if config.idle_timeout_s is not None:
        activity, live = backend.activity, backend.live

        def idle_since_us() -> int | None:
            return None if activity.open_calls or len(live) else activity.last_call_us

        waits.append(
            asyncio.create_task(
                until_idle(idle_since_us, backend.clock.steady_us, timeout_s=config.idle_timeout_s)
            )
        )
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    stopped.set()
    for wait in waits:
        wait.cancel()


def _crash_point(config: Config, *not_here: str) -> Callable[[str], None] | None:
    """For tests: what kills the process when the point is reached for the given time.

    Args:
        config: Names the point.
        not_here: Points that are reached elsewhere.
    """
    point, left = config.crash_point, config.crash_at
    if point is None or point in not_here:
        return None

    def reached(name: str) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reached


def _short_enough(path: Path) -> Path:
    """The socket's path, or one in the user's own temporary folder where it is too long."""
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path
    folder = Path(tempfile.gettempdir()) / f"flowspan-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ListenError(f"The folder {folder} cannot be made: {error}. Use --socket.") from error
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise ListenError(f"The folder {folder} is not this user's alone. Use --socket.")
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    return folder / f"{digest}.sock"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
