"""A gRPC server inside the test process with scripted answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from flowspan.api.client import SyncFlowspanClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from google.protobuf.message import Message


class Scripted(grpc.GenericRpcHandler):
    """Answers calls with the functions in `unary` and `streams`.

    Attributes:
        unary: Functions by method path: take a request and the context, return the answer.
        streams: The same for methods that answer with a stream: return an iterator.
        requests: The received requests, by method path.
    """

    def __init__(self) -> None:
        self.unary: dict[str, tuple[type[Message], Callable]] = {}
        self.streams: dict[str, tuple[type[Message], Callable]] = {}
        self.requests: dict[str, list[Message]] = {}

    def service(self, details):
        for scripts, make in (
            (self.unary, grpc.unary_unary_rpc_method_handler),
            (self.streams, grpc.unary_stream_rpc_method_handler),
        ):
            if details.method in scripts:
                request_type, answer = scripts[details.method]
                return make(
                    self._keeping(details.method, answer),
                    request_deserializer=request_type.FromString,
                    response_serializer=lambda message: message.SerializeToString(),
                )
        return None

    def _keeping(self, method: str, answer: Callable) -> Callable:
        def handle(request, context):
            self.requests.setdefault(method, []).append(request)
            return answer(request, context)

        return handle


@contextmanager
def scripted_client(folder: Path, script: Scripted, **options) -> Iterator[SyncFlowspanClient]:
    """Yield a client of a scripted server, which listens on a Unix socket in the folder."""
    address = f"unix:{folder}/scripted.sock"
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((script,))
    server.add_insecure_port(address)
    server.start()
    try:
        with SyncFlowspanClient(address, **options) as client:
            yield client
    finally:
        server.stop(None).wait()


def fail(
    context: grpc.ServicerContext, code: str, message: str, *, reason: str, advice: str = ""
) -> None:
    """Abort the call as flowspan's service does: with an ErrorInfo."""
    detail = any_pb2.Any()
    detail.Pack(
        error_details_pb2.ErrorInfo(
            domain="flowspan.v1", reason=reason, metadata={"advice": advice, "run_id": "x"}
        )
    )
    status = status_pb2.Status(code=code_pb2.Code.Value(code), message=message, details=[detail])
    context.abort_with_status(rpc_status.to_status(status))
