"""TLS connections to the service: verified certificates, ALPN, SNI and client certificates."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from flowspan.exceptions import ConfigError

if TYPE_CHECKING:
    import socket

    from flowspan.connection.access import Access

ALPN = "h2"
_BUNDLE = "ca-certificates.crt"
"""The file of all authorities in the folder of the system's certificates (Debian and others)."""


class TlsSocket:
    """A TLS connection that behaves like a plain non-blocking socket.

    OpenSSL's "want to read" and "want to write" become BlockingIOError.
    """

    def __init__(self, connection: ssl.SSLSocket) -> None:
        """Wrap a connection after its handshake."""
        self._connection = connection

    def send(self, data: memoryview | bytes) -> int:
        """Write some of the data; return the number of bytes.

        Raises:
            OSError: The connection broke, or would block.
        """
        try:
            return self._connection.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def recv(self, size: int) -> bytes:
        """Return the data that has arrived; empty at the end of the connection.

        Everything that OpenSSL has decrypted is returned, because a selector does not see it.

        Raises:
            OSError: The connection broke, or would block.
        """
        try:
            data = self._connection.recv(size)
            while waiting := self._connection.pending():
                data += self._connection.recv(waiting)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        return data

    def settimeout(self, timeout_s: float | None) -> None:
        """Set the timeout of the socket."""
        self._connection.settimeout(timeout_s)

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._connection.fileno()

    def detach(self) -> int:
        """Give up the descriptor without closing it, and return it."""
        return self._connection.detach()

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()


def secure(plain: socket.socket, host: str, access: Access) -> TlsSocket:
    """Begin TLS on a connected socket, which is closed if that fails.

    Args:
        plain: The socket, with a timeout for the handshake.
        host: The host of the service's address.
        access: The certificates.

    Raises:
        ConfigError: A file of certificates cannot be used.
        OSError: The handshake failed.
    """
    try:
        context = _context(access)
        name = access.server_name or host.partition("%")[0]
        connection = context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise
    if connection.selected_alpn_protocol() != ALPN:
        connection.close()
        raise ssl.SSLError(0, "it speaks TLS, but does not offer HTTP/2 (ALPN)")
    return TlsSocket(connection)


def root_certificates(access: Access) -> bytes | None:
    """Return the authorities for gRPC, in PEM; None for those that come with gRPC.

    gRPC has certificates of its own, and does not read the system's.

    Raises:
        ConfigError: The file of the authorities cannot be read.
    """
    if access.ca_file is not None:
        return read_file(access.ca_file, "FLOWSPAN_TLS_CA")
    paths = ssl.get_default_verify_paths()
    candidates = [Path(paths.cafile)] if paths.cafile else []
    if paths.capath:
        candidates += [Path(paths.capath, _BUNDLE), Path(paths.capath).parent / "cert.pem"]
    for path in candidates:
        with contextlib.suppress(OSError):
            return path.read_bytes()
    return None


def client_certificate(access: Access) -> tuple[bytes | None, bytes | None]:
    """Return the private key and the certificate of this client, in PEM; None for none.

    Raises:
        ConfigError: A file cannot be read.
    """
    if access.client_cert_file is None:
        return None, None
    key_file = access.client_key_file or access.client_cert_file
    return (
        read_file(key_file, "FLOWSPAN_TLS_CLIENT_KEY"),
        read_file(access.client_cert_file, "FLOWSPAN_TLS_CLIENT_CERT"),
    )


def read_file(path: Path, variable: str) -> bytes:
    """Return the content of a file of certificates.

    Raises:
        ConfigError: It cannot be read; the message names the variable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{variable}: cannot read {path}: {error.strerror}.") from None


def _context(access: Access) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN])
    try:
        if access.ca_file is None:
            context.load_default_certs()
        else:
            read_file(access.ca_file, "FLOWSPAN_TLS_CA")
            context.load_verify_locations(access.ca_file)
    except ssl.SSLError as error:
        raise ConfigError(
            f"FLOWSPAN_TLS_CA: {access.ca_file} has no certificate in PEM ({error.reason})."
        ) from None
    if access.client_cert_file is not None:
        client_certificate(access)
        key_file = access.client_key_file or access.client_cert_file
        try:
            # Without the password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(access.client_cert_file, key_file, password="")
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"FLOWSPAN_TLS_CLIENT_CERT: {access.client_cert_file} cannot be used with the key "
                f"{key_file} ({getattr(error, 'reason', None) or error}). Both must be in PEM, "
                "belong together, and have no password."
            ) from None
    return context


def explain_tls(error: ssl.SSLError) -> str:
    """Return the reason why a handshake failed, with advice."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not accepted: {error.verify_message}. Name the authority that "
            "issued it with FLOWSPAN_TLS_CA, and use a host name of the certificate in the address "
            "(or FLOWSPAN_TLS_SERVER_NAME)"
        )
    reason = error.reason or error.strerror or str(error)
    if "WRONG_VERSION" in reason or "RECORD_LAYER" in reason or "HTTP_REQUEST" in reason:
        return "it does not speak TLS. Unset FLOWSPAN_TLS, or start it with --tls-cert"
    if "CERTIFICATE_REQUIRED" in reason or "ALERT_BAD_CERTIFICATE" in reason:
        return (
            "it requires a certificate of this client. Set FLOWSPAN_TLS_CLIENT_CERT and "
            "FLOWSPAN_TLS_CLIENT_KEY"
        )
    return f"the TLS handshake failed ({reason})"
