"""What a failed call becomes: an ApiError that the service sent, or ServiceUnavailableError."""

from __future__ import annotations

from typing import cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from flowspan.exceptions import (
    ApiError,
    FlowspanError,
    ObjectAlreadyExists,
    ObjectNotFound,
    ServiceUnavailableError,
)

_DOMAIN = "flowspan.v1"

# What the service says may succeed later; see flowspan.v1.ErrorReason.
_RETRYABLE_REASONS = frozenset({"OVERLOADED", "STOPPING", "STORE_UNAVAILABLE"})

# What gRPC itself says when the connection broke, or was never there.
_BROKEN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})

# Errors that have a class of their own.
_KINDS = {
    grpc.StatusCode.NOT_FOUND: ObjectNotFound,
    grpc.StatusCode.ALREADY_EXISTS: ObjectAlreadyExists,
}

# Signs in gRPC's own messages that something else than gRPC listens at the address.
_NOT_GRPC = ("http2 header", "http1", "http/1", "http response", "frame header", "settings frame")


def translate(error: grpc.RpcError, *, address: str) -> FlowspanError:
    """The error to raise for a call that failed.

    Args:
        error: What grpc raised for a call.
        address: Where the service was sought, for the message.
    """
    call = cast("grpc.Call", error)  # what grpc raises for calls is both
    status = call.code()
    details = call.details() or ""
    info = _error_info(call)
    if info is not None:
        return _refusal(details, status, info.reason, info.metadata.get("advice", ""))
    if any(sign in details.lower() for sign in _NOT_GRPC):
        return ApiError(
            f"what listens at {address} is not a flowspan service ({details})",
            status=status.name,
            advice="Check the address: FLOWSPAN_ADDRESS or --address.",
        )
    if status in _BROKEN or _is_torn_down(status, details):
        return _unavailable(status, details, address)
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return ApiError(
            f"the service at {address} does not know this call ({details})",
            status=status.name,
            advice="It is older than this client, or not flowspan: see `flowspan server status`.",
        )
    return ApiError(details or status.name, status=status.name)


def late_answer(address: str) -> ServiceUnavailableError:
    """Return the error of a call that was not answered in time."""
    return _unavailable(grpc.StatusCode.DEADLINE_EXCEEDED, "", address)


def closed() -> FlowspanError:
    """The error of a call on a client that was closed."""
    return FlowspanError("this client was closed; make another one with flowspan.get_client()")


def _refusal(message: str, status: grpc.StatusCode, reason: str, advice: str) -> ApiError:
    kind = _KINDS.get(status, ApiError)
    error = kind(
        message,
        status=status.name,
        reason=reason,
        advice=advice,
        retryable=reason in _RETRYABLE_REASONS,
    )
    if advice:
        error.add_note(advice)  # shown with the traceback
    return error


def _is_torn_down(status: grpc.StatusCode, details: str) -> bool:
    """Whether a stream was reset from below, as proxies and dying services do."""
    return status in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN} and (
        "RST_STREAM" in details or "Stream removed" in details
    )


def _unavailable(status: grpc.StatusCode, details: str, address: str) -> ServiceUnavailableError:
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        what = f"the service at {address} did not answer in time"
    else:
        what = f"no connection to the service at {address}: {details}"
    return ServiceUnavailableError(
        f"{what}\nStart one with `flowspan server start`, or set FLOWSPAN_ADDRESS to where it is."
    )


def _error_info(call: grpc.Call) -> error_details_pb2.ErrorInfo | None:
    """The ErrorInfo that flowspan adds to its errors, or None if the service did not send one."""
    try:
        status = rpc_status.from_call(call)
    except (ValueError, AttributeError):  # details of something else than flowspan
        return None
    if status is None:
        return None
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.domain == _DOMAIN:
            return info
    return None
