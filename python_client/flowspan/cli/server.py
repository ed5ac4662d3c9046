"""`flowspan server start`, `server status` and `server stop`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowspan.cli import format as fmt
from flowspan.cli import json_output, options
from flowspan.cli.session import CommandError, session
from flowspan.config import get_config
from flowspan.connection.address import parse_address
from flowspan.connection.local_service import find_local_service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan.api.models import ServiceInfo
    from flowspan.cli.session import Session

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 60.0
_POLL_S = 0.05
_LOG_LINES = 15
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def start(
    ctx: typer.Context,
    *,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="HOST", help="Where to listen: 127.0.0.1 if not given; 0.0.0.0 for everybody."
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", help="The port for gRPC: 4600 if not given.")
    ] = None,
    http_port: Annotated[
        int | None, typer.Option(metavar="PORT", help="The port for HTTP: 4680 if not given.")
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="postgresql://user:password@host/name, or the path of an SQLite file; a file in "
            "the home if not given.",
        ),
    ] = None,
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where spans go, of the service and of its clients: http://localhost:4317.",
        ),
    ] = None,
    home: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="The folder for its data; FLOWSPAN_HOME if not given."),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="text, or json for one object a line.")
    ] = None,
    background: Annotated[
        bool,
        typer.Option("--background", help="Return when it is ready, and leave it running."),
    ] = False,
) -> None:
    """Start a service, until Ctrl-C.

    Flows of the same home find it without an address; others by FLOWSPAN_ADDRESS.

    Try:

        flowspan server start

        flowspan server start --db postgresql://localhost/flowspan --host 0.0.0.0
    """
    home = home or str(get_config().home)
    flags = {
        "--home": home,
        "--host": host,
        "--port": port,
        "--http-port": http_port,
        "--db": db,
        "--otlp-endpoint": otlp_endpoint,
        "--log-level": log_level,
        "--log-format": log_format,
    }
    command = [sys.executable, "-m", "flowspan_service"]
    for flag, value in flags.items():
        if value is not None:
            command += [flag, str(value)]
    if background:
        _start_in_background(session(ctx), command, home)
    else:
        # It takes this process's place: signals and the terminal are its own.
        sys.stdout.flush()
        os.execv(command[0], command)  # noqa: S606 - our own interpreter and module


def status(ctx: typer.Context, *, json: options.Json = False) -> None:
    """Show whether a service runs, where, and how it does. Exit code 1 if none does.

    Try:

        flowspan server status --json | jq .queued_event_count
    """
    this = session(ctx)
    client = this.client(start_local=False)
    info = client.get_info()
    if json:
        this.print_json({"address": client.address, **json_output.record(info)})
        return
    for name, value in _facts(this, client.address, info):
        if value:
            this.print(f"{name:<12} {value}")


def stop(ctx: typer.Context, *, json: options.Json = False) -> None:
    """Stop a service of this machine, after it has stored what it was sent.

    Flows that are running go on, and report when a service is back.

    Try:

        flowspan server stop && flowspan server start
    """
    this = session(ctx)
    client = this.client(start_local=False)
    where = parse_address(client.address)
    if not where.path and where.host not in _LOOPBACK:
        raise CommandError(
            f"the service at {client.address} runs on another machine",
            advice="Stop it there: `flowspan server stop` on that machine.",
        )
    pid = client.get_info().process_id
    this.close()
    if not _is_service(pid):
        raise CommandError(
            f"the service at {client.address} has the process id {pid}, which is not a service's "
            "here: it runs in a container, or behind a tunnel",
            advice="Stop it where it was started.",
        )
    _terminate(pid)
    if json:
        this.print_json({"address": client.address, "process_id": pid, "stopped": True})
    else:
        this.print(f"Stopped the service at {client.address} (process {pid}).")


def _start_in_background(this: Session, command: Sequence[str], home: str) -> None:
    folder = Path(home)
    folder.mkdir(parents=True, exist_ok=True)
    log_path = folder / "server.log"
    with log_path.open("ab") as log:
        offset = log.tell()
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        found = find_local_service(folder)
        if found is not None and process.poll() is None:
            this.print(f"A service runs at {found} (process {process.pid}); its log: {log_path}")
            process.returncode = 0  # it outlives this process
            return
        if process.poll() is not None:
            break
        time.sleep(_POLL_S)
    raise CommandError(f"the service did not start:\n{_end_of(log_path, offset)}")


def _end_of(log_path: Path, offset: int) -> str:
    with log_path.open("rb") as log:
        log.seek(offset)
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-_LOG_LINES:]) or "    (its log is empty)"


def _facts(this: Session, address: str, info: ServiceInfo) -> list[tuple[str, str]]:
    up_s = 0.0
    if info.started_at is not None:
        up_s = ((info.server_time or this.now) - info.started_at).total_seconds()
    return [
        ("address", address),
        ("version", info.version),
        ("process", str(info.process_id)),
        ("up", f"{fmt.duration(up_s)}, since {fmt.stamp(info.started_at)}"),
        ("database", f"{info.database}, schema {info.schema_version}"),
        ("sessions", f"{info.connected_session_count:,} connected"),
        ("queue", f"{info.queued_event_count:,} events wait to be stored"),
        ("stored", f"{info.committed_transition_count:,} transitions since it started"),
        ("lease", f"{info.lease_s:g}s, {info.reconnect_grace_s:g}s after a broken connection"),
        ("spans", f"to {info.otlp_endpoint}" if info.otlp_endpoint else ""),
    ]


def _is_service(pid: int) -> bool:
    """Whether the process of that id on this machine is a service."""
    if pid <= 1:
        return False
    told = subprocess.run(  # noqa: S603
        ["ps", "-p", str(pid), "-o", "args="],  # noqa: S607 - ps is where the system has it
        capture_output=True,
        text=True,
        check=False,
    )
    return "flowspan_service" in told.stdout


def _terminate(pid: int) -> None:
    """Asks a process to end, and waits until it is gone.

    Raises:
        CommandError: It may not be asked, or does not end.
    """
    try:
        os.kill(pid, signal.SIGTERM)
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        while time.monotonic() < deadline_s:
            os.kill(pid, 0)
            if not _is_service(pid):  # a zombie whose parent has not looked
                return
            time.sleep(_POLL_S)
    except ProcessLookupError:
        return
    except PermissionError:
        raise CommandError(
            f"process {pid} belongs to another user", advice="Stop it as that user."
        ) from None
    raise CommandError(
        f"process {pid} has not ended after {_STOP_TIMEOUT_S:g} s",
        advice=f"Its log says why; `kill -9 {pid}` ends it, and loses nothing that was acked.",
    )
