"""Authorization: rate limits, the ends of streams, and the audit log."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import LogCapture

from flowspan_service.api.calls import audit as audit_log
from flowspan_service.api.calls.audit import DENIED_EVERY_US, Audit
from flowspan_service.api.calls.authorization import Authorization, _Bucket
from flowspan_service.api.calls.call import Call
from flowspan_service.app.known_tokens import KnownTokens
from flowspan_service.app.tokens import mint
from flowspan_service.domain.errors import (
    MissingScopeError,
    RateLimitedError,
    UnauthenticatedError,
)
from flowspan_service.domain.tokens import AccessToken, Scope

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

TCP = "ipv4:192.0.2.1:5"


class FixedClock:
    def __init__(self) -> None:
        self.us = 1_000_000

    def now_us(self) -> int:
        return self.us

    def monotonic_us(self) -> int:
        return self.us


def a_token(**fields: Any) -> tuple[AccessToken, Call]:
    minted = mint()
    token = AccessToken(
        id="1",
        name="ci",
        scopes=(Scope.READ,),
        lookup=minted.lookup,
        digest=minted.digest,
        created_us=0,
    )
    metadata = {"authorization": f"Bearer {minted.secret}"}
    return replace(token, **fields), Call(peer=TCP, metadata=metadata)


def test_a_bucket_allows_a_burst_and_then_its_rate() -> None:
    bucket = _Bucket(4.0)
    assert [bucket.take(0.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.25]
    assert bucket.take(0.25) == 0.0
    assert bucket.take(0.25) == pytest.approx(0.25)
    assert [bucket.take(100.0) for _ in range(4)] == [0.0] * 4
    assert bucket.take(100.0) > 0


def test_a_slow_rate_allows_the_first_call() -> None:
    bucket = _Bucket(0.01)
    assert bucket.take(0.0) == 0.0
    assert bucket.take(0.0) == pytest.approx(100.0)


def test_who_gets_in() -> None:
    clock = FixedClock()
    token, call = a_token(expires_us=2_000_000)
    tokens = KnownTokens()
    access = Authorization(tokens, clock)  # type: ignore[arg-type] # the parts that it uses
    access.check("/m", Scope.ADMIN, Call(peer=TCP))
    access.is_own_user = lambda peer: peer != TCP
    with pytest.raises(UnauthenticatedError, match="another user"):
        access.check("/m", Scope.READ, Call(peer=TCP))
    tokens.put(token)
    access.check("/m", Scope.READ, call)
    assert call.principal.name == "token:ci"
    with pytest.raises(MissingScopeError, match="'report'"):
        access.check("/m", Scope.REPORT, call)
    local = Call(peer="unix:", metadata=call.metadata)
    access.check("/m", Scope.ADMIN, local)
    assert local.principal.name == "owner"
    clock.us = 2_000_000
    with pytest.raises(UnauthenticatedError, match="expired"):
        access.check("/m", Scope.READ, call)
    access.is_insecure = True
    access.check("/m", Scope.ADMIN, Call(peer=TCP))


def test_a_rate_says_when_to_retry() -> None:
    token, call = a_token(max_calls_per_second=0.1)
    access = Authorization(KnownTokens([token]), FixedClock())  # type: ignore[arg-type] # as above
    access.check("/m", Scope.READ, call)
    with pytest.raises(RateLimitedError) as raised:
        access.check("/m", Scope.READ, call)
    assert raised.value.retry_after_s == pytest.approx(10, abs=1)


def test_a_stream_ends_with_its_token() -> None:
    closed: list[str] = []

    async def responses(waits: asyncio.Event) -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
            await waits.wait()
            yield 3
        finally:
            closed.append("closed")

    async def run() -> None:
        token, _ = a_token()
        tokens = KnownTokens([token])
        access = Authorization(tokens, FixedClock())  # type: ignore[arg-type] # as above
        waits = asyncio.Event()
        async with aclosing(access.until_ended(responses(waits), token)) as stream:
            assert await anext(stream) == 1
            tokens.put(replace(token, name="renamed"))
            assert await anext(stream) == 2
            reading = asyncio.create_task(take(stream))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            tokens.put(replace(token, revoked_us=1))
            with pytest.raises(UnauthenticatedError, match="revoked"):
                await reading
        assert closed == ["closed"]
        # Between two responses, the stream ends before the next one.
        tokens.put(token)
        async with aclosing(access.until_ended(responses(waits), token)) as stream:
            assert await anext(stream) == 1
            tokens.put(replace(token, revoked_us=1))
            with pytest.raises(UnauthenticatedError):
                await anext(stream)
        # A cancellation by the transport stays one.
        tokens.put(token)
        stream = access.until_ended(responses(waits), token)
        assert [await anext(stream), await anext(stream)] == [1, 2]
        reading = asyncio.create_task(take(stream))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert closed == ["closed"] * 3

    asyncio.run(run())


async def take(stream: AsyncGenerator[Any, None]) -> Any:
    return await anext(stream)


def test_a_repeated_denial_has_one_line_in_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = LogCapture()  # not capture_logs(): other tests may have configured a level
    logger = structlog.wrap_logger(None, processors=[lines], wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr(audit_log, "log", logger)
    clock = FixedClock()
    audit = Audit(clock.monotonic_us)
    error = UnauthenticatedError("No.")
    for port in range(5):
        audit.denied("/m", Call(peer=f"ipv4:192.0.2.1:{port}"), error, principal="unknown")
    audit.denied("/other", Call(peer=TCP), error, principal="unknown")
    clock.us += DENIED_EVERY_US
    audit.denied("/m", Call(peer=TCP), error, principal="unknown")
    assert [(line["method"], line.get("repeated")) for line in lines.entries] == [
        ("/m", None), ("/other", None), ("/m", 4)
    ]  # fmt: skip
