"""The table of errors."""

from __future__ import annotations

import pytest
from google.rpc.error_details_pb2 import RetryInfo

from flowspan.v1.error_pb2 import ErrorReason
from flowspan_service.api.calls.errors import (
    CODES,
    Code,
    as_service_error,
    code_of,
    error_details,
    error_info,
    message_of,
)
from flowspan_service.domain import errors

ERRORS = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.ServiceError)
]


def test_every_reason_of_the_proto_has_a_code() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118 - not dict
    assert set(CODES) == names - {"UNSPECIFIED"}


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_has_a_reason_of_its_own(kind: type[errors.ServiceError]) -> None:
    assert kind.reason in CODES
    assert [each.reason for each in ERRORS].count(kind.reason) == 1


def test_error_info_carries_reason_advice_and_metadata() -> None:
    error = errors.NotFoundError("There is no run 5.", advice="Look elsewhere.", run_id="5")
    assert code_of(error) is Code.NOT_FOUND
    assert message_of(error) == "There is no run 5."
    info = error_info(error)
    assert (info.reason, info.domain) == ("NOT_FOUND", "flowspan.v1")
    assert dict(info.metadata) == {"run_id": "5", "advice": "Look elsewhere."}


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_that_pass_with_time_say_when_to_try_again(
    kind: type[errors.ServiceError],
) -> None:
    info, *retry = error_details(kind("No."))
    assert info == error_info(kind("No."))
    may_pass = kind.reason in {"OVERLOADED", "RATE_LIMITED", "STOPPING", "STORE_UNAVAILABLE"}
    assert len(retry) == may_pass
    for each in retry:
        assert isinstance(each, RetryInfo)
        assert 100 <= each.retry_delay.ToMilliseconds() <= 5000


def test_long_texts_are_shortened() -> None:
    error = errors.InvalidFieldError("x" * 100_000, field="y" * 100_000)
    assert len(message_of(error)) == 1024
    assert error_info(error).ByteSize() < 4_000


def test_a_defect_is_answered_with_a_reference_to_the_log() -> None:
    expected = errors.NotFoundError("There is no run 5.")
    assert as_service_error("/x/Y", expected) is expected
    unexpected = as_service_error("/x/Y", ZeroDivisionError("secret"))
    assert code_of(unexpected) is Code.INTERNAL
    assert "secret" not in str(unexpected)
    assert unexpected.metadata["error_id"] in str(unexpected)
