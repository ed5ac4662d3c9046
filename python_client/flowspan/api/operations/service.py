"""Operations on the service itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api import convert
from flowspan.api.requests import call
from flowspan.v1 import system_service_pb2 as pb

if TYPE_CHECKING:
    from flowspan.api import models
    from flowspan.api.requests import Answer

CANCEL = "cancel.v1"
"""The capability to cancel trees of runs."""


def read_service_info() -> Answer[models.ServiceInfo]:
    """Return the state and settings of the service."""
    answer = yield from call("SystemService/GetInfo", pb.GetInfoRequest(), pb.GetInfoResponse)
    return convert.info(answer)


def has_capability(name: str) -> Answer[bool]:
    """Return True if the service has an optional feature (docs/protocol.md lists the names)."""
    info = yield from read_service_info()
    return name in info.capabilities
