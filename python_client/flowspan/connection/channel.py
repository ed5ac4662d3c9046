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
    """Return a blocking channel, which connects on first use."""
    return grpc.insecure_channel(address.grpc_target, options=_channel_options(address))


def open_aio_channel(address: Address) -> grpc.aio.Channel:
    """Return a channel for asyncio, for use within one event loop."""
    return grpc.aio.insecure_channel(address.grpc_target, options=_channel_options(address))


def _channel_options(address: Address) -> list[tuple[str, int | str]]:
    options = list(_OPTIONS)
    if address.path or address.host in {"localhost", "127.0.0.1", "::1"}:
        options.append(("grpc.enable_http_proxy", 0))
    return options
