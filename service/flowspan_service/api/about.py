"""Facts about the service, as GetInfo returns them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP, OtlpTarget

if TYPE_CHECKING:
    from flowspan_service.app.ports import Clock
    from flowspan_service.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Facts about the service, as GetInfo returns them; empty texts are unknown."""

    version: str
    database: str
    started_us: int
    process_id: int
    otlp_endpoint: str = ""
    database_location: str = ""
    log_file: str = ""
    is_embedded: bool = False
    idle_timeout_us: int | None = None
    capabilities: tuple[str, ...] = ()
    http_address: str = ""
    trace_url: str = ""
    otlp_target: OtlpTarget | None = None


def about_service(
    config: Config,
    clock: Clock,
    capabilities: tuple[str, ...],
    *,
    database_location: str,
    log_file: str,
) -> About:
    """Return the facts about this process.

    Args:
        config: The settings.
        clock: The clock; the service starts now.
        capabilities: The names of its capabilities.
        database_location: The path of the database, or its URL without the password.
        log_file: The file of the log; empty without one.
    """
    idle_s = config.idle_timeout_s
    return About(
        version=version("flowspan"),
        database=config.db.partition(":")[0].partition("+")[0],
        started_us=clock.now_us(),
        process_id=os.getpid(),
        trace_url=config.trace_url,
        otlp_endpoint=told_endpoint(config),
        otlp_target=told_target(config),
        database_location=database_location,
        log_file=log_file,
        capabilities=capabilities,
        is_embedded=config.is_embedded,
        idle_timeout_us=None if idle_s is None else round(idle_s * 1e6),
    )


def told_endpoint(config: Config) -> str:
    """Return the endpoint for clients that do not know targets; empty over HTTP."""
    if config.otlp_protocol != OTLP_GRPC:
        return ""
    endpoint = config.otlp_endpoint
    return without_credentials(endpoint) or "" if "@" in endpoint else endpoint


def told_target(config: Config) -> OtlpTarget | None:
    """Return the receivers that the service tells its clients; None if none is configured."""
    if not config.otlp_endpoint:
        return None
    base = without_credentials(config.otlp_endpoint)
    if base is None:
        return None
    if config.otlp_protocol == OTLP_HTTP:
        traces_url, logs_url = f"{base}/v1/traces", f"{base}/v1/logs"
    else:
        traces_url = logs_url = base
    return OtlpTarget(config.otlp_protocol, traces_url, logs_url if config.otlp_logs else "")


def without_credentials(endpoint: str) -> str | None:
    """Return an endpoint with its scheme, host, port and path only; None if it is no URL."""
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
