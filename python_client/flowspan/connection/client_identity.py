"""The identity of this process, as reported to the service."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from flowspan.clock import now_ns
from flowspan.config import get_config
from flowspan.connection.otlp_target import own_provider, own_target, published_target
from flowspan.connection.process_resource import process_resource
from flowspan.core.limits import MAX_NAME_BYTES
from flowspan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan.config import Config
    from flowspan.connection.otlp_target import OtlpTarget
    from flowspan.v1 import report_pb2


def client_info() -> dict[str, str]:
    """Return the identity of this process, by the field names of Hello."""
    return {
        "client_name": "flowspan-python",
        "client_version": __version__,
        "client_language": "python",
        "hostname": socket.gethostname()[:MAX_NAME_BYTES],
        "process_id": str(os.getpid()),
    }


def introduce(hello: report_pb2.Hello, client: Mapping[str, str]) -> None:
    """Copy the identity of a client into a Hello.

    Args:
        hello: The message to fill.
        client: The identity, as returned by `client_info`.
    """
    for name, value in client.items():
        setattr(hello, name, int(value) if name == "process_id" else value)


def describe_process(hello: report_pb2.Hello) -> None:
    """Describe this process in a Hello that is sent now.

    Sets its time, its OpenTelemetry resource, and the receivers of its spans and logs.
    """
    # Times before 1970 count as its start, as in all events.
    hello.client_time.FromNanoseconds(max(now_ns(), 0))
    for key, value in process_resource(os.environ).items():
        hello.resource[key] = value
    target = _otlp_target()
    if target is not None:
        for name, text in target._asdict().items():
            setattr(hello.otlp_target, name, text)


def _otlp_target() -> OtlpTarget | None:
    try:
        config, has_provider = get_config(), own_provider()
        return own_target(config, os.environ, has_provider=has_provider, is_told=_is_told(config))
    except Exception:  # noqa: BLE001 - settings or the program's provider; a Hello must be sent
        return None


def _is_told(config: Config) -> bool:
    """Return True if the local service has told its receiver; False for a remote one."""
    if not config.tracing or config.address is not None:
        return False
    try:
        return published_target(config.home) is not None
    except (OSError, ValueError):
        return False
