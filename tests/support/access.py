"""Access tokens, certificates and other users, for tests of security."""

from __future__ import annotations

import ctypes
import selectors
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from flowspan.v1 import token_pb2, token_service_pb2, token_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = 65_534
TIMEOUT_S = 30.0

Denial = tuple[grpc.StatusCode, str]


def create_token(channel: grpc.Channel, name: str, *scopes: str, **fields: Any) -> str:
    """Create an access token; return its secret."""
    request = token_service_pb2.CreateTokenRequest(
        name=name,
        scopes=[token_pb2.TokenScope.Value(f"TOKEN_SCOPE_{scope.upper()}") for scope in scopes],
        **fields,
    )
    stub = token_service_pb2_grpc.TokenServiceStub(channel)
    return str(stub.CreateToken(request, timeout=TIMEOUT_S).secret)


def revoke_token(channel: grpc.Channel, name: str) -> None:
    """Revoke an access token."""
    request = token_service_pb2.RevokeTokenRequest(token=name)
    token_service_pb2_grpc.TokenServiceStub(channel).RevokeToken(request, timeout=TIMEOUT_S)


def bearer(secret: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call with a token."""
    return (("authorization", f"Bearer {secret}"),)


@contextmanager
def denied() -> Iterator[list[Denial]]:
    """Expect that the block raises an error of gRPC; the list then has its code and reason."""
    found: list[Denial] = []
    with pytest.raises(grpc.RpcError) as raised:
        yield found
    found.append(denial_of(raised.value))


def denial_of(error: Any) -> Denial:
    """Return the code of an error of gRPC, and the reason in its ErrorInfo."""
    info = error_info_of(error)
    return error.code(), "" if info is None else info.reason


def error_info_of(error: Any) -> error_details_pb2.ErrorInfo | None:
    """Return the ErrorInfo of an error of gRPC, or None."""
    status = rpc_status.from_call(error)
    for detail in [] if status is None else status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info
    return None


UNAUTHENTICATED = (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
MISSING_SCOPE = (grpc.StatusCode.PERMISSION_DENIED, "MISSING_SCOPE")


@dataclass(frozen=True)
class Certificates:
    """An authority of its own, and files of certificates that it issued."""

    folder: Path
    authority: trustme.CA

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        """Make an authority."""
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(folder, trustme.CA(key_type=trustme.KeyType.ECDSA))
        made.authority.cert_pem.write_to_path(str(made.ca))
        return made

    @property
    def ca(self) -> Path:
        """The file of the authority."""
        return self.folder / "ca.pem"

    def issue(self, *names: str) -> tuple[Path, Path]:
        """Issue a certificate for names; return its file and that of its key."""
        issued = self.authority.issue_cert(*names, key_type=trustme.KeyType.ECDSA)
        cert = self.folder / f"{names[0].replace(':', '-')}.pem"
        key = cert.with_suffix(".key")
        cert.unlink(missing_ok=True)
        for blob in issued.cert_chain_pems:
            blob.write_to_path(str(cert), append=True)
        issued.private_key_pem.write_to_path(str(key))
        return cert, key

    def flags(self, *names: str) -> tuple[str, ...]:
        """Return the flags of a service with a certificate for names."""
        cert, key = self.issue(*names)
        return "--tls-cert", str(cert), "--tls-key", str(key)


@contextmanager
def as_another_user(port: int) -> Iterator[str]:
    """Yield the address of a proxy whose connections to a port are those of another user."""
    with _Proxy(("127.0.0.1", port)) as address:
        yield address


needs_root = pytest.mark.skipif(
    sys.platform != "linux" or ctypes.CDLL(None).geteuid() != 0,
    reason="only root can connect as another user, and only Linux tells the users of connections",
)


class _Proxy:
    """A proxy in a thread, whose sockets to the service belong to another user."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_stopped = False

    def __enter__(self) -> str:
        self._thread.start()
        host, port = self._listening.getsockname()
        return f"{host}:{port}"

    def __exit__(self, *_: object) -> None:
        self._is_stopped = True
        self._thread.join()
        self._listening.close()

    def _run(self) -> None:
        # Of this thread only. A socket belongs to the user whose thread creates it.
        ctypes.CDLL(None).setfsuid(NOBODY)
        peers: dict[socket.socket, socket.socket] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            while not self._is_stopped:
                for key, _ in selector.select(0.05):
                    if key.fileobj is self._listening:
                        near, far = self._listening.accept()[0], socket.socket()
                        far.connect(self._target)
                        peers[near], peers[far] = far, near
                        for each in (near, far):
                            selector.register(each, selectors.EVENT_READ)
                    elif isinstance(key.fileobj, socket.socket):
                        self._pass_on(key.fileobj, peers, selector)
        for each in peers:
            each.close()

    @staticmethod
    def _pass_on(
        near: socket.socket,
        peers: dict[socket.socket, socket.socket],
        selector: selectors.BaseSelector,
    ) -> None:
        with suppress(OSError):
            data = near.recv(1 << 16)
            if data:
                peers[near].sendall(data)
                return
        far = peers.pop(near)
        peers.pop(far)
        for each in (near, far):
            selector.unregister(each)
            each.close()
