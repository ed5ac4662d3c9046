"""The port to access tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan_service.domain.tokens import AccessToken


class TokenReads(Protocol):
    """The reads of access tokens."""

    def list(self) -> list[AccessToken]:
        """Return all tokens, also those that have ended, by id."""
        ...


class TokenWrites(Protocol):
    """The access tokens in a unit of work."""

    def list(self) -> list[AccessToken]:
        """Return all tokens, also those that have ended, by id."""
        ...

    def add(self, token: AccessToken) -> None:
        """Store a new token."""
        ...

    def revoke(self, token_id: str, *, revoked_us: int) -> None:
        """Store the revocation of a token."""
        ...

    def note_uses(self, used_us: Mapping[str, int]) -> None:
        """Store times of use, by the ids of tokens. An earlier time changes nothing."""
        ...

    def delete(self, token_id: str) -> None:
        """Delete a token."""
        ...
