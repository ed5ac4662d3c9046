"""The access to the addresses of the service: who needs a token, and who is its own user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from flowspan_service.process.errors import ListenError
from flowspan_service.process.peer_users import OwnUser, endpoints
from flowspan_service.process.sockets import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan_service.api.calls.authorization import Authorization
    from flowspan_service.config import Config

log = structlog.get_logger("flowspan.service")


def set_access(access: Authorization, config: Config) -> None:
    """Decide which clients need an access token.

    Args:
        access: The authorization of calls, which knows the access tokens.
        config: The settings.

    Raises:
        ListenError: Other machines could use the service, and there are no access tokens.
    """
    access.is_insecure = config.is_insecure
    access.requires_tokens = config.requires_tokens
    if not config.uses_tcp:
        return
    if is_loopback(config.host):
        if config.is_insecure:
            log.warning("--insecure: every user of this machine can read and change everything")
        return
    if config.is_insecure:
        log.warning(
            "--insecure: every client that reaches this address can read and change everything",
            host=config.host,
        )
        return
    _check_tokens(access, config)
    access.requires_tokens = True
    if config.tls_cert is None:
        log.warning(
            "access tokens travel unencrypted: serve this address over TLS (--tls-cert), or keep "
            "it in a network that you trust",
            host=config.host,
        )


def _check_tokens(access: Authorization, config: Config) -> None:
    if access.needs_tokens and not config.requires_tokens:
        return
    if not config.requires_tokens:
        raise ListenError(
            f"Every client that reaches {config.host} could read and change everything, because "
            "this service has no access tokens. Create one with `flowspan token create`, or start "
            "with --require-tokens and create one then. To serve without tokens, in a network in "
            "which you trust everyone, start with --insecure."
        )
    if config.socket is None and not access.has_tokens:
        raise ListenError(
            "Nobody could create the first access token, because this service has no Unix socket. "
            "Name one with --socket, such as --socket /run/flowspan.sock, and create a token over "
            "it: flowspan --address unix:/run/flowspan.sock token create NAME --scope admin."
        )


def know_own_user(
    access: Authorization, config: Config, addresses: Iterable[str]
) -> OwnUser | None:
    """Let the authorization tell the connections of this user from those of others.

    Args:
        access: The authorization of calls.
        config: The settings.
        addresses: The addresses on which the service listens, or their URLs.

    Returns:
        What tells them apart, to be closed at the end; None if nothing has to.
    """
    if not config.uses_tcp or not is_loopback(config.host) or config.is_insecure:
        return None
    ports = [int(each.rpartition(":")[2]) for each in addresses if not each.startswith("unix:")]
    own_user = OwnUser(endpoints(config.host, ports))
    access.is_own_user = own_user
    if not own_user.is_known and not access.needs_tokens:
        log.warning(
            "this system does not tell the users of connections: until you create an access token "
            "(flowspan token create), every user of this machine can use the service's port"
        )
    return own_user
