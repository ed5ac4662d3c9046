"""Errors as gRPC statuses."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from flowspan_service.api.calls.errors import CODES
from flowspan_service.domain import errors
from flowspan_service.transports.grpc.statuses import status_code, trailing_metadata


@pytest.mark.parametrize("reason", CODES)
def test_every_reason_has_the_status_of_its_code(reason: str) -> None:
    error = errors.ServiceError("failed")
    error.reason = reason
    found = status_code(error)
    assert (found.name, found.value[0]) == (CODES[reason].name, CODES[reason].value)


def test_details_carry_reason_advice_and_metadata() -> None:
    error = errors.NotFoundError("There is no run 5.", advice="Look elsewhere.", run_id="5")
    assert status_code(error) is grpc.StatusCode.NOT_FOUND
    ((key, value),) = trailing_metadata(error)
    assert key == "grpc-status-details-bin"
    status = Status.FromString(value)
    assert (status.code, status.message) == (5, "There is no run 5.")
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("NOT_FOUND", "flowspan.v1")
    assert dict(info.metadata) == {"run_id": "5", "advice": "Look elsewhere."}


def test_long_texts_are_shortened() -> None:
    error = errors.InvalidFieldError("x" * 100_000, field="y" * 100_000)
    ((_, value),) = trailing_metadata(error)
    assert len(value) < 8_000
