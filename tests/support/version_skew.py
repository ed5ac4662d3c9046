"""A proxy that makes the client or the service look newer, or records their calls.

A newer program sends things that the other side does not know: fields in every message, enum
values, kinds of frames and commands.
"""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import message_factory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.message import Message

MODULES = (
    *("report", "flow_run", "task_run", "flow", "log", "watch", "system"),
    *("artifact", "variable", "label", "run"),
)
UNKNOWN_FIELD = 1999
UNKNOWN_VALUE = 1999
# Field 1999 as a varint (7), and field 2000 as text.
UNKNOWN_BYTES = b"\xf8\x7c\x07" + b"\x82\x7d\x06future"


@dataclass
class Recorded:
    """One recorded call: its frames, as bytes."""

    method: str
    requests: list[bytes] = field(default_factory=list)
    responses: list[bytes] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the call as JSON data."""
        return {
            "method": self.method,
            "requests": [base64.b64encode(each).decode() for each in self.requests],
            "responses": [base64.b64encode(each).decode() for each in self.responses],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Recorded:
        """Return the call that `to_json` returned."""
        requests = [base64.b64decode(each) for each in value["requests"]]
        responses = [base64.b64decode(each) for each in value["responses"]]
        return cls(value["method"], requests, responses)


def from_the_future(message: Message) -> bytes:
    """Serialize the message as a newer program would, with unknown fields at every level."""
    return _with_unknown_fields(message).SerializeToString()


def _with_unknown_fields(message: Message) -> Message:
    for descriptor, value in message.ListFields():
        kind = descriptor.message_type
        if kind is None or kind.file.package == "" or kind.GetOptions().map_entry:
            continue
        for each in value if descriptor.is_repeated else [value]:
            _with_unknown_fields(each)
    if message.DESCRIPTOR.file.package == "flowspan.v1":
        message.MergeFromString(UNKNOWN_BYTES)
    return message


@cache
def _methods() -> dict[str, Any]:
    """Return the methods of flowspan.v1 by path."""
    found = {}
    for noun in MODULES:
        module = import_module(f"flowspan.v1.{noun}_service_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                found[f"/{service.full_name}/{method.name}"] = method
    return found


def request_class(method: str) -> type[Message]:
    """Return the request class of a method."""
    return message_factory.GetMessageClass(_methods()[method].input_type)


def response_class(method: str) -> type[Message]:
    """Return the response class of a method."""
    return message_factory.GetMessageClass(_methods()[method].output_type)


def unchanged(method: str, frame: bytes) -> Iterable[bytes]:
    """Rewrite nothing."""
    del method
    return [frame]


def newer_requests(method: str, frame: bytes) -> Iterable[bytes]:
    """Rewrite a request as a newer client would send it."""
    if method not in _methods():
        return [frame]
    return [from_the_future(request_class(method).FromString(frame))]


def newer_responses(method: str, frame: bytes) -> Iterable[bytes]:
    """Rewrite a response as a newer service would send it, at times adding an unknown frame."""
    if method not in _methods():
        return [frame]
    known = from_the_future(response_class(method).FromString(frame))
    return [known, UNKNOWN_BYTES] if _methods()[method].server_streaming else [known]


class SkewProxy:
    """Forwards every call to a service, rewriting or recording its frames."""

    def __init__(
        self, target: str, *, requests: Any = unchanged, responses: Any = unchanged
    ) -> None:
        self.recorded: list[Recorded] = []
        self._requests = requests
        self._responses = responses
        self._channel = grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)])
        # Each open stream occupies a thread.
        self._server = grpc.server(ThreadPoolExecutor(32))
        self._server.add_generic_rpc_handlers((_Everything(self._pass_on),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"

    def __enter__(self) -> SkewProxy:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()
        self._channel.close()

    def _pass_on(
        self, method: str, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        # On the wire, a unary call is a stream with one message in each direction.
        record = Recorded(method)
        self.recorded.append(record)

        def outgoing() -> Iterator[bytes]:
            for frame in requests:
                record.requests.append(frame)
                yield from self._requests(method, frame)

        call = self._channel.stream_stream(method)(outgoing())
        context.add_callback(call.cancel)
        try:
            for frame in call:
                record.responses.append(frame)
                yield from self._responses(method, frame)
        except grpc.RpcError:
            context.set_trailing_metadata(call.trailing_metadata() or ())
            context.abort(call.code(), call.details() or "")


class _Everything(grpc.GenericRpcHandler):
    """Handler for every method."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: self._handle(method, requests, context)
        )


@contextmanager
def replaying(recorded: Iterable[Recorded]) -> Iterator[str]:
    """Run a service that replays recorded answers: per method, the answers of its calls in turn.

    Yields:
        Its address.
    """
    lock = threading.Lock()
    answers: dict[str, list[list[bytes]]] = {}
    for call in recorded:
        answers.setdefault(call.method, []).append(call.responses)

    def answer(
        method: str, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        next(requests)
        with lock:
            waiting = answers.get(method)
            if not waiting:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, method)
            found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        yield from found

    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((_Everything(answer),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()
