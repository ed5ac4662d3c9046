"""gRPC channels to the service, for everything except the report stream (`reporter.transport`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from flowspan.connection.address import Address

MAX_GRPC_MESSAGE_BYTES = 64 << 20

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", MAX_GRPC_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_GRPC_MESSAGE_BYTES),
    # Detects a dead peer within a minute; the service permits this rate.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 3_000),
)


def open_channel(address: Address) -> grpc.Channel:
    """Return a blocking channel, which connects on first use.

    Raises:
        ConfigError: A file of certificates cannot be used.
    """
    target, options = address.grpc_target, _channel_options(address)
    if address.access.uses_tls:
        return grpc.secure_channel(target, _credentials(address), options=options)
    return grpc.insecure_channel(target, options=options)


def open_aio_channel(address: Address) -> grpc.aio.Channel:
    """Return a channel for asyncio, for use within one event loop.

    Raises:
        ConfigError: A file of certificates cannot be used.
    """
    target, options = address.grpc_target, _channel_options(address)
    if address.access.uses_tls:
        return grpc.aio.secure_channel(target, _credentials(address), options=options)
    return grpc.aio.insecure_channel(target, options=options)


def access_metadata(address: Address | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call to an address: the access token, if there is one.

    Raises:
        ConfigError: The file of the token cannot be read.
    """
    value = "" if address is None else address.access.authorization()
    return (("authorization", value),) if value else ()


def _credentials(address: Address) -> grpc.ChannelCredentials:
    from flowspan.connection import tls  # noqa: PLC0415 - only with TLS

    key, certificate = tls.client_certificate(address.access)
    return grpc.ssl_channel_credentials(tls.root_certificates(address.access), key, certificate)


def _channel_options(address: Address) -> list[tuple[str, int | str]]:
    options = list(_OPTIONS)
    if address.path or address.host in {"localhost", "127.0.0.1", "::1"}:
        options.append(("grpc.enable_http_proxy", 0))
    if address.access.server_name:
        options.append(("grpc.ssl_target_name_override", address.access.server_name))
    return options
