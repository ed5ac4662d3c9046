"""Which service this process talks to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.connection.address import parse_address
from flowspan.connection.local_service import ensure_local_service, find_local_service

if TYPE_CHECKING:
    from flowspan.config import Config
    from flowspan.connection.address import Address


def resolve_address(config: Config) -> Address:
    """The address of the service: the configured one, else the local one's, started if needed.

    Call it again after a connection broke: the service may have been restarted or replaced.

    Raises:
        ConfigError: The configured address is none.
        LocalServiceError: The local service did not start.
    """
    if config.address is not None:
        return parse_address(config.address)
    return ensure_local_service(config)


def find_address(config: Config) -> Address | None:
    """As `resolve_address`, but starts nothing: None if there is no local service running.

    Raises:
        ConfigError: The configured address is none.
    """
    if config.address is not None:
        return parse_address(config.address)
    return find_local_service(config.home)
