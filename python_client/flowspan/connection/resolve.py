"""The choice of the service that this process connects to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.connection.access import with_access
from flowspan.connection.address import parse_address
from flowspan.connection.local_service import ensure_local_service, find_local_service

if TYPE_CHECKING:
    from flowspan.config import Config
    from flowspan.connection.address import Address


def resolve_address(config: Config) -> Address:
    """Return the configured address, or else the local service's, which is started if needed.

    Call it again after a connection broke: the service may have been restarted or replaced.

    Raises:
        ConfigError: The configured address is invalid.
        LocalServiceError: The local service did not start.
    """
    if config.address is not None:
        return with_access(parse_address(config.address), config)
    return with_access(ensure_local_service(config), config)


def find_address(config: Config) -> Address | None:
    """Return the address as `resolve_address` does, or None if no local service is running.

    Raises:
        ConfigError: The configured address is invalid.
    """
    if config.address is not None:
        return with_access(parse_address(config.address), config)
    found = find_local_service(config.home)
    return None if found is None else with_access(found, config)
