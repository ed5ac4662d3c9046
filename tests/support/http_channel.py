"""Calls over HTTP for the stubs of gRPC: a channel that speaks Connect or gRPC-Web."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import urllib.parse
from base64 import b64decode
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.status_pb2 import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TIMEOUT_S = 60.0
CODES = {code.name.lower(): code for code in grpc.StatusCode}
CODES["canceled"] = grpc.StatusCode.CANCELLED
NUMBERS = {code.value[0]: code for code in grpc.StatusCode}
LAST = {"connect": 0x02, "grpc-web": 0x80}


class HttpError(grpc.RpcError):
    """The failure of a call, with the methods of grpc's errors."""

    def __init__(
        self, code: grpc.StatusCode, message: str, details: list[tuple[str, bytes]]
    ) -> None:
        super().__init__(f"{code.name}: {message}")
        self._code = code
        self._message = message
        status = Status(code=code.value[0], message=message)
        for name, value in details:
            status.details.append(AnyMessage(type_url=f"type.googleapis.com/{name}", value=value))
        self._status = status.SerializeToString()

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._message

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return (("grpc-status-details-bin", self._status),)


def connect_error(content: Mapping[str, Any]) -> HttpError:
    """Return the error of Connect's JSON."""
    details = [
        (each["type"], b64decode(each["value"] + "==")) for each in content.get("details", ())
    ]
    return HttpError(CODES[content["code"]], content.get("message", ""), details)


def trailers(content: bytes) -> dict[str, str]:
    """Return the fields of the last frame of gRPC-Web."""
    lines = content.decode().split("\r\n")
    return {
        name: value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }


def web_error(fields: Mapping[str, str]) -> HttpError | None:
    """Return the error in trailers of gRPC-Web; None for success."""
    code = NUMBERS[int(fields["grpc-status"])]
    if code is grpc.StatusCode.OK:
        return None
    status = Status.FromString(b64decode(fields.get("grpc-status-details-bin", "") + "=="))
    details = [(each.type_url.rpartition("/")[2], each.value) for each in status.details]
    return HttpError(code, urllib.parse.unquote(fields.get("grpc-message", "")), details)


def enveloped(data: bytes, flags: int = 0) -> bytes:
    """Return a message in an envelope."""
    return struct.pack(">BI", flags, len(data)) + data


class HttpChannel:
    """A channel over HTTP.

    Args:
        port: The HTTP port of a service on this machine.
        wire: connect, or grpc-web.
    """

    def __init__(self, port: int, wire: str = "connect") -> None:
        self._port = port
        self._wire = wire

    def unary_unary(
        self, path: str, request_serializer: Any, response_deserializer: Any, **_: Any
    ) -> Callable[..., Any]:
        def call(request: Any, timeout: float = TIMEOUT_S, metadata: Any = ()) -> Any:
            data = request_serializer(request)
            if self._wire == "connect":
                return response_deserializer(self._unary(path, data, timeout, dict(metadata)))
            (answer,) = self._stream(path, data, timeout, dict(metadata))
            return response_deserializer(answer)

        return call

    def unary_stream(
        self, path: str, request_serializer: Any, response_deserializer: Any, **_: Any
    ) -> Callable[..., Any]:
        def call(request: Any, timeout: float = TIMEOUT_S, metadata: Any = ()) -> Any:
            stream = self._stream(path, request_serializer(request), timeout, dict(metadata))
            return _Messages(stream, response_deserializer)

        return call

    def stream_stream(self, *_: Any, **__: Any) -> Callable[..., Any]:
        def call(*_: Any, **__: Any) -> Any:
            raise AssertionError("HTTP/1.1 has no streams in both directions")

        return call

    def _unary(self, path: str, data: bytes, timeout: float, metadata: dict[str, str]) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        try:
            headers = {
                **metadata,
                "content-type": "application/proto",
                "connect-protocol-version": "1",
                "connect-timeout-ms": str(round(timeout * 1000)),
            }
            connection.request("POST", path, data, headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 200:
                return body
            raise connect_error(json.loads(body))
        finally:
            connection.close()

    def _stream(self, path: str, data: bytes, timeout: float, metadata: dict[str, str]) -> _Stream:
        return _Stream(self._port, self._wire, path, data, timeout, metadata)


class _Stream:
    """The messages of an answer, in bytes."""

    def __init__(
        self,
        port: int,
        wire: str,
        path: str,
        data: bytes,
        timeout: float,
        metadata: dict[str, str],
    ) -> None:
        self._wire = wire
        self._is_cancelled = threading.Event()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        headers = {**metadata, "content-type": f"application/{wire}+proto"}
        if wire == "connect":
            headers["connect-timeout-ms"] = str(round(timeout * 1000))
        else:
            headers["grpc-timeout"] = f"{round(timeout * 1000)}m"
        self._connection.request("POST", path, enveloped(data), headers)
        self._answer: http.client.HTTPResponse | None = None

    def begin(self) -> http.client.HTTPResponse:
        """Wait for the headers of the answer."""
        if self._answer is None:
            self._answer = self._connection.getresponse()
        return self._answer

    def cancel(self) -> None:
        """End the call from any thread."""
        self._is_cancelled.set()
        if self._connection.sock is not None:
            with suppress(OSError):
                self._connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; for the thread that reads, or after it."""
        if self._answer is not None:
            self._answer.close()
        self._connection.close()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._messages()
        except (OSError, http.client.HTTPException, struct.error) as error:
            if self._is_cancelled.is_set():
                raise HttpError(grpc.StatusCode.CANCELLED, "cancelled here", []) from error
            raise HttpError(grpc.StatusCode.UNAVAILABLE, repr(error), []) from error
        finally:
            self.close()

    def _messages(self) -> Iterator[bytes]:
        answer = self.begin()
        if answer.status != 200:
            raise connect_error(json.loads(answer.read()))
        while True:
            flags, length = struct.unpack(">BI", answer.read(5))
            content = answer.read(length)
            if not flags & LAST[self._wire]:
                yield content
                continue
            if self._wire == "connect":
                end = json.loads(content)
                failure = connect_error(end["error"]) if "error" in end else None
            else:
                failure = web_error(trailers(content))
            if failure is not None:
                raise failure
            return


class _Messages:
    """The messages of a stream, as grpc's calls give them."""

    def __init__(self, stream: _Stream, deserialize: Any) -> None:
        self._stream = stream
        self._deserialize = deserialize
        self._items = iter(stream)

    def __iter__(self) -> _Messages:
        return self

    def __next__(self) -> Any:
        return self._deserialize(next(self._items))

    def __del__(self) -> None:
        self._stream.close()  # a test may leave a stream that it has cancelled

    def initial_metadata(self) -> list[tuple[str, str]]:
        return self._stream.begin().getheaders()

    def cancel(self) -> bool:
        self._stream.cancel()
        return True
