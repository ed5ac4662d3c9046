"""Operations on access tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api import convert, token_models
from flowspan.api.requests import call
from flowspan.core.values.inspection import encodable
from flowspan.v1 import token_pb2
from flowspan.v1 import token_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from flowspan.api.requests import Answer

_SERVICE = "TokenService"


def create_token(
    name: str,
    scopes: Iterable[token_models.TokenScope | str],
    *,
    expires_at: datetime | None = None,
    max_calls_per_second: float = 0.0,
    max_request_bytes: int = 0,
) -> Answer[token_models.CreatedToken]:
    """Create an access token.

    Args:
        name: A name for people, unique among the tokens that are not revoked: letters, digits,
            dots, dashes and underscores; at most 64 characters.
        scopes: The permissions: "read", "report", "operate" (includes both), "admin" (includes
            all).
        expires_at: When it expires, an aware time in the future; None for never.
        max_calls_per_second: The limit of the calls with it; 0 for none.
        max_request_bytes: The limit of a request; 0 for that of the service.

    Returns:
        The token and its secret, which cannot be read again.

    Raises:
        ObjectAlreadyExists: A token with this name is not revoked.
        ApiError: PERMISSION_DENIED, the own token lacks the scope admin; INVALID_ARGUMENT, an
            argument is invalid.
        ValueError: A scope is not known.
    """
    request = pb.CreateTokenRequest(
        name=encodable(name),
        scopes=[token_pb2.TokenScope.Name(_scope(scope)) for scope in scopes],
        max_calls_per_second=max_calls_per_second,
        max_request_bytes=max_request_bytes,
    )
    if expires_at is not None:
        request.expire_time.FromDatetime(expires_at)
    answer = yield from call(f"{_SERVICE}/CreateToken", request, pb.CreateTokenResponse)
    return token_models.CreatedToken(token=convert.token(answer.token), secret=answer.secret)


def read_tokens(*, include_ended: bool = False) -> Answer[list[token_models.Token]]:
    """Return the access tokens, oldest first, without their secrets.

    Args:
        include_ended: True to include those that are revoked or expired.

    Raises:
        ApiError: PERMISSION_DENIED, the own token lacks the scope admin.
    """
    request = pb.ListTokensRequest(include_ended=include_ended)
    answer = yield from call(f"{_SERVICE}/ListTokens", request, pb.ListTokensResponse)
    return list(map(convert.token, answer.tokens))


def revoke_token(token: UUID | str) -> Answer[token_models.Token]:
    """Revoke an access token by its id or name. Idempotent.

    Returns:
        The token. Streams that began with it end at once.

    Raises:
        ObjectNotFound: There is no such token.
        ApiError: PERMISSION_DENIED, the own token lacks the scope admin.
    """
    request = pb.RevokeTokenRequest(token=encodable(str(token)))
    answer = yield from call(f"{_SERVICE}/RevokeToken", request, pb.RevokeTokenResponse)
    return convert.token(answer.token)


def _scope(scope: token_models.TokenScope | str) -> token_models.TokenScope:
    if isinstance(scope, token_models.TokenScope):
        return scope
    try:
        return token_models.TokenScope[scope.upper()]
    except KeyError:
        known = ", ".join(each.name.lower() for each in token_models.TokenScope if each)
        raise ValueError(f"{scope!r} is not a scope; expected one of {known}") from None
