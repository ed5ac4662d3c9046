"""Who this process is, as the service is told."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from flowspan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan.v1 import report_pb2


def client_info() -> dict[str, str]:
    """Who this process is, by the names of Hello's fields."""
    return {
        "client_name": "flowspan-python",
        "client_version": __version__,
        "client_language": "python",
        "hostname": socket.gethostname()[:256],
        "process_id": str(os.getpid()),
    }


def introduce(hello: report_pb2.Hello, client: Mapping[str, str]) -> None:
    """Writes who reports into a Hello.

    Args:
        hello: Where to.
        client: Who it is, as `client_info` gives it.
    """
    for name, value in client.items():
        setattr(hello, name, int(value) if name == "process_id" else value)
