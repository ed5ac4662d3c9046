"""The certificates of the service, read and checked at the start."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan_service.process.errors import ListenError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """The certificate of the service, and what it requires of clients.

    Attributes:
        cert_file: The certificate with those of its issuers, in PEM.
        key_file: Its private key, in PEM and without a password.
        client_ca_file: The authorities whose certificates clients must have; None if clients need
            no certificate.
    """

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None


def load_tls(cert: Path, key: Path | None, client_ca: Path | None) -> ServerTls:
    """Return the certificates after checking them.

    Args:
        cert: The certificate of the service.
        key: Its private key; None if it is in the same file.
        client_ca: The authorities of clients; None if clients need no certificate.

    Raises:
        ListenError: A file cannot be used.
    """
    key = key or cert
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for path, flag in (
        (cert, "--tls-cert"),
        (key, "--tls-key"),
        (client_ca, "--tls-client-ca"),
    ):
        if path is not None:
            _check_readable(path, flag)
    try:
        # Without the password, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise ListenError(
            f"The certificate {cert} cannot be used with the key {key}: "
            f"{_why(error)}. Both must be in PEM, belong together, and have no password "
            "(--tls-cert, --tls-key)."
        ) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise ListenError(
                f"{client_ca} has no certificate in PEM: {_why(error)} (--tls-client-ca)."
            ) from error
    return ServerTls(cert_file=cert, key_file=key, client_ca_file=client_ca)


def _check_readable(path: Path, flag: str) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise ListenError(f"Cannot read {path}: {error.strerror} ({flag}).") from error


def _why(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
