"""Operations on the service itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api import convert
from flowspan.api.requests import call
from flowspan.v1 import system_service_pb2 as pb

if TYPE_CHECKING:
    from flowspan.api import models
    from flowspan.api.requests import Answer


def read_service_info() -> Answer[models.ServiceInfo]:
    """Return the state and settings of the service."""
    answer = yield from call("SystemService/GetInfo", pb.GetInfoRequest(), pb.GetInfoResponse)
    return convert.info(answer)
