"""Facts about the service, as GetInfo returns them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from flowspan_service.api.services import CAPABILITIES

if TYPE_CHECKING:
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
    capabilities: tuple[str, ...] = CAPABILITIES


def about_service(
    config: Config, *, database_location: str, log_file: str, started_us: int
) -> About:
    """Return the facts about this process.

    Args:
        config: The settings.
        database_location: The path of the database, or its URL without the password.
        log_file: The file of the log; empty without one.
        started_us: The start of the service, in microseconds since 1970 UTC.
    """
    idle_s = config.idle_timeout_s
    return About(
        version=version("flowspan"),
        database=config.db.partition(":")[0].partition("+")[0],
        started_us=started_us,
        process_id=os.getpid(),
        otlp_endpoint=config.otlp_endpoint,
        database_location=database_location,
        log_file=log_file,
        is_embedded=config.is_embedded,
        idle_timeout_us=None if idle_s is None else round(idle_s * 1e6),
    )
