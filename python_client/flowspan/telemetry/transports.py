"""The transport to a receiver, by its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.telemetry.endpoint import GRPC

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.telemetry.endpoint import Target, Transport


def load_transport(target: Target) -> Callable[[Target], Transport]:
    """Import the transport to a target, and return its class."""
    if target.protocol == GRPC:
        from flowspan.telemetry.transport_grpc import GrpcTransport  # noqa: PLC0415 - only one

        return GrpcTransport
    from flowspan.telemetry.transport_http import HttpTransport  # noqa: PLC0415 - of them

    return HttpTransport


def transport_to(target: Target) -> Transport:
    """Return the transport to a target; nothing is sent yet."""
    return load_transport(target)(target)
