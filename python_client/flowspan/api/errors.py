"""Translation of failed calls into ApiError or ServiceUnavailableError."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

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

if TYPE_CHECKING:
    from flowspan.connection.access import Access
    from flowspan.connection.address import Address

_DOMAIN = "flowspan.v1"

# Reasons for which the service says that a retry may succeed; see flowspan.v1.ErrorReason.
_RETRYABLE_REASONS = frozenset({"OVERLOADED", "RATE_LIMITED", "STOPPING", "STORE_UNAVAILABLE"})

# Statuses of gRPC for a connection that broke or was never established.
_BROKEN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})

# Statuses with an exception class of their own.
_KINDS = {
    grpc.StatusCode.NOT_FOUND: ObjectNotFound,
    grpc.StatusCode.ALREADY_EXISTS: ObjectAlreadyExists,
}

# Parts of gRPC's messages that show that a server of another protocol is listening.
_NOT_GRPC = ("http2 header", "http1", "http/1", "http response", "frame header", "settings frame")


def translate(
    error: grpc.RpcError, *, address: str, target: Address | None = None
) -> FlowspanError:
    """Return the error to raise for a failed call.

    Args:
        error: The error raised by grpc.
        address: The address of the service, for the message.
        target: The same with the access to the service; None if it is not known.
    """
    call = cast("grpc.Call", error)  # the errors that grpc raises for calls are both
    status = call.code()
    details = call.details() or ""
    found = _details(call)
    info = _error_info(found)
    if info is not None:
        return _refusal(details, status, info, _retry_after_s(found))
    if any(sign in details.lower() for sign in _NOT_GRPC):
        return ApiError(
            f"the server at {address} is not a flowspan service ({details})",
            status=status.name,
            advice="Check the address in FLOWSPAN_ADDRESS or --address.",
        )
    if status in _BROKEN or _is_torn_down(status, details):
        return _unavailable(status, details, address, target)
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return ApiError(
            f"the service at {address} does not support this call ({details})",
            status=status.name,
            advice="It may be older than this client. Check it with `flowspan server status`.",
        )
    return ApiError(details or status.name, status=status.name)


def late_answer(address: str) -> ServiceUnavailableError:
    """Return the error of a call that timed out."""
    return _unavailable(grpc.StatusCode.DEADLINE_EXCEEDED, "", address)


def closed() -> FlowspanError:
    """Return the error of a call on a closed client."""
    return FlowspanError("this client is closed. Create another one with flowspan.get_client()")


def _refusal(
    message: str,
    status: grpc.StatusCode,
    info: error_details_pb2.ErrorInfo,
    retry_after_s: float | None,
) -> ApiError:
    advice = info.metadata.get("advice", "")
    kind = _KINDS.get(status, ApiError)
    error = kind(
        message,
        status=status.name,
        reason=info.reason,
        advice=advice,
        retryable=info.reason in _RETRYABLE_REASONS,
        retry_after_s=retry_after_s,
    )
    if advice:
        error.add_note(advice)  # shown with the traceback
    return error


def _is_torn_down(status: grpc.StatusCode, details: str) -> bool:
    """Return True if a proxy or a dying service reset the stream at the transport level."""
    return status in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN} and (
        "RST_STREAM" in details or "Stream removed" in details
    )


def _unavailable(
    status: grpc.StatusCode, details: str, address: str, target: Address | None = None
) -> ServiceUnavailableError:
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        what = f"the service at {address} did not answer in time"
    else:
        what = f"no connection to the service at {address}: {details}"
    if "closed" in details and target is not None and not target.path:
        what += f"\n{_advice_on_tls(target.access)}"
    return ServiceUnavailableError(
        f"{what}\nStart it with `flowspan server start`, or set FLOWSPAN_ADDRESS to its address."
    )


def _advice_on_tls(access: Access) -> str:
    """Return the advice for a service that closes the connection at once."""
    if not access.uses_tls:
        return "If it serves TLS, set FLOWSPAN_TLS=true."
    if access.client_cert_file is None:
        return "If it requires a certificate of its clients, set FLOWSPAN_TLS_CLIENT_CERT."
    return "Is FLOWSPAN_TLS_CLIENT_CERT issued by an authority that it trusts?"


def _details(call: grpc.Call) -> list[Any]:
    """Return the details of an error; an empty list if it has none."""
    try:
        status = rpc_status.from_call(call)
    except (ValueError, AttributeError):  # details that flowspan did not write
        return []
    return [] if status is None else list(status.details)


def _error_info(details: list[Any]) -> error_details_pb2.ErrorInfo | None:
    """Return the ErrorInfo that flowspan adds to its errors, or None."""
    info = error_details_pb2.ErrorInfo()
    for detail in details:
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.domain == _DOMAIN:
            return info
    return None


def _retry_after_s(details: list[Any]) -> float | None:
    """Return the delay in the RetryInfo, in seconds; None without one."""
    info = error_details_pb2.RetryInfo()
    for detail in details:
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info):
            return max(0.0, info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None
