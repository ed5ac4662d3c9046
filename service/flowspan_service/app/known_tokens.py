"""The access tokens of the database, in memory.

A call is checked without the database. The memory follows each change of this process at once, and
the changes of other processes on the same database within a second (`loops.tokens`).
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from flowspan_service.app.tokens import digest_of, lookup_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flowspan_service.domain.tokens import AccessToken

_NO_DIGEST = bytes(32)
USE_NOTED_US = 60_000_000
"""Precision of the time of the last use, which spares the database a write for each call."""


class KnownTokens:
    """The tokens that are not revoked. For the event loop's thread only."""

    def __init__(self, tokens: Iterable[AccessToken] = ()) -> None:
        self._by_lookup: dict[str, AccessToken] = {}
        self._listeners: list[Callable[[], None]] = []
        self._noted_us: dict[str, int] = {}
        self._uses: dict[str, int] = {}
        self.replace(tokens)

    @property
    def are_in_use(self) -> bool:
        """True if there is a token that is not revoked, even if it has expired.

        An expiry must not open a service to clients without a token.
        """
        return bool(self._by_lookup)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call the listener after each change."""
        self._listeners.append(listener)

    def replace(self, tokens: Iterable[AccessToken]) -> None:
        """Take the tokens of the database."""
        found = {token.lookup: token for token in tokens if token.revoked_us is None}
        has_changed = _identities(found) != _identities(self._by_lookup)
        self._by_lookup = found
        if has_changed:
            for listener in self._listeners:
                listener()

    def put(self, token: AccessToken) -> None:
        """Take a new or changed token."""
        others = (each for each in self._by_lookup.values() if each.id != token.id)
        self.replace([*others, token])

    def holds(self, token: AccessToken) -> bool:
        """Return True if the token is not revoked."""
        known = self._by_lookup.get(token.lookup)
        return known is not None and known.id == token.id

    def find(self, secret: str) -> AccessToken | None:
        """Return the token with this secret, even if it has expired, or None.

        The secret is compared in constant time.
        """
        token = self._by_lookup.get(lookup_of(secret))
        expected = _NO_DIGEST if token is None else token.digest
        return token if hmac.compare_digest(digest_of(secret), expected) else None

    def note_use(self, token: AccessToken, now_us: int) -> None:
        """Note a use of a token, to be stored later."""
        noted_us = self._noted_us.get(token.id) or token.used_us or 0
        if now_us - noted_us >= USE_NOTED_US:
            self._noted_us[token.id] = self._uses[token.id] = now_us

    def take_uses(self) -> dict[str, int]:
        """Return the uses since the last call: the times, by the ids of the tokens."""
        uses, self._uses = self._uses, {}
        return uses

    def give_back_uses(self, uses: dict[str, int]) -> None:
        """Take uses back that could not be stored."""
        self._uses = {**uses, **self._uses}


def _identities(tokens: dict[str, AccessToken]) -> set[tuple[str, str]]:
    return {(lookup, token.id) for lookup, token in tokens.items()}
