"""Access tokens: create, revoke, note their use."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.domain.errors import AlreadyExistsError, NotFoundError, TooLargeError
from flowspan_service.domain.tokens import AccessToken, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowspan_service.app.ports import UnitOfWork

PREFIX = "fst_"
"""The beginning of each secret, by which scanners of repositories recognize one."""
MAX_TOKENS = 1000
ENDED_KEPT_US = 30 * 86_400_000_000
"""Time for which a token that has ended stays in the list."""
_LOOKUP_BYTES = 8
_SECRET_BYTES = 32


class Minted(NamedTuple):
    """A new secret and the parts of it that are stored."""

    secret: str
    lookup: str
    digest: bytes


def mint() -> Minted:
    """Return a new random secret: "fst_", the part for the lookup, "_", and 256 random bits."""
    # Letters and digits only, so that the underscore after it is its end.
    lookup = base64.b32encode(secrets.token_bytes(_LOOKUP_BYTES)).decode().rstrip("=").lower()
    secret = f"{PREFIX}{lookup}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return Minted(secret, lookup, digest_of(secret))


def lookup_of(secret: str) -> str:
    """Return the part of a secret by which its token is found; empty if it is malformed."""
    if not secret.startswith(PREFIX):
        return ""
    lookup, underscore, _ = secret[len(PREFIX) :].partition("_")
    return lookup if underscore else ""


def digest_of(secret: str) -> bytes:
    """Return the hash of a secret, as it is stored.

    A plain hash is enough, because a secret has 256 random bits: unlike a password, it cannot be
    found by trying likely ones.
    """
    return sha256(secret.encode(errors="replace")).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """The properties of a new token; see AccessToken."""

    name: str
    scopes: frozenset[Scope]
    expires_us: int | None = None
    max_calls_per_second: float = 0.0
    max_request_bytes: int = 0


class CreateToken:
    """Create an access token; return it."""

    __slots__ = ("minted", "request", "run_ids", "token_id", "weight")

    def __init__(self, token_id: str, request: TokenRequest, minted: Minted) -> None:
        """Initialize the operation.

        Args:
            token_id: The id of the new token.
            request: Its properties.
            minted: Its secret.
        """
        self.token_id = token_id
        self.request = request
        self.minted = minted
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> AccessToken:
        """Create the token, and delete those that ended long ago.

        Raises:
            AlreadyExistsError: A token with this name is not revoked.
            TooLargeError: There are too many tokens.
        """
        request = self.request
        kept = 0
        for known in uow.tokens.list():
            if known.revoked_us is None and known.name == request.name:
                raise _name_is_taken(known, uow.now_us)
            ended_us = known.ended_us(uow.now_us)
            if ended_us is not None and ended_us <= uow.now_us - ENDED_KEPT_US:
                uow.tokens.delete(known.id)
            else:
                kept += 1
        if kept >= MAX_TOKENS:
            raise TooLargeError(
                f"There are {kept} tokens, and no more than {MAX_TOKENS} are allowed.",
                advice="Revoke those that are not needed. They are deleted after 30 days.",
                limit=str(MAX_TOKENS),
            )
        token = AccessToken(
            id=self.token_id,
            name=request.name,
            scopes=tuple(sorted(request.scopes)),
            lookup=self.minted.lookup,
            digest=self.minted.digest,
            created_us=uow.now_us,
            expires_us=request.expires_us,
            max_calls_per_second=request.max_calls_per_second,
            max_request_bytes=request.max_request_bytes,
        )
        uow.tokens.add(token)
        return token


class RevokeToken:
    """Revoke an access token; return it. Idempotent."""

    __slots__ = ("run_ids", "token", "weight")

    def __init__(self, token: str) -> None:
        """Initialize the operation.

        Args:
            token: The id or the name of the token. Of several tokens with the name, the one that is
                not revoked, or else the newest.
        """
        self.token = token
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> AccessToken:
        """Revoke the token.

        Raises:
            NotFoundError: There is no such token.
        """
        named = [each for each in uow.tokens.list() if self.token in (each.id, each.name)]
        if not named:
            raise NotFoundError(
                f"There is no access token {self.token!r}.",
                advice="List the tokens to see their names and ids.",
                token=self.token,
            )
        found = next((each for each in named if each.revoked_us is None), named[-1])
        if found.revoked_us is not None:
            return found
        uow.tokens.revoke(found.id, revoked_us=uow.now_us)
        return replace(found, revoked_us=uow.now_us)


class NoteTokenUses:
    """Store when access tokens were last used."""

    __slots__ = ("run_ids", "used_us", "weight")

    def __init__(self, used_us: Mapping[str, int]) -> None:
        self.used_us = used_us
        self.run_ids: Sequence[str] = ()
        self.weight = len(used_us)

    def __call__(self, uow: UnitOfWork) -> None:
        """Store the times."""
        uow.tokens.note_uses(self.used_us)


def _name_is_taken(known: AccessToken, now_us: int) -> AlreadyExistsError:
    state = "has expired, but is not revoked" if known.is_expired(now_us) else "is in use"
    return AlreadyExistsError(
        f"A token with the name {known.name!r} {state}.",
        advice="Choose another name, or revoke that token first.",
        name=known.name,
    )
