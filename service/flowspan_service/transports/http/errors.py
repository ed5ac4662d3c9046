"""Errors of calls over HTTP: a canonical code, an HTTP status, and details."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import MessageToDict
from google.rpc.status_pb2 import Status

from flowspan_service.api.calls.errors import code_of, error_details, message_of

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from flowspan_service.domain.errors import ServiceError

_UNPRINTED = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
"""Printable characters that stay as they are in a grpc-message; "%" and all others are escaped."""


class _Code(NamedTuple):
    """A canonical code: its name in Connect, and its HTTP status."""

    name: str
    status: int


_CODES = {
    1: _Code("canceled", 499),
    2: _Code("unknown", 500),
    3: _Code("invalid_argument", 400),
    4: _Code("deadline_exceeded", 504),
    5: _Code("not_found", 404),
    6: _Code("already_exists", 409),
    7: _Code("permission_denied", 403),
    8: _Code("resource_exhausted", 429),
    9: _Code("failed_precondition", 400),
    10: _Code("aborted", 409),
    11: _Code("out_of_range", 400),
    12: _Code("unimplemented", 501),
    13: _Code("internal", 500),
    14: _Code("unavailable", 503),
    15: _Code("data_loss", 500),
    16: _Code("unauthenticated", 401),
}
"""The canonical codes, by the numbers of google.rpc.Code."""

INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
PERMISSION_DENIED = 7
UNIMPLEMENTED = 12
UNAVAILABLE = 14
UNAUTHENTICATED = 16

_CHALLENGE = (b"www-authenticate", b'Bearer realm="flowspan"')
"""What HTTP requires of an answer with the status 401."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The failure of a call, as all protocols over HTTP send it.

    Attributes:
        code: The canonical code, by the numbers of google.rpc.Code.
        message: The message.
        details: The details: an ErrorInfo, and others.
        status: The HTTP status, where it depends on the answer; else 0 for that of the code.
        headers: Further headers of the answer.
    """

    code: int
    message: str
    details: tuple[Message, ...] = ()
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def http_status(self) -> int:
        """The HTTP status of the answer."""
        return self.status or _CODES[self.code].status

    def as_json(self) -> dict[str, Any]:
        """Return the failure as Connect writes it in JSON."""
        content: dict[str, Any] = {"code": _CODES[self.code].name, "message": self.message}
        if self.details:
            content["details"] = [_detail(each) for each in self.details]
        return content

    def as_trailers(self) -> bytes:
        """Return the failure as gRPC-Web writes it in its last frame."""
        status = Status(code=self.code, message=self.message)
        for detail in self.details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        lines = [f"grpc-status: {self.code}", f"grpc-message: {_escaped(self.message)}"]
        if self.details:
            encoded = b64encode(status.SerializeToString()).decode().rstrip("=")
            lines.append(f"grpc-status-details-bin: {encoded}")
        return "".join(f"{line}\r\n" for line in lines).encode()


class RefusedError(Exception):
    """A request that the transport refuses before it reaches a servicer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class DisconnectedError(Exception):
    """The client went away, so that nothing can be answered."""


def failure_of(error: ServiceError) -> Failure:
    """Return the failure for an error of a servicer."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if error.retry_after_s is not None:
        headers = ((b"retry-after", str(math.ceil(error.retry_after_s)).encode()),)
    code = int(code_of(error))
    if code == UNAUTHENTICATED:
        headers += (_CHALLENGE,)
    details = tuple(error_details(error))
    return Failure(code, message_of(error), details, headers=headers)


def refusal(
    status: HTTPStatus, message: str, *, code: int = INVALID_ARGUMENT, **headers: str
) -> RefusedError:
    """Return the error for a request that is not a call at all.

    Args:
        status: The HTTP status.
        message: The message, which says what to do.
        code: The canonical code.
        headers: Further headers of the answer; "_" stands for "-".
    """
    further = tuple(
        (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
    )
    return RefusedError(Failure(code, message, status=int(status), headers=further))


def too_large(error: ServiceError) -> RefusedError:
    """Return the error for a body that is larger than any valid request."""
    found = failure_of(error)
    return RefusedError(
        Failure(
            found.code,
            found.message,
            found.details,
            status=int(HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        )
    )


def deadline_exceeded() -> Failure:
    """Return the failure of a call whose time is over."""
    return Failure(DEADLINE_EXCEEDED, "The deadline that the caller set has passed.")


def json_bytes(content: object) -> bytes:
    """Return the JSON text of an object."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _detail(message: Message) -> dict[str, Any]:
    return {
        "type": message.DESCRIPTOR.full_name,
        "value": b64encode(message.SerializeToString()).decode().rstrip("="),
        "debug": MessageToDict(message),
    }


def _escaped(text: str) -> str:
    return quote(text, safe=_UNPRINTED)
