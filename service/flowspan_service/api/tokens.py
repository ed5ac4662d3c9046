"""Access tokens: TokenService, and the checks and conversion of tokens."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from flowspan.v1 import token_pb2
from flowspan.v1 import token_service_pb2 as pb
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import (
    Checks,
    check_required_text,
    check_time,
    invalid,
    no_check,
    shown,
)
from flowspan_service.api.fields.values import microseconds, timestamp
from flowspan_service.app.tokens import CreateToken, RevokeToken, TokenRequest, mint
from flowspan_service.domain.tokens import Scope

if TYPE_CHECKING:
    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.call import Call
    from flowspan_service.domain.tokens import AccessToken

# ruff: noqa: N802 - methods are named as in the protos

_is_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*").fullmatch
_SCOPES = frozenset(int(each) for each in Scope)


class TokenService:
    """The servicer of TokenService."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def CreateToken(self, request: pb.CreateTokenRequest, _: Call) -> pb.CreateTokenResponse:
        """Create a token; its secret is shown only here."""
        backend = self._backend
        expires_us = None
        if request.HasField("expire_time"):
            expires_us = microseconds(request.expire_time)
            if expires_us <= backend.clock.now_us():
                raise invalid("expire_time", "is not in the future")
        minted = mint()
        wanted = TokenRequest(
            name=request.name,
            scopes=frozenset(map(Scope, request.scopes)),
            expires_us=expires_us,
            max_calls_per_second=request.max_calls_per_second,
            max_request_bytes=request.max_request_bytes,
        )
        token = await backend.write(CreateToken(backend.new_id(), wanted, minted))
        backend.access_tokens.put(token)
        return pb.CreateTokenResponse(token=token_message(token), secret=minted.secret)

    async def ListTokens(self, request: pb.ListTokensRequest, _: Call) -> pb.ListTokensResponse:
        """Return the tokens, oldest first."""
        now_us = self._backend.clock.now_us()
        found = await self._backend.read(self._backend.store.tokens.list)
        return pb.ListTokensResponse(
            tokens=[
                token_message(token)
                for token in found
                if request.include_ended or token.ended_us(now_us) is None
            ]
        )

    async def RevokeToken(self, request: pb.RevokeTokenRequest, _: Call) -> pb.RevokeTokenResponse:
        """Revoke a token."""
        token = await self._backend.write(RevokeToken(request.token))
        self._backend.access_tokens.put(token)
        return pb.RevokeTokenResponse(token=token_message(token))


def _check_new_token(request: pb.CreateTokenRequest) -> None:
    check_required_text(request.name, "name", limits.ACCESS_TOKEN_NAME)
    if not _is_name(request.name):
        raise invalid(
            "name",
            f"{shown(request.name)} contains characters other than letters, digits, dots, dashes "
            "and underscores, or begins with none of the first two",
        )
    if not request.scopes:
        raise invalid("scopes", "is required")
    for scope in request.scopes:
        if scope not in _SCOPES:
            raise invalid("scopes", f"{scope} is not known")
    if request.HasField("expire_time"):
        check_time(request.expire_time, "expire_time")
    rate = request.max_calls_per_second
    if math.isnan(rate) or not (rate == 0 or 1e-3 <= rate <= limits.ACCESS_TOKEN_RATE):
        raise invalid(
            "max_calls_per_second", f"is not 0 or between 0.001 and {limits.ACCESS_TOKEN_RATE:,}"
        )
    size = request.max_request_bytes
    if size and not limits.ACCESS_TOKEN_REQUEST_MIN <= size <= limits.MAX_MESSAGE:
        raise invalid(
            "max_request_bytes",
            f"is not 0 or between {limits.ACCESS_TOKEN_REQUEST_MIN} and {limits.MAX_MESSAGE}",
        )


def _check_named(request: pb.RevokeTokenRequest) -> None:
    check_required_text(request.token, "token", limits.ACCESS_TOKEN_NAME)


CHECKS: Checks = {
    pb.CreateTokenRequest: _check_new_token,
    pb.ListTokensRequest: no_check,
    pb.RevokeTokenRequest: _check_named,
}


def token_message(token: AccessToken) -> token_pb2.Token:
    """Return the message of a token."""
    message = token_pb2.Token(
        id=token.id,
        name=token.name,
        scopes=[token_pb2.TokenScope.Name(scope) for scope in token.scopes],
        create_time=timestamp(token.created_us),
        max_calls_per_second=token.max_calls_per_second,
        max_request_bytes=token.max_request_bytes,
    )
    for field, time_us in (
        (message.expire_time, token.expires_us),
        (message.last_use_time, token.used_us),
        (message.revoke_time, token.revoked_us),
    ):
        if time_us is not None:
            field.CopyFrom(timestamp(time_us))
    return message
