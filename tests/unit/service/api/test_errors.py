"""The table of errors."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from flowspan.v1.error_pb2 import ErrorReason
from flowspan_service.api.errors import CODES, code_of, details_of
from flowspan_service.domain import errors

ERRORS = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.ServiceError)
]


def test_every_reason_of_the_proto_has_a_code() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118 - no dict
    assert set(CODES) == names - {"UNSPECIFIED"}


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_has_a_reason_of_its_own(kind: type[errors.ServiceError]) -> None:
    assert kind.reason in CODES
    assert [each.reason for each in ERRORS].count(kind.reason) == 1


def test_details_carry_reason_advice_and_metadata() -> None:
    error = errors.NotFoundError("There is no run 5.", advice="Look elsewhere.", run_id="5")
    assert code_of(error) is grpc.StatusCode.NOT_FOUND
    ((key, value),) = details_of(error)
    assert key == "grpc-status-details-bin"
    status = Status.FromString(value)
    assert (status.code, status.message) == (5, "There is no run 5.")
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("NOT_FOUND", "flowspan.v1")
    assert dict(info.metadata) == {"run_id": "5", "advice": "Look elsewhere."}


def test_long_texts_are_shortened() -> None:
    ((_, value),) = details_of(errors.InvalidFieldError("x" * 100_000, field="y" * 100_000))
    assert len(value) < 8_000
