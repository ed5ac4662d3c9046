"""Errors of calls as gRPC statuses, with their details in the trailing metadata."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.rpc.status_pb2 import Status

from flowspan_service.api.calls.errors import (
    Code,
    as_service_error,
    code_of,
    error_details,
    message_of,
)

if TYPE_CHECKING:
    from flowspan_service.domain.errors import ServiceError

DETAILS_KEY = "grpc-status-details-bin"

_STATUS_CODES = {code: grpc.StatusCode[code.name] for code in Code}


def status_code(error: ServiceError) -> grpc.StatusCode:
    """Return the status code of an error."""
    return _STATUS_CODES[code_of(error)]


def trailing_metadata(error: ServiceError) -> tuple[tuple[str, bytes]]:
    """Return the trailing metadata that carries the details of an error."""
    status = Status(code=int(code_of(error)), message=message_of(error))
    for detail in error_details(error):
        status.details.add().Pack(detail)
    return ((DETAILS_KEY, status.SerializeToString()),)


async def end_with(
    path: str, error: Exception, context: grpc.aio.ServicerContext[Any, Any]
) -> NoReturn:
    """End a call with the status of an error. Never returns normally.

    gRPC keeps the exception that ends a call for as long as the call, and an exception keeps the
    frames of its traceback. Frames that name the call would keep it open until the next garbage
    collection; after 256 such calls, a connection could make no more. So the frames are cleared,
    and no exception is raised while another one is handled.
    """
    failure = as_service_error(path, error)
    raised: BaseException | None = error
    while raised is not None:
        traceback.clear_frames(raised.__traceback__)
        raised = raised.__cause__ or raised.__context__
    ending = context.abort(
        status_code(failure), message_of(failure), trailing_metadata=trailing_metadata(failure)
    )
    del context, error, failure
    await ending
