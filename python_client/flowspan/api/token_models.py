"""Records of access tokens; see `flowspan.api.models`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


class TokenScope(IntEnum):
    """A permission of an access token (flowspan.v1.TokenScope)."""

    UNKNOWN = 0
    READ = 1
    REPORT = 2
    OPERATE = 3
    ADMIN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token, without its secret. A limit of 0 means none."""

    id: UUID
    name: str
    scopes: tuple[TokenScope, ...]
    created_at: datetime | None
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    max_calls_per_second: float
    max_request_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedToken:
    """A new access token and its secret, which cannot be read again."""

    token: Token
    secret: str = field(repr=False)
