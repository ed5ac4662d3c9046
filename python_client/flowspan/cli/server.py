"""`flowspan server start`, `server status` and `server stop`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import typer  # noqa: TC002 - typer reads the annotations

from flowspan import clock
from flowspan.cli import format as fmt
from flowspan.cli import json_output, options
from flowspan.cli.serve import become_service
from flowspan.cli.session import CommandError, session
from flowspan.connection.address import parse_address
from flowspan.core.durations import duration

if TYPE_CHECKING:
    from flowspan.api.models import ServiceInfo
    from flowspan.cli.session import Session

_STOP_TIMEOUT_S = 60.0
_POLL_S = 0.05
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def start(ctx: typer.Context) -> None:
    """Start the service and run it until Ctrl-C.

    For its options, see `flowspan server start --help`.
    """
    become_service(ctx.args)


def status(ctx: typer.Context, *, json: options.Json = False) -> None:
    """Show the status of the service.

    The exit code is 1 if no service is running.

    Try:

        flowspan server status --json | jq .queued_event_count
    """
    this = session(ctx)
    client = this.client(start_local=False)
    info = client.read_service_info()
    if json:
        this.print_json({"address": client.address, **json_output.record(info)})
        return
    for name, value in _facts(this, client.address, info):
        if value:
            this.print(f"{name:<12} {value}")


def stop(ctx: typer.Context, *, json: options.Json = False) -> None:
    """Stop the service on this machine.

    The service stores everything that it has received before it exits. Flows
    that are running continue, and report when a service is available again.

    Try:

        flowspan server stop && flowspan server start
    """
    this = session(ctx)
    client = this.client(start_local=False)
    where = parse_address(client.address)
    if not where.path and where.host not in _LOOPBACK:
        raise CommandError(
            f"the service at {client.address} runs on another machine",
            advice="Run `flowspan server stop` on that machine.",
        )
    pid = client.read_service_info().process_id
    this.close()
    if not _is_service(pid):
        raise CommandError(
            f"the service at {client.address} has the process id {pid}, which is not a service "
            "on this machine. It may run in a container or behind a tunnel",
            advice="Stop it where it was started.",
        )
    _terminate(pid)
    if json:
        this.print_json({"address": client.address, "process_id": pid, "stopped": True})
    else:
        this.print(f"Stopped the service at {client.address} (process {pid}).")


def _facts(this: Session, address: str, info: ServiceInfo) -> list[tuple[str, str]]:
    up_s = 0.0
    if info.started_at is not None:
        up_s = ((info.server_time or this.now) - info.started_at).total_seconds()
    grace = duration(info.reconnect_grace_s)
    return [
        ("address", address),
        ("version", info.version),
        ("process", str(info.process_id)),
        ("up", f"{duration(up_s)}, since {fmt.stamp(info.started_at)}"),
        ("ends", _end(info)),
        ("database", f"{info.database}, schema {info.schema_version}"),
        ("stored in", _place(info)),
        ("problem", info.database_problem),
        ("log", info.log_file),
        ("sessions", f"{fmt.count(info.connected_session_count)} connected"),
        ("queue", f"{fmt.count(info.queued_event_count, 'event')} to be stored"),
        ("stored", f"{fmt.count(info.committed_transition_count, 'transition')} since it started"),
        ("lease", f"{duration(info.lease_s)}, {grace} after a broken connection"),
        ("http", info.http_address),
        ("spans", f"to {info.otlp_endpoint}" if info.otlp_endpoint else ""),
        ("traces at", info.trace_url),
    ]


def _end(info: ServiceInfo) -> str:
    """Return the condition for an idle shutdown; empty if the service runs until it is stopped."""
    if info.idle_timeout_s is None:
        return ""
    after = f"after {duration(info.idle_timeout_s)} without flows and commands"
    if info.connected_session_count:
        after += f"; {info.connected_session_count:,} sessions are connected now"
    return f"{after} (a flow started it)" if info.is_embedded else after


def _place(info: ServiceInfo) -> str:
    if not info.database_size_bytes:
        return info.database_location
    return f"{info.database_location}, {_size(info.database_size_bytes)}"


def _size(size_bytes: int) -> str:
    size, unit = size_bytes / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:,.1f} {unit}"


def _is_service(pid: int) -> bool:
    """Return True if the local process with this id is a flowspan service."""
    if pid <= 1:
        return False
    if Path("/proc/self/cmdline").exists():  # Linux; slim images have no ps
        with contextlib.suppress(OSError):
            return b"flowspan_service" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False
    told = subprocess.run(  # noqa: S603 - a fixed command
        ["ps", "-p", str(pid), "-o", "args="],  # noqa: S607 - the location of ps differs by system
        capture_output=True,
        text=True,
        check=False,
    )
    return "flowspan_service" in told.stdout


def _terminate(pid: int) -> None:
    """Send SIGTERM to a process and wait until it has exited.

    Raises:
        CommandError: The process belongs to another user or does not exit in time.
    """
    try:
        os.kill(pid, signal.SIGTERM)
        deadline_s = clock.monotonic() + _STOP_TIMEOUT_S
        while clock.monotonic() < deadline_s:
            os.kill(pid, 0)
            if not _is_service(pid):  # it may be a zombie that its parent has not reaped
                return
            clock.sleep(_POLL_S)
    except ProcessLookupError:
        return
    except PermissionError:
        raise CommandError(
            f"process {pid} belongs to another user", advice="Stop it as that user."
        ) from None
    raise CommandError(
        f"process {pid} has not ended after {_STOP_TIMEOUT_S:g} s",
        advice=f"Check its log. `kill -9 {pid}` ends it without losing acknowledged events.",
    )
