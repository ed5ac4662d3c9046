"""The authorization of calls, one step for all transports.

The Unix socket belongs to the user of the service: only that user can open it, so its calls need no
token. Over TCP, a call needs an access token, unless no token exists yet and the service listens on
loopback only: then the calls of its own user need none.

A call is checked once: a stream not again for its messages, which cost nothing. Instead, streams
are ended when their token is revoked or expires.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from flowspan_service.api.calls.audit import Audit
from flowspan_service.api.fields.checks import too_large
from flowspan_service.domain.errors import (
    MissingScopeError,
    RateLimitedError,
    UnauthenticatedError,
)
from flowspan_service.domain.tokens import ANYONE, OWNER, Principal, granted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from flowspan_service.api.calls.call import Call
    from flowspan_service.api.calls.method import Method
    from flowspan_service.app.known_tokens import KnownTokens
    from flowspan_service.app.ports import Clock
    from flowspan_service.domain.tokens import AccessToken, Scope

HEADER = "authorization"
_SCHEME = "bearer"
_SOCKET = "unix:"
_CUT_OFF_S = 5.0
"""The time that an ended stream has to send what it is sending."""
_LONGEST_TIMER_S = 3600.0
"""After it, an expiry is looked at again: the wall clock may have been set."""

_ADVICE = (
    "Set FLOWSPAN_TOKEN or FLOWSPAN_TOKEN_FILE, or send the header 'authorization: Bearer TOKEN'. "
    "An administrator of the service creates a token with `flowspan token create`."
)
_END = object()


class Authorization:
    """The authorization of calls.

    Args:
        tokens: The access tokens.
        clock: The time.

    Attributes:
        audit: The audit log.
        is_insecure: True if any client may do anything.
        requires_tokens: True if calls over TCP need a token even if none exists yet.
        is_own_user: Called with the peer of a call over TCP; returns True if it is the user of the
            service. Only asked while no token is needed.
    """

    def __init__(self, tokens: KnownTokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self.audit = Audit(clock.monotonic_us)
        self.is_insecure = False
        self.requires_tokens = False
        self.is_own_user: Callable[[str], bool] = lambda _: True
        self._streams: set[_Stream] = set()
        self._buckets: dict[str, _Bucket] = {}
        tokens.on_change(self._end_revoked)

    @property
    def needs_tokens(self) -> bool:
        """True if calls over TCP need a token."""
        return not self.is_insecure and (self.requires_tokens or self._tokens.are_in_use)

    @property
    def has_tokens(self) -> bool:
        """True if there are access tokens that are not revoked."""
        return self._tokens.are_in_use

    def admit(self, method: Method, call: Call) -> None:
        """Admit a call, and set its principal.

        Raises:
            UnauthenticatedError: It has no valid token, although it needs one.
            MissingScopeError: Its token lacks the scope of the method.
            RateLimitedError: Its token does not allow another call now.
        """
        self.check(method.path, method.scope, call)

    def check(self, path: str, scope: Scope, call: Call) -> None:
        """Admit a call or a page as `admit` does.

        Args:
            path: The path of the method or page.
            scope: The scope that it requires.
            call: The call.
        """
        name = "unknown"
        try:
            call.principal = principal = self._principal(call)
            name = principal.name
            if principal.token is not None:
                self._check_expiry(principal.token)
            if scope not in principal.scopes:
                raise _missing_scope(scope, principal)
            if principal.token is not None and principal.token.max_calls_per_second:
                self._spend(principal.token)
        except (UnauthenticatedError, MissingScopeError, RateLimitedError) as error:
            self.audit.denied(path, call, error, principal=name)
            raise

    def _principal(self, call: Call) -> Principal:
        if self.is_insecure:
            return ANYONE
        if call.peer.startswith(_SOCKET):
            return OWNER
        if self.needs_tokens:
            return self._bearer(call)
        if self.is_own_user(call.peer):
            return OWNER
        raise UnauthenticatedError(
            "This service belongs to another user of its machine.",
            advice=f"To share it, its user creates a token for you. {_ADVICE}",
        )

    def _bearer(self, call: Call) -> Principal:
        """Return the principal of the token of a call."""
        value = call.metadata.get(HEADER, "")
        if not value or not isinstance(value, str):
            raise UnauthenticatedError("This service requires an access token.", advice=_ADVICE)
        scheme, _, secret = value.partition(" ")
        token = self._tokens.find(secret.strip()) if scheme.lower() == _SCHEME else None
        if token is None:
            raise UnauthenticatedError(
                "The access token is not valid: it is unknown or was revoked.",
                advice=f"Check that it is complete and belongs to this service. {_ADVICE}",
            )
        return Principal(f"token:{token.name}", granted(token.scopes), token)

    def _check_expiry(self, token: AccessToken) -> None:
        now_us = self._clock.now_us()
        if token.is_expired(now_us):
            raise _expired(token)
        self._tokens.note_use(token, now_us)

    def _spend(self, token: AccessToken) -> None:
        bucket = self._buckets.get(token.id)
        if bucket is None:
            bucket = self._buckets[token.id] = _Bucket(token.max_calls_per_second)
        wait_s = bucket.take(time.monotonic())
        if wait_s:
            raise RateLimitedError(
                f"The access token {token.name!r} allows {token.max_calls_per_second:g} calls per "
                "second.",
                advice="Call less often, or use a token with a higher limit.",
                retry_after_s=wait_s,
            )

    async def bounded(
        self, frames: AsyncIterator[bytes], token: AccessToken
    ) -> AsyncGenerator[bytes, None]:
        """Yield the frames of a stream, up to one that is larger than its token allows.

        Raises:
            TooLargeError: A frame is too large.
        """
        async for frame in frames:
            check_size("frame", frame, token)
            yield frame

    async def until_ended(
        self, responses: AsyncGenerator[Any, None], token: AccessToken
    ) -> AsyncGenerator[Any, None]:
        """Yield the responses of a stream until its token is revoked or expires.

        Raises:
            UnauthenticatedError: The token was revoked or has expired.
        """
        stream = _Stream(token)
        self._streams.add(stream)
        timer = self._watch_expiry(stream)
        try:
            async with aclosing(responses):
                while True:
                    response = await stream.next_of(responses)
                    if response is _END:
                        return
                    yield response
        finally:
            self._streams.discard(stream)
            stream.close()
            if timer is not None:
                timer.close()

    def _watch_expiry(self, stream: _Stream) -> _Timer | None:
        expires_us = stream.token.expires_us
        if expires_us is None:
            return None

        def look() -> float | None:
            left_s = (expires_us - self._clock.now_us()) / 1e6
            if left_s > 0:
                return left_s
            stream.end(_expired(stream.token))
            return None

        return _Timer(look)

    def _end_revoked(self) -> None:
        for stream in list(self._streams):
            if not self._tokens.holds(stream.token):
                stream.end(
                    UnauthenticatedError(
                        f"The access token {stream.token.name!r} was revoked.", advice=_ADVICE
                    )
                )


def check_size(what: str, data: bytes, token: AccessToken) -> None:
    """Check that a request or frame is not larger than its token allows.

    Raises:
        TooLargeError: It is.
    """
    limit = token.max_request_bytes
    if limit and len(data) > limit:
        raise too_large(what, len(data), limit)


class _Stream:
    """An open stream of a call with a token."""

    def __init__(self, token: AccessToken) -> None:
        self.token = token
        self._task: asyncio.Task[Any] | None = None
        self._is_in_handler = False
        self._error: UnauthenticatedError | None = None
        self._cut_off: asyncio.TimerHandle | None = None

    async def next_of(self, responses: AsyncGenerator[Any, None]) -> Any:
        """Return the next response, or _END.

        Raises:
            UnauthenticatedError: The stream was ended.
        """
        if self._error is not None:
            raise self._error
        task = self._task = asyncio.current_task()
        self._is_in_handler = True
        try:
            return await anext(responses, _END)
        except asyncio.CancelledError:
            if self._error is not None and task is not None and task.uncancel() == 0:
                raise self._error from None
            raise
        finally:
            self._is_in_handler = False

    def end(self, error: UnauthenticatedError) -> None:
        """End the stream: at once if it waits for a response, else after the one being sent."""
        if self._error is not None:
            return
        self._error = error
        if self._is_in_handler:
            self._cancel()
        else:
            loop = asyncio.get_running_loop()
            self._cut_off = loop.call_later(_CUT_OFF_S, self._cancel)

    def close(self) -> None:
        """Forget the stream, which has ended."""
        self._task = None
        if self._cut_off is not None:
            self._cut_off.cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


class _Timer:
    """Calls a function until it returns None, each time after the seconds that it returned."""

    def __init__(self, look: Callable[[], float | None]) -> None:
        self._look = look
        self._handle: asyncio.TimerHandle | None = None
        self._run()

    def _run(self) -> None:
        left_s = self._look()
        if left_s is not None:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(min(left_s + 0.01, _LONGEST_TIMER_S), self._run)

    def close(self) -> None:
        """Call it no more."""
        if self._handle is not None:
            self._handle.cancel()


class _Bucket:
    """A token bucket, which allows bursts of one second's calls."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._size = max(1.0, per_second)
        self._left = self._size
        self._at_s: float | None = None

    def take(self, now_s: float) -> float:
        """Take one call; return 0.0, or the seconds until one is allowed."""
        if self._at_s is not None:
            gained = (now_s - self._at_s) * self._per_second
            self._left = min(self._size, self._left + gained)
        self._at_s = now_s
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._per_second


def _missing_scope(scope: Scope, principal: Principal) -> MissingScopeError:
    name = scope.name.lower()
    owned = "" if principal.token is None else principal.token.name
    return MissingScopeError(
        f"The access token {owned!r} lacks the scope {name!r}, which this call requires.",
        advice=f"Use a token with this scope: `flowspan token create NAME --scope {name}`.",
        scope=name,
    )


def _expired(token: AccessToken) -> UnauthenticatedError:
    return UnauthenticatedError(f"The access token {token.name!r} has expired.", advice=_ADVICE)
