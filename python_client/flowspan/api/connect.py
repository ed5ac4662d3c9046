"""Opens the API client on the service that is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api.client import ServiceClient
from flowspan.config import get_config
from flowspan.connection.address import connect_socket, explain, parse_address
from flowspan.connection.channel import open_channel
from flowspan.connection.resolve import find_address, resolve_address
from flowspan.exceptions import ServiceUnavailableError

if TYPE_CHECKING:
    from flowspan.config import Config
    from flowspan.connection.address import Address

_CONNECT_TIMEOUT_S = 5.0


def connect(address: str | None = None, *, start_local: bool = True) -> ServiceClient:
    """Connects to the service, and makes sure that it is there.

    Args:
        address: ``host:port`` or ``unix:/path``; the configured one if None.
        start_local: Whether the local service may be started, where it is meant and does not run.

    Raises:
        ConfigError: The address is none.
        LocalServiceError: The local service did not start.
        ServiceUnavailableError: Nothing answers there, or no local service runs.
    """
    target = _target(address, get_config(), start_local=start_local)
    try:
        connect_socket(target, timeout_s=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ServiceUnavailableError(explain(target, error)) from None
    return ServiceClient(open_channel(target), address=target.text)


def _target(address: str | None, settings: Config, *, start_local: bool) -> Address:
    if address is not None:
        return parse_address(address, source="address")
    if start_local:
        return resolve_address(settings)
    found = find_address(settings)
    if found is None:
        raise ServiceUnavailableError(
            f"no service is running for {settings.home}. "
            "The first flow starts one; `flowspan server start` starts one to stay."
        )
    return found
