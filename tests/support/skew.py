"""A proxy between a client and a service that makes one of them look newer, or records them.

To be newer is to send what the other side does not know: fields in every message, values of enums,
kinds of frames and commands.
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
    *("artifact", "variable"),
)
UNKNOWN_FIELD = 1999
UNKNOWN_VALUE = 1999
# Field 1999 as a varint (7), and field 2000 as text.
UNKNOWN_BYTES = b"\xf8\x7c\x07" + b"\x82\x7d\x06future"


@dataclass
class Recorded:
    """One call that went through the proxy: its frames, as bytes."""

    method: str
    requests: list[bytes] = field(default_factory=list)
    responses: list[bytes] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "method": self.method,
            "requests": [base64.b64encode(each).decode() for each in self.requests],
            "responses": [base64.b64encode(each).decode() for each in self.responses],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Recorded:
        """From a file."""
        requests = [base64.b64decode(each) for each in value["requests"]]
        responses = [base64.b64decode(each) for each in value["responses"]]
        return cls(value["method"], requests, responses)


def from_the_future(message: Message) -> bytes:
    """The message as a newer program would send it: with unknown fields at every level."""
    return _with_unknown_fields(message).SerializeToString()


def _with_unknown_fields(message: Message) -> Message:
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None or descriptor.message_type.file.package == "":
            continue
        for each in value if descriptor.is_repeated else [value]:
            _with_unknown_fields(each)
    if message.DESCRIPTOR.file.package == "flowspan.v1":
        message.MergeFromString(UNKNOWN_BYTES)
    return message


@cache
def _methods() -> dict[str, Any]:
    """The methods of flowspan.v1 by their path."""
    found = {}
    for noun in MODULES:
        module = import_module(f"flowspan.v1.{noun}_service_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                found[f"/{service.full_name}/{method.name}"] = method
    return found


def request_class(method: str) -> type[Message]:
    """The class of a method's requests."""
    return message_factory.GetMessageClass(_methods()[method].input_type)


def response_class(method: str) -> type[Message]:
    """The class of a method's responses."""
    return message_factory.GetMessageClass(_methods()[method].output_type)


def unchanged(method: str, frame: bytes) -> Iterable[bytes]:
    """Rewrites nothing."""
    del method
    return [frame]


def newer_requests(method: str, frame: bytes) -> Iterable[bytes]:
    """What a newer client would send."""
    if method not in _methods():
        return [frame]
    return [from_the_future(request_class(method).FromString(frame))]


def newer_responses(method: str, frame: bytes) -> Iterable[bytes]:
    """What a newer service would send: now and then a frame of a kind that is not known, too."""
    if method not in _methods():
        return [frame]
    known = from_the_future(response_class(method).FromString(frame))
    return [known, UNKNOWN_BYTES] if _methods()[method].server_streaming else [known]


class SkewProxy:
    """Passes every call on to a service, rewriting or recording its frames."""

    def __init__(
        self, target: str, *, requests: Any = unchanged, responses: Any = unchanged
    ) -> None:
        self.recorded: list[Recorded] = []
        self._requests = requests
        self._responses = responses
        self._channel = grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)])
        # Each stream keeps a thread while it is open.
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
        # To gRPC on the wire, a unary call is a stream of one message each way.
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
    """Handles every method there is."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: self._handle(method, requests, context)
        )


@contextmanager
def replaying(recorded: Iterable[Recorded]) -> Iterator[str]:
    """A service that gives recorded answers: to each method, those of its calls, in turn.

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
