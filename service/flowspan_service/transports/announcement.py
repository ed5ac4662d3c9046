"""Announcement of a service that is ready: to clients, to the lock's readers, and to people."""

from __future__ import annotations

import shlex
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from flowspan_service.config import default_home, without_secrets
from flowspan_service.process.published_address import publish
from flowspan_service.process.sockets import is_loopback
from flowspan_service.process.standard_streams import say

if TYPE_CHECKING:
    from flowspan_service.api.about import About
    from flowspan_service.config import Config
    from flowspan_service.process.lock import DatabaseLock

log = structlog.get_logger("flowspan.service")


def announce(config: Config, about: About, lock: DatabaseLock | None, addresses: list[str]) -> None:
    """Publish the addresses, and print how to reach the service.

    Args:
        config: The settings.
        about: Facts about the service.
        lock: The lock of its SQLite database; None for other databases.
        addresses: The addresses on which it listens, the nearest first.
    """
    if lock is not None:
        lock.announce(addresses[-1])
    publish(
        config.home,
        version=about.version,
        addresses=addresses,
        is_embedded=config.is_embedded,
        trace_url=config.trace_url,
        otlp_endpoint=about.otlp_endpoint,
        otlp_target={} if about.otlp_target is None else about.otlp_target._asdict(),
        started_at=datetime.fromtimestamp(about.started_us / 1e6, UTC).isoformat(),
        http_address=about.http_address,
        is_over_tls=config.uses_tcp and config.tls_cert is not None,
    )
    database = without_secrets(config.db)
    http = {"http_address": about.http_address} if about.http_address else {}
    log.info("ready", addresses=addresses, **http, database=database, version=about.version)
    if not config.is_embedded:
        say(
            f"flowspan {about.version} is ready at {addresses[-1]}, with {database}. "
            "Ctrl-C stops it.",
            *_how_to_reach(config, about, addresses),
        )


def _how_to_reach(config: Config, about: About, addresses: list[str]) -> list[str]:
    """Return the lines that explain how to connect flows to this service."""
    home = shlex.quote(str(config.home))
    lines = [
        f"Flows of this machine find it if their FLOWSPAN_HOME is {home}"
        + (", as it is by default." if config.home == default_home() else "."),
        f"Or point them at it:  export FLOWSPAN_ADDRESS={shlex.quote(addresses[-1])}",
    ]
    http_address = about.http_address
    if config.uses_tcp and not is_loopback(config.host):
        name = socket.gethostname()
        if config.listens_on_tcp:
            port = addresses[-1].rpartition(":")[2]
            lines[1] = f"Or point them at it, from anywhere:  export FLOWSPAN_ADDRESS={name}:{port}"
        if http_address:
            scheme, port = http_address.partition(":")[0], http_address.rpartition(":")[2]
            http_address = f"{scheme}://{name}:{port}"
    if config.listens_on_tcp and config.tls_cert is not None:
        lines[1] += " FLOWSPAN_TLS=true"
    if http_address:
        lines.append(f"Browsers and curl find it at {http_address}/")
    return lines
