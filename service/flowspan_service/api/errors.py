"""Errors of calls as gRPC statuses with a google.rpc.ErrorInfo: one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

if TYPE_CHECKING:
    from flowspan_service.domain.errors import ServiceError

DOMAIN = "flowspan.v1"
DETAILS_KEY = "grpc-status-details-bin"

_C = grpc.StatusCode

CODES: dict[str, grpc.StatusCode] = {
    "INVALID_FIELD": _C.INVALID_ARGUMENT,
    "TOO_LARGE": _C.INVALID_ARGUMENT,
    "BAD_TOKEN": _C.INVALID_ARGUMENT,
    "TOKEN_OUT_OF_RANGE": _C.OUT_OF_RANGE,
    "BAD_SEQUENCE": _C.INVALID_ARGUMENT,
    "NOT_FOUND": _C.NOT_FOUND,
    "ALREADY_EXISTS": _C.ALREADY_EXISTS,
    "STATE_CONFLICT": _C.FAILED_PRECONDITION,
    "SESSION_TAKEN_OVER": _C.ABORTED,
    "WRONG_SECRET": _C.PERMISSION_DENIED,
    "OVERLOADED": _C.RESOURCE_EXHAUSTED,
    "ANSWER_TOO_LARGE": _C.RESOURCE_EXHAUSTED,
    "STOPPING": _C.UNAVAILABLE,
    "STORE_UNAVAILABLE": _C.UNAVAILABLE,
    "INTERNAL": _C.INTERNAL,
}
"""The status code of each flowspan.v1.ErrorReason."""

_MAX_DETAIL = 1024
"""Statuses travel in HTTP/2 headers, whose size is limited."""


def code_of(error: ServiceError) -> grpc.StatusCode:
    """The status code of an error."""
    return CODES.get(error.reason, _C.INTERNAL)


def details_of(error: ServiceError) -> tuple[tuple[str, bytes]]:
    """The trailing metadata that carries the error's ErrorInfo."""
    metadata = {key: shorten(value) for key, value in error.metadata.items()}
    if error.advice:
        metadata["advice"] = shorten(error.advice)
    info = ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    packed = Any()
    packed.Pack(info)
    status = Status(code=code_of(error).value[0], message=shorten(str(error)), details=[packed])
    return ((DETAILS_KEY, status.SerializeToString()),)


def shorten(text: str) -> str:
    """The text, cut to what a header may hold."""
    return text if len(text) <= _MAX_DETAIL else text[: _MAX_DETAIL - 1] + "…"
