"""Tokens of single runs: opaque to callers, signed, and bound to a database and a run.

A token is, in URL-safe base64: a version, the first bytes of the database's id, the id of the run,
and a signature. The key is in the database, as for the other tokens (see
`api.fields.page_tokens`), so that a token outlives a restart and holds at every service process
over the database.

The session of a run follows from the same key. No caller can know its id before the run exists, or
its secret at any time, so no other client can open it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import blake2b
from typing import TYPE_CHECKING
from uuid import UUID

from flowspan_service.api import limits
from flowspan_service.app.single_runs import RunSession
from flowspan_service.domain.errors import WrongSecretError

if TYPE_CHECKING:
    from flowspan_service.app.ports import Identity

_VERSION = b"\x01"
_DATABASE_BYTES = 6
_ID_BYTES = 16
_SIGNATURE_BYTES = 16
_SIGNATURE_AT = len(_VERSION) + _DATABASE_BYTES + _ID_BYTES
_UUID_VERSION = 8
"""The version of UUIDs whose bits have a meaning of their own (RFC 9562, 5.8)."""
_ADVICE = "Send the token that StartRun returned, unchanged, to a service over the same database."


class RunTokens:
    """The tokens and sessions of the single runs of one database."""

    def __init__(self, identity: Identity) -> None:
        self._key = identity.token_key
        self._prefix = _VERSION + UUID(identity.database_id).bytes[:_DATABASE_BYTES]

    def seal(self, run_id: str) -> str:
        """Return the token of a run."""
        named = self._prefix + UUID(run_id).bytes
        raw = named + self._derive(b"flowspan run", named, _SIGNATURE_BYTES)
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def unseal(self, token: str) -> str:
        """Return the run of a token.

        Raises:
            WrongSecretError: The token is not valid.
        """
        raw = _decoded(token)
        named, signature = raw[:_SIGNATURE_AT], raw[_SIGNATURE_AT:]
        expected = self._derive(b"flowspan run", named, _SIGNATURE_BYTES)
        if not hmac.compare_digest(signature, expected) or not named.startswith(self._prefix):
            raise WrongSecretError(
                "token: it is not the token of a run in this database", advice=_ADVICE
            )
        return str(UUID(bytes=named[-_ID_BYTES:]))

    def session_of(self, run_id: str) -> RunSession:
        """Return the session of a run."""
        named = UUID(run_id).bytes
        digits = int.from_bytes(self._derive(b"flowspan session", named, _ID_BYTES), "big")
        digits = digits & ~(0xF << 76) | _UUID_VERSION << 76
        digits = digits & ~(0x3 << 62) | 0x2 << 62
        # Stored as the hash of a secret. No client knows a secret with this hash.
        secret_hash = self._derive(b"flowspan secret", named, 32)
        return RunSession(str(UUID(int=digits)), secret_hash)

    def _derive(self, purpose: bytes, data: bytes, size: int) -> bytes:
        return blake2b(data, key=self._key, digest_size=size, person=purpose).digest()


def _decoded(token: str) -> bytes:
    if len(token) > limits.TOKEN:
        return b""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
