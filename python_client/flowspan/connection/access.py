"""The way in which this process proves who it is, and checks who the service is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flowspan.exceptions import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from flowspan.config import Config
    from flowspan.connection.address import Address

_is_token = re.compile(r"[!-~]+").fullmatch
"""Visible ASCII, as headers allow. The token itself is opaque."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The access to one service.

    Attributes:
        uses_tls: True if the service is reached over TLS.
        ca_file: The authorities that may have issued its certificate; None for the system's.
        client_cert_file: The certificate of this client; None for none.
        client_key_file: Its private key; None if it is in the same file.
        server_name: The name in the service's certificate, if it is not that of the address.
        token: The access token; None for none.
        token_file: The file with the access token; None for none.
    """

    uses_tls: bool = False
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    server_name: str = ""
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None

    def authorization(self) -> str:
        """Return the value of the header "authorization"; empty without a token.

        The file of the token is read anew, because its content may be replaced at any time.

        Raises:
            ConfigError: The file cannot be read, or has no token.
        """
        if self.token is not None:
            return f"Bearer {_checked(self.token, 'FLOWSPAN_TOKEN')}"
        if self.token_file is None:
            return ""
        try:
            text = self.token_file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ConfigError(
                f"the access token in {self.token_file} cannot be read: {error.strerror}. "
                "Check FLOWSPAN_TOKEN_FILE, or the token file of the profile."
            ) from None
        return f"Bearer {_checked(text.strip(), str(self.token_file))}"


def with_access(address: Address, config: Config) -> Address:
    """Return an address with the access that the settings give.

    A Unix socket needs neither TLS nor a token: only the user of the service can open it.
    """
    if address.path:
        return address
    uses_tls = config.tls
    if uses_tls is None:
        uses_tls = address.access.uses_tls or any(
            (config.tls_ca, config.tls_client_cert, config.tls_server_name)
        )
    return replace(
        address,
        access=Access(
            uses_tls=uses_tls,
            ca_file=config.tls_ca,
            client_cert_file=config.tls_client_cert,
            client_key_file=config.tls_client_key,
            server_name=config.tls_server_name or "",
            token=config.token,
            token_file=config.token_file,
        ),
    )


def _checked(text: str, source: str) -> str:
    if not _is_token(text):
        what = "contains blanks or other characters than visible ASCII" if text else "is empty"
        raise ConfigError(f"the access token in {source} {what}.")
    return text
