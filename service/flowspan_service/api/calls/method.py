"""The description of a method, from which transports and the steps of a call know what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from flowspan_service.api.calls.call import Call
    from flowspan_service.api.fields.checks import Check
    from flowspan_service.domain.tokens import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method of a service.

    Attributes:
        path: The full name: "/flowspan.v1.FlowService/GetFlow".
        name: The name: "GetFlow".
        request: The type of its requests, or of its frames.
        check: Checks a request.
        handler: Called with a request, or with an iterator over frames, and the Call; returns an
            awaitable of the response or, if `is_stream`, an async generator of responses. A
            response is a message or the bytes of one.
        takes_frames: True if the caller sends a stream; the handler parses and checks its frames.
        is_stream: True if the answer is a stream.
        max_request_bytes: The largest request.
        response: The type of its answers, or of its frames.
        has_no_side_effects: True if it only reads.
        scope: The scope that an access token needs.
    """

    path: str
    name: str
    request: type[Message]
    check: Check
    handler: Callable[[Any, Call], Any]
    takes_frames: bool
    is_stream: bool
    max_request_bytes: int
    response: type[Message]
    has_no_side_effects: bool
    scope: Scope
