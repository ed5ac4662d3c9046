"""Page tokens and resume tokens: opaque to callers, signed, and bound to a database and a query.

A token is, in URL-safe base64: a version, the first bytes of the database's id, a signature, and
the place. The key of the signature is in the database, so that every service process over it, and
the next one after a restart, accepts the tokens of the others.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.api import limits
from flowspan_service.domain.errors import BadTokenError, TokenOutOfRangeError

if TYPE_CHECKING:
    from flowspan_service.app.ports import Identity

_VERSION = b"\x01"
_DATABASE_BYTES = 6
_SIGNATURE_BYTES = 10
_SIGNATURE_AT = len(_VERSION) + _DATABASE_BYTES
_PLACE_AT = _SIGNATURE_AT + _SIGNATURE_BYTES
_UNSIGNED_CHECK_BYTES = 8


class WatchPlace(NamedTuple):
    """The place after which a watch resumes."""

    position: int
    commit_us: int
    """The commit time of the transition at the position, which differs if a restored backup has
    led to another history; 0 without a transition."""


class PageTokens:
    """The page and resume tokens of one database."""

    def __init__(self, identity: Identity) -> None:
        self._key = identity.token_key
        self._database = bytes.fromhex(identity.database_id.replace("-", ""))[:_DATABASE_BYTES]

    def seal(self, place: str | int, *, query: bytes) -> str:
        """Return a token for a place in the answer to a query.

        Args:
            place: The place to continue after.
            query: The bytes that the token is bound to: the kind of the token, the filter and the
                order.
        """
        data = str(place).encode()
        raw = _VERSION + self._database + self._sign(data, query) + data
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def unseal(self, token: str, *, query: bytes, field: str = "page_token") -> str:
        """Return the place of a token.

        Raises:
            BadTokenError: The token is for another database, or belongs to another query.
        """
        raw = _decoded(token)
        if raw.startswith(_VERSION + self._database):
            data = raw[_PLACE_AT:]
            if raw[_SIGNATURE_AT:_PLACE_AT] == self._sign(data, query):
                return data.decode()
        raise _bad_token(field)

    def unseal_number(self, token: str, *, query: bytes, field: str = "page_token") -> int:
        """Return the place of a token, as a number.

        Raises:
            BadTokenError: As in `unseal`.
        """
        return int(self.unseal(token, query=query, field=field))

    def seal_watch(self, place: WatchPlace, *, query: bytes) -> str:
        """Return the resume token of a watch."""
        return self.seal(f"{place.position}:{place.commit_us}", query=query)

    def unseal_watch(self, token: str, *, query: bytes) -> WatchPlace:
        """Return the place of the resume token of a watch.

        Raises:
            BadTokenError: The token is invalid, or belongs to another watch.
            TokenOutOfRangeError: It is for another database, or from an earlier version.
        """
        raw = _decoded(token)
        is_signed = raw.startswith(_VERSION) and len(raw) > _PLACE_AT
        if is_signed and not raw.startswith(_VERSION + self._database):
            raise out_of_range("it was created for another database")
        if _is_unsigned(raw, query):
            raise out_of_range("it was created by an earlier version of the service")
        position, _, commit_us = self.unseal(token, query=query, field="resume_token").partition(
            ":"
        )
        return WatchPlace(int(position), int(commit_us))

    def _sign(self, data: bytes, query: bytes) -> bytes:
        signature = blake2b(
            len(query).to_bytes(4, "big"),
            key=self._key,
            digest_size=_SIGNATURE_BYTES,
            person=b"flowspan token",
        )
        signature.update(query)
        signature.update(data)
        return signature.digest()


def out_of_range(reason: str, *, field: str = "resume_token") -> TokenOutOfRangeError:
    """Return the error for a watch or a tail that cannot resume."""
    return TokenOutOfRangeError(
        f"{field}: cannot resume from this point: {reason}",
        advice="Start again without it.",
        field=field,
    )


def _decoded(token: str) -> bytes:
    if len(token) > limits.TOKEN:
        return b""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_unsigned(raw: bytes, query: bytes) -> bool:
    """Return True for a token of the version that did not sign tokens."""
    check, data = raw[:_UNSIGNED_CHECK_BYTES], raw[_UNSIGNED_CHECK_BYTES:]
    digest = blake2b(data, digest_size=_UNSIGNED_CHECK_BYTES, person=b"flowspan token")
    digest.update(b"\0" + query)
    return data.isdigit() and check == digest.digest()


def _bad_token(field: str) -> BadTokenError:
    return BadTokenError(
        f"{field}: the token was not created for this database, or belongs to another query",
        advice="Use the token unchanged and with the same query, or start without one.",
        field=field,
    )
