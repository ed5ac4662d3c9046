"""Errors of calls: the advice on connections that are closed at once."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from flowspan.api.errors import translate
from flowspan.connection.access import Access
from flowspan.connection.address import Address
from flowspan.exceptions import ServiceUnavailableError

CERT = Path("client.pem")


class Closed(grpc.RpcError):
    """The error of gRPC for a connection that the peer has closed."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "failed to connect to all addresses; last error: Socket closed"

    def trailing_metadata(self) -> tuple[()]:
        return ()


@pytest.mark.parametrize(
    ("access", "advice"),
    [
        (Access(), "If it serves TLS, set FLOWSPAN_TLS=true."),
        (Access(uses_tls=True), "set FLOWSPAN_TLS_CLIENT_CERT"),
        (Access(uses_tls=True, client_cert_file=CERT), "an authority that it trusts"),
    ],
)
def test_closed_connection_has_advice_on_tls(access: Access, advice: str) -> None:
    target = Address("host:1", host="host", port=1, access=access)
    found = translate(Closed(), address="host:1", target=target)
    assert isinstance(found, ServiceUnavailableError)
    assert advice in str(found)
    assert ("FLOWSPAN_TLS=true" in str(found)) is not access.uses_tls


@pytest.mark.parametrize("target", [None, Address("unix:/s", path="/s")])
def test_socket_needs_no_advice_on_tls(target: Address | None) -> None:
    found = translate(Closed(), address="unix:/s", target=target)
    assert "TLS" not in str(found)
