"""Facts about the service, as GetInfo returns them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

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
        otlp_endpoint=config.otlp_endpoint,
        trace_url=config.trace_url,
        database_location=database_location,
        log_file=log_file,
        capabilities=capabilities,
        is_embedded=config.is_embedded,
        idle_timeout_us=None if idle_s is None else round(idle_s * 1e6),
    )
