"""Requests over HTTP as a person or a stranger sends them."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 60.0
LIST = "/flowspan.v1.FlowRunService/ListFlowRuns"
GET_RUN = "/flowspan.v1.FlowRunService/GetFlowRun"
WATCH = "/flowspan.v1.WatchService/Watch"
JSON = {"content-type": "application/json"}
GENERATED = {**JSON, "connect-protocol-version": "1"}


class Answer(NamedTuple):
    """An answer with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)

    @property
    def info(self) -> dict[str, Any]:
        """The ErrorInfo of a failure, as JSON."""
        details = {each["type"]: each["debug"] for each in self.content["details"]}
        return details["google.rpc.ErrorInfo"]


def send(
    port: int,
    path: str,
    body: bytes | None = b"{}",
    headers: Mapping[str, str] = JSON,
    *,
    method: str = "POST",
) -> Answer:
    """Send a request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())
    finally:
        connection.close()


def get(port: int, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Send a GET."""
    return send(port, path, None, headers or {}, method="GET")


def exchange(port: int, *parts: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
    """Send bytes, and return all that comes until the service closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while chunk := connection.recv(1 << 16):
            answer += chunk
        return answer
