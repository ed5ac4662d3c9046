"""Access tokens and TLS over HTTP: the same step as over gRPC."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from tests.support.access import Certificates, as_another_user, create_token, needs_root
from tests.support.child_processes import dying_with_us

from flowspan.connection.local_service import published

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import ServiceProcess

TIMEOUT_S = 30.0
INFO = "/flowspan.v1.SystemService/GetInfo"
LIST_TOKENS = "/flowspan.v1.TokenService/ListTokens"


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        """The reason in the ErrorInfo."""
        found: str = json.loads(self.body)["details"][0]["debug"]["reason"]
        return found


def ask(
    connection: http.client.HTTPConnection, path: str, secret: str | None = None, **how: Any
) -> Reply:
    headers = {"content-type": "application/json"}
    if secret is not None:
        headers["authorization"] = f"Bearer {secret}"
    method, body = ("GET", None) if how.get("page") else ("POST", "{}")
    try:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        named = {name.lower(): value for name, value in reply.getheaders()}
        return Reply(reply.status, named, reply.read())
    finally:
        connection.close()


def port_of(service: ServiceProcess) -> int:
    info = published(service.home)
    assert info is not None
    return int(info["http_address"].rpartition(":")[2])


def plain(service: ServiceProcess) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port_of(service), timeout=TIMEOUT_S)


@pytest.fixture
def start_embedded(flowspan_home: Path) -> Callable[..., None]:
    """Start services that a client could have started, in the home of the test, which ends them."""

    def start(*flags: str) -> None:
        command = [*dying_with_us(), sys.executable, "-m", "flowspan_service", "--embedded"]
        subprocess.Popen([*command, "--home", str(flowspan_home), *flags]).returncode = 0
        deadline = time.monotonic() + TIMEOUT_S
        while published(flowspan_home) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    return start


@pytest.fixture
def service(start_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    return start_service(asks_over_socket=True, arguments=("--http-port", "0"))


def test_calls_need_a_token_once_there_is_one(service: ServiceProcess) -> None:
    assert ask(plain(service), INFO).status == 200
    secret = create_token(service.channel, "reader", "read")
    refused = ask(plain(service), INFO)
    assert (refused.status, refused.reason) == (401, "UNAUTHENTICATED")
    assert refused.headers["www-authenticate"] == 'Bearer realm="flowspan"'
    assert ask(plain(service), INFO, f"{secret}x").status == 401
    assert ask(plain(service), INFO, secret).status == 200
    forbidden = ask(plain(service), LIST_TOKENS, secret)
    assert (forbidden.status, forbidden.reason) == (403, "MISSING_SCOPE")
    assert "www-authenticate" not in forbidden.headers


def test_figures_need_the_scope_read_and_other_pages_none(service: ServiceProcess) -> None:
    assert ask(plain(service), "/metrics", page=True).status == 200
    reader = create_token(service.channel, "reader", "read")
    reporter = create_token(service.channel, "reporter", "report")
    assert ask(plain(service), "/metrics", page=True).status == 401
    assert ask(plain(service), "/metrics", reporter, page=True).status == 403
    assert ask(plain(service), "/metrics", reader, page=True).status == 200
    for path in ("/", "/healthz", "/openapi.json"):
        assert ask(plain(service), path, page=True).status == 200
    front = ask(plain(service), "/", page=True).body.decode()
    assert "-H &quot;authorization: Bearer $FLOWSPAN_TOKEN&quot; \\\n" in front


def test_too_many_calls(service: ServiceProcess) -> None:
    secret = create_token(service.channel, "slow", "read", max_calls_per_second=0.02)
    assert ask(plain(service), INFO, secret).status == 200
    refused = ask(plain(service), INFO, secret)
    assert (refused.status, refused.reason) == (429, "RATE_LIMITED")
    assert 1 <= int(refused.headers["retry-after"]) <= 50


@needs_root
def test_another_user_of_the_machine_is_refused(service: ServiceProcess) -> None:
    with as_another_user(port_of(service)) as address:
        host, _, port = address.partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
        assert ask(connection, INFO).status == 401
    assert ask(plain(service), INFO).status == 200


@needs_root
def test_without_grpc_over_tcp_http_is_protected_all_the_same(
    start_embedded: Callable[..., None], flowspan_home: Path
) -> None:
    start_embedded("--no-tcp", "--http-port", "0")
    info = published(flowspan_home)
    assert info is not None
    port = int(info["http_address"].rpartition(":")[2])
    own = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    assert ask(own, INFO).status == 200
    with as_another_user(port) as address:
        host, _, far = address.partition(":")
        assert (
            ask(http.client.HTTPConnection(host, int(far), timeout=TIMEOUT_S), INFO).status == 401
        )


def test_http_is_served_over_tls(
    start_service: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    certificates = Certificates.make(tmp_path / "certificates")
    flags = certificates.flags("127.0.0.1")
    service = start_service(asks_over_socket=True, arguments=("--http-port", "0", *flags))
    info = published(service.home)
    assert info is not None
    assert info["http_address"].startswith("https://")
    trusting = ssl.create_default_context(cafile=certificates.ca)
    assert ask(secure(service, trusting), INFO).status == 200
    front = ask(secure(service, trusting), "/", page=True).body.decode()
    assert f"https://127.0.0.1:{port_of(service)}/flowspan.v1." in front
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(secure(service, ssl.create_default_context()), INFO)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(plain(service), INFO)


def test_http_requires_certificates_of_clients(
    start_service: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    certificates = Certificates.make(tmp_path / "certificates")
    flags = (*certificates.flags("127.0.0.1"), "--tls-client-ca", str(certificates.ca))
    service = start_service(asks_over_socket=True, arguments=("--http-port", "0", *flags))
    trusting = ssl.create_default_context(cafile=certificates.ca)
    with pytest.raises(OSError, match=r"(?i)certificate|reset|closed|EOF|pipe"):
        ask(secure(service, trusting), INFO)
    trusting.load_cert_chain(*certificates.issue("client@example.com"))
    assert ask(secure(service, trusting), INFO).status == 200


def secure(service: ServiceProcess, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(
        "127.0.0.1", port_of(service), timeout=TIMEOUT_S, context=context
    )
