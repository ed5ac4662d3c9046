"""Resolution of the service's address."""

from __future__ import annotations

from flowspan.config import config_for, get_config
from flowspan.connection.access import with_access
from flowspan.connection.address import Address, connect_socket, explain, parse_address
from flowspan.connection.resolve import find_address, resolve_address
from flowspan.connection.same_service import is_reported_to
from flowspan.exceptions import ServiceUnavailableError

_CONNECT_TIMEOUT_S = 5.0


def reach(address: str | None = None, *, start_local: bool = True) -> Address:
    """Return the address of the service after checking that it answers.

    Args:
        address: ``host:port`` or ``unix:/path``; the configured one if None.
        start_local: True to start the local service if it is addressed but not running.

    Raises:
        ConfigError: The address is invalid.
        LocalServiceError: The local service did not start.
        ServiceUnavailableError: The address does not answer, or no local service is running.
    """
    target = _target(address, start_local=start_local)
    try:
        connect_socket(target, timeout_s=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ServiceUnavailableError(explain(target, error)) from None
    return target


def own_service(wanted: str | None, target: Address) -> Address | None:
    """Return the target if this process reports to it, else None.

    Args:
        wanted: The requested address; None for the configured one.
        target: The resolved address.
    """
    return target if wanted is None or is_reported_to(target, get_config()) else None


def _target(address: str | None, *, start_local: bool) -> Address:
    if address is not None:
        parsed = parse_address(address, source="address")
        return with_access(parsed, config_for(address))
    settings = get_config()
    if start_local:
        return resolve_address(settings)
    found = find_address(settings)
    if found is None:
        raise ServiceUnavailableError(
            f"no service is running for {settings.home}. "
            "Run a flow, which starts one, or start one with `flowspan server start`."
        )
    return found
