"""Errors of calls, as every transport answers them: a canonical code and its details."""

from __future__ import annotations

import uuid
from enum import IntEnum
from typing import TYPE_CHECKING

import structlog
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

log = structlog.get_logger("flowspan.rpc")

DOMAIN = "flowspan.v1"


class Code(IntEnum):
    """The canonical codes in use, by the numbers of google.rpc.Code."""

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


CODES: Mapping[str, Code] = {
    "INVALID_FIELD": Code.INVALID_ARGUMENT,
    "TOO_LARGE": Code.INVALID_ARGUMENT,
    "BAD_TOKEN": Code.INVALID_ARGUMENT,
    "TOKEN_OUT_OF_RANGE": Code.OUT_OF_RANGE,
    "BAD_SEQUENCE": Code.INVALID_ARGUMENT,
    "NOT_FOUND": Code.NOT_FOUND,
    "ALREADY_EXISTS": Code.ALREADY_EXISTS,
    "STATE_CONFLICT": Code.FAILED_PRECONDITION,
    "SESSION_TAKEN_OVER": Code.ABORTED,
    "WRONG_SECRET": Code.PERMISSION_DENIED,
    "UNAUTHENTICATED": Code.UNAUTHENTICATED,
    "MISSING_SCOPE": Code.PERMISSION_DENIED,
    "RATE_LIMITED": Code.RESOURCE_EXHAUSTED,
    "OVERLOADED": Code.RESOURCE_EXHAUSTED,
    "ANSWER_TOO_LARGE": Code.RESOURCE_EXHAUSTED,
    "STOPPING": Code.UNAVAILABLE,
    "STORE_UNAVAILABLE": Code.UNAVAILABLE,
    "INTERNAL": Code.INTERNAL,
}
"""The code of each flowspan.v1.ErrorReason."""

_MAX_DETAIL = 1024
"""Maximum length of an error message: gRPC sends it in HTTP/2 headers, whose size is limited."""


def code_of(error: ServiceError) -> Code:
    """Return the canonical code of an error."""
    return CODES.get(error.reason, Code.INTERNAL)


def message_of(error: ServiceError) -> str:
    """Return the message of an error, shortened."""
    return _shorten(str(error))


def error_info(error: ServiceError) -> ErrorInfo:
    """Return the ErrorInfo of an error: its reason, metadata and advice."""
    metadata = {key: _shorten(value) for key, value in error.metadata.items()}
    if error.advice:
        metadata["advice"] = _shorten(error.advice)
    return ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)


def error_details(error: ServiceError) -> list[Message]:
    """Return the details of an error: its ErrorInfo and, if a retry may help, a RetryInfo."""
    details: list[Message] = [error_info(error)]
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(RetryInfo(retry_delay=delay))
    return details


def as_service_error(path: str, error: Exception) -> ServiceError:
    """Return the error that answers a call: for an unexpected one, a reference to the log.

    Args:
        path: The path of the method.
        error: The error that ended the call.
    """
    if isinstance(error, ServiceError):
        return error
    error_id = uuid.uuid4().hex[:12]
    log.error("unexpected error", method=path, error_id=error_id, exc_info=error)
    return ServiceError(
        f"Unexpected error; find it in the service's log as {error_id}.",
        advice="Report it with the lines of the log.",
        error_id=error_id,
    )


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_DETAIL else text[: _MAX_DETAIL - 1] + "…"
