"""Access tokens and principals: who may do what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Scope(IntEnum):
    """A permission; the numbers of flowspan.v1.TokenScope."""

    READ = 1
    REPORT = 2
    OPERATE = 3
    ADMIN = 4


_INCLUDED = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.REPORT: frozenset({Scope.REPORT}),
    Scope.OPERATE: frozenset({Scope.READ, Scope.REPORT, Scope.OPERATE}),
    Scope.ADMIN: frozenset(Scope),
}

ALL_SCOPES = frozenset(Scope)


def granted(scopes: tuple[Scope, ...]) -> frozenset[Scope]:
    """Return the scopes with those that they include."""
    return frozenset().union(*(_INCLUDED[scope] for scope in scopes))


def is_audited(scope: Scope) -> bool:
    """Return True if each call of a method with this scope is written to the audit log."""
    return scope in (Scope.OPERATE, Scope.ADMIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """An access token; see flowspan.v1.Token.

    Attributes:
        id: UUIDv7.
        name: The name for people.
        scopes: The permissions, in order and without duplicates.
        lookup: The public part of the secret, by which the token is found.
        digest: The hash of the whole secret.
        created_us: The time of creation.
        expires_us: The time from which it is refused; None if it never expires.
        used_us: The time of a recent use; None if it was never used.
        revoked_us: The time of the revocation; None while it is not revoked.
        max_calls_per_second: The limit of the calls with it; 0 for none.
        max_request_bytes: The limit of a request or frame; 0 for that of the service.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    lookup: str
    digest: bytes
    created_us: int
    expires_us: int | None = None
    used_us: int | None = None
    revoked_us: int | None = None
    max_calls_per_second: float = 0.0
    max_request_bytes: int = 0

    def is_expired(self, now_us: int) -> bool:
        """Return True if the token has expired."""
        return self.expires_us is not None and now_us >= self.expires_us

    def ended_us(self, now_us: int) -> int | None:
        """Return when it was revoked or expired, whichever was first; None while it is valid."""
        ends = [
            end for end in (self.revoked_us, self.expires_us) if end is not None and end <= now_us
        ]
        return min(ends, default=None)


@dataclass(frozen=True, slots=True)
class Principal:
    """The author of a call, as far as the service knows it.

    Attributes:
        name: The name for the log: "token:ci", "owner", or "anyone" where no token is needed.
        scopes: The permissions, with those that they include.
        token: The access token of the call; None if it needed none.
    """

    name: str
    scopes: frozenset[Scope]
    token: AccessToken | None = None


OWNER = Principal("owner", ALL_SCOPES)
"""The user of the service, over its Unix socket or, while there are no tokens, over loopback."""
ANYONE = Principal("anyone", ALL_SCOPES)
"""Any client of a service that was told to be insecure."""
