"""The certificates of a case's service, and the access token of its program."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from google.protobuf import timestamp_pb2
from tests.support.access import Certificates, create_token, revoke_token

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import ServiceProcess

HOST = "127.0.0.1"
WRONG_SECRET = f"fst_{'x' * 56}"
EXPIRES_AFTER_S = 0.5
TRUSTING = ("trusted", "mutual", "unidentified")
"""Values of `tls` with which the program trusts the authority of the service."""


class Security:
    """The security of one run of a case; all files are in a folder of the test.

    Args:
        folder: The folder.
        tls: "trusted" (the program trusts the authority of the service), "untrusted" (it does not),
            "mutual" (it has a certificate of its own, which the service requires), "unidentified"
            (it lacks that certificate); empty without TLS.
        token: The access token of the program: `scopes`; `kind`, which is "valid" (default),
            "wrong", "expired", or "missing"; and `place`, which is "variable" (default) or "file".
            None if the service has no tokens.
    """

    def __init__(self, folder: Path, *, tls: str = "", token: dict[str, Any] | None = None) -> None:
        self._folder = folder
        self._tls = tls
        self._token = token
        self._token_count = 0
        self._certificates = Certificates.make(folder / "certificates") if tls else None

    @property
    def is_needed(self) -> bool:
        """True if the case has any security."""
        return bool(self._tls) or self._token is not None

    def service_options(self) -> dict[str, Any]:
        """Return the options of the service (see ServiceProcess). The test uses its socket."""
        if not self.is_needed:
            return {}
        arguments: tuple[str, ...] = ()
        if self._certificates is not None:
            arguments = self._certificates.flags(HOST)
            if self._tls in {"mutual", "unidentified"}:
                arguments += ("--tls-client-ca", str(self._certificates.ca))
        return {"asks_over_socket": True, "arguments": arguments}

    def program_env(self, service: ServiceProcess) -> dict[str, str]:
        """Return the environment variables of the program, after the service has started."""
        return {**self._tls_env(), **self._token_env(service)}

    def revoke(self, service: ServiceProcess) -> None:
        """Revoke the token of the program."""
        revoke_token(service.channel, self._token_name)

    def replace(self, service: ServiceProcess) -> None:
        """Write a new token into the file of the program, in one step."""
        self._write(self._create(service))

    def _tls_env(self) -> dict[str, str]:
        if self._certificates is None:
            return {}
        env = {"FLOWSPAN_TLS": "true"}
        if self._tls in TRUSTING:
            env["FLOWSPAN_TLS_CA"] = str(self._certificates.ca)
        if self._tls == "mutual":
            cert, key = self._certificates.issue("program@example.com")
            env["FLOWSPAN_TLS_CLIENT_CERT"] = str(cert)
            env["FLOWSPAN_TLS_CLIENT_KEY"] = str(_as_pkcs8(key))
        return env

    def _token_env(self, service: ServiceProcess) -> dict[str, str]:
        if self._token is None:
            return {}
        # Without any token that is not revoked, the service would need none.
        create_token(service.channel, "another", "read")
        kind = self._token.get("kind", "valid")
        secret = self._create(service, is_expired=kind == "expired")
        if kind == "missing":
            return {}
        if kind == "wrong":
            secret = WRONG_SECRET
        if self._token.get("place") != "file":
            return {"FLOWSPAN_TOKEN": secret}
        self._write(secret)
        return {"FLOWSPAN_TOKEN_FILE": str(self._token_file)}

    def _create(self, service: ServiceProcess, *, is_expired: bool = False) -> str:
        assert self._token is not None
        self._token_count += 1
        fields = {}
        if is_expired:
            expires_at = timestamp_pb2.Timestamp()
            expires_at.FromNanoseconds(time.time_ns() + int(EXPIRES_AFTER_S * 1e9))
            fields["expire_time"] = expires_at
        secret = create_token(service.channel, self._token_name, *self._token["scopes"], **fields)
        if is_expired:
            time.sleep(2 * EXPIRES_AFTER_S)
        return secret

    @property
    def _token_name(self) -> str:
        return f"program-{self._token_count}"

    @property
    def _token_file(self) -> Path:
        return self._folder / "token"

    def _write(self, secret: str) -> None:
        new = self._folder / "token.new"
        new.write_text(f"{secret}\n")
        new.replace(self._token_file)


def _as_pkcs8(key: Path) -> Path:
    """Return the file of a private key in PKCS #8, the only form that Java reads."""
    loaded = load_pem_private_key(key.read_bytes(), None)
    pkcs8 = key.with_suffix(".pkcs8")
    pkcs8.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pkcs8
