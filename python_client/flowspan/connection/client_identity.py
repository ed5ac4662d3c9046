"""The identity of this process, as reported to the service."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from flowspan.clock import now_ns
from flowspan.connection.process_resource import process_resource
from flowspan.core.limits import MAX_NAME_BYTES
from flowspan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """Set the time of this process and its OpenTelemetry resource in a Hello that is sent now."""
    # Times before 1970 count as its start, as in all events.
    hello.client_time.FromNanoseconds(max(now_ns(), 0))
    for key, value in process_resource(os.environ).items():
        hello.resource[key] = value
