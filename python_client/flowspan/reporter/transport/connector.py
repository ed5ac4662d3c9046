"""Background connection attempts, with retries and backoff.

Finding the service may involve starting it, and connecting may take seconds. Each attempt therefore
runs in its own short-lived thread and does not block the reporter's thread.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.connection.address import explain
from flowspan.connection.client_identity import client_info
from flowspan.connection.resolve import find_address, resolve_address
from flowspan.exceptions import ConfigError, FlowspanError, ServiceUnavailableError
from flowspan.own_threads import own_thread
from flowspan.reporter.transport.session import open_session
from flowspan.reporter.transport.stream import CLOSED, LinkClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.connection.access import Access
    from flowspan.connection.address import Address
    from flowspan.reporter.transport.protocol import ReportTransport
    from flowspan.reporter.transport.session import WelcomeInfo

_FIRST_DELAY_S = 0.02
_EAGER_FOR_S = 30.0
_EAGER_DELAY_S = 0.25
_PATIENT_DELAY_S = 3.0
_HOPELESS_DELAY_S = 10.0
ACCESS_REASONS = frozenset({"UNAUTHENTICATED", "MISSING_SCOPE"})
"""The reasons of a refusal that concern the access token, and not the session."""
_LOOK_S = 0.5
"""Time between two looks for another access token, after one was refused."""
_LONGEST_RETRY_AFTER_S = 10.0
"""Upper bound for the delay that a service may ask for."""


class SessionRefusedError(FlowspanError):
    """The service has a different secret for the session; the message names the service."""

    code = "session_refused"


@dataclass(frozen=True, slots=True)
class Connected:
    """An open session and the link that carries it."""

    link: ReportTransport
    welcome: WelcomeInfo


@dataclass(frozen=True, slots=True)
class _RefusedAccess:
    """An access token that was refused, or could not be read."""

    access: Access
    authorization: str

    @property
    def is_replaced(self) -> bool:
        """True if its file has another token now."""
        if self.access.token_file is None:
            return False
        return _authorization(self.access) not in {"", self.authorization}


class Connector:
    """Background connection attempts, one at a time.

    Args:
        config: The settings, with the address of the service.
        session_id: The session to open or resume.
        wake: Called from the attempt's thread when the attempt has ended.
        secret: The secret of the session.
        acked_sequence: Returns the last event of the session whose ack was received. Called in the
            attempt's thread, while there is no connection that could change it.
    """

    def __init__(
        self,
        config: Config,
        session_id: str,
        wake: Callable[[], None],
        *,
        secret: bytes = b"",
        acked_sequence: Callable[[], int] = lambda: 0,
    ) -> None:
        self._config = config
        self._session_id = session_id
        self._secret = secret
        self._acked_sequence = acked_sequence
        self._retry_after_s = 0.0
        self._wake = wake
        self._result: Connected | FlowspanError | None = None
        self._is_trying = False
        self._lost_at = clock.monotonic()
        self._attempts = 0
        self._next_at = self._not_before = self._lost_at
        self._abandoned = False
        self._refused: _RefusedAccess | None = None
        """The reason of the last failure, if it was the access token."""
        self._look_at = 0.0

    def lost(self, *, was_of_use: bool) -> None:
        """Record that the connection broke, and schedule the next attempt.

        Args:
            was_of_use: True if something was acknowledged over the connection. The next attempt may
                then start at once; otherwise the connection counts as a failed attempt.
        """
        self._refused = None
        if was_of_use:
            self._lost_at = self._next_at = clock.monotonic()
            self._attempts = 0
        else:
            self._delay(patiently=False)

    def be_patient(self) -> None:
        """Delay the next attempt: it would fail for the same reason as the last connection."""
        self._delay(patiently=True)

    def wait(self, retry_after_s: float) -> None:
        """Delay the next attempt by the time that the service asked for, up to a bound."""
        if retry_after_s > 0:
            # Jitter upward only: an attempt before that time would be refused.
            delay = min(retry_after_s, _LONGEST_RETRY_AFTER_S) * random.uniform(1.0, 1.3)  # noqa: S311 - no secret
            self._not_before = clock.monotonic() + delay
            self._next_at = max(self._next_at, self._not_before)

    def hurry(self) -> None:
        """Make the next attempt due now, or when the service asked for it. Thread-safe."""
        self._next_at = min(self._next_at, max(clock.monotonic(), self._not_before))

    @property
    def next_at(self) -> float | None:
        """Monotonic time of the next call of `advance`; None while an attempt is in progress."""
        if self._is_trying:
            return None
        return self._next_at if self._refused is None else min(self._next_at, self._look_at)

    @property
    def has_another_token(self) -> bool:
        """True if the access token of the last attempt was refused, and has been replaced since.

        The next attempt is then due within half a second. Thread-safe.
        """
        refused = self._refused
        return refused is not None and refused.is_replaced

    def advance(self, *, may_start: bool) -> Connected | FlowspanError | None:
        """Start an attempt if one is due, and return the result of an attempt that has ended.

        Args:
            may_start: True if the attempt may start the local service.

        Returns:
            None if there is no result yet. An error says why the attempt failed: a ConfigError or
            LocalServiceError, or a ServiceUnavailableError with a message for users.
        """
        result = self._result
        if result is not None:
            self._result = None
            self._is_trying = False
            if not isinstance(result, Connected):
                self._delay(patiently=not result.retryable)
                self.wait(self._retry_after_s)
            return result
        if self._refused is not None and not self._is_trying:
            self._look_for_another_token()
        if not self._is_trying and clock.monotonic() >= self._next_at:
            self._is_trying = True
            thread = own_thread("flowspan-connect", self._try, may_start)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down
                self._is_trying = False
                self._delay(patiently=True)
        return None

    def abandon(self) -> None:
        """Discard the current attempt: if it succeeds, its connection is closed."""
        self._abandoned = True
        result, self._result = self._result, None
        if isinstance(result, Connected):
            result.link.close()

    def _look_for_another_token(self) -> None:
        now = clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            if self.has_another_token:
                self.hurry()

    def _delay(self, *, patiently: bool) -> None:
        now = clock.monotonic()
        longest = _EAGER_DELAY_S if now - self._lost_at < _EAGER_FOR_S else _PATIENT_DELAY_S
        delay = min(_FIRST_DELAY_S * 2 ** min(self._attempts, 10), longest)
        if patiently:
            delay = _HOPELESS_DELAY_S
        self._attempts += 1
        # Jitter keeps clients that lost their service together from reconnecting together.
        self._next_at = now + delay * random.uniform(0.7, 1.3)  # noqa: S311 - no secret

    def _try(self, may_start: bool) -> None:  # noqa: FBT001 - a thread's argument
        result: Connected | FlowspanError
        try:
            result = self._connect(may_start=may_start)
        except FlowspanError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - the reporter must see any error
            result = ServiceUnavailableError(f"connecting failed: {error!r}")
        self._result = result
        if self._abandoned:
            self.abandon()
        self._wake()

    def _connect(self, *, may_start: bool) -> Connected:
        self._retry_after_s = 0.0
        address = resolve_address(self._config) if may_start else find_address(self._config)
        if address is None:
            raise ServiceUnavailableError("the local service is not running")
        # Read before the attempt: a token that is replaced in the middle of it is found afterwards.
        used = _RefusedAccess(address.access, _authorization(address.access))
        try:
            return Connected(
                *open_session(
                    address,
                    self._session_id,
                    client_info(),
                    secret=self._secret,
                    acked_sequence=self._acked_sequence(),
                )
            )
        except LinkClosedError as error:
            self._retry_after_s = error.retry_after_s
            self._refused = used if error.reason in ACCESS_REASONS else None
            raise explain_refusal(address, error) from error
        except ConfigError:
            self._refused = used  # if its file cannot be read, it may be readable soon
            raise
        except OSError as error:
            self._refused = None
            raise ServiceUnavailableError(explain(address, error)) from error


def _authorization(access: Access) -> str:
    """Return the header with the access token; empty without a readable token."""
    try:
        return access.authorization()
    except ConfigError:
        return ""


def explain_refusal(address: Address, error: LinkClosedError) -> FlowspanError:
    """Return the error to raise when the peer at the address refused the session."""
    advice = "Is FLOWSPAN_ADDRESS right?"
    if error.status == "NOT_GRPC":
        return ConfigError(
            f"the server at {address} is not a flowspan service: {error.message}. {advice}"
        )
    if error.status == "UNIMPLEMENTED":
        return ConfigError(
            f"the server at {address} speaks gRPC, but is not a flowspan service or has an "
            f"incompatible version: it does not know flowspan.v1.ReportService. {advice}"
        )
    said = str(error).rstrip(".")
    if error.reason in ACCESS_REASONS:
        return ConfigError(
            f"the service at {address} refused this program: {said}. Set FLOWSPAN_TOKEN or "
            "FLOWSPAN_TOKEN_FILE to an access token with the scope report."
        )
    if error.status == "PERMISSION_DENIED":
        return SessionRefusedError(f"the service at {address} refused the session: {said}.")
    hint = ""
    if error.message == CLOSED and address.access.uses_tls:
        hint = (
            " If it requires a certificate of this client, set FLOWSPAN_TLS_CLIENT_CERT and "
            "FLOWSPAN_TLS_CLIENT_KEY."
        )
    elif error.message == CLOSED and not address.path:
        hint = " If it serves TLS, set FLOWSPAN_TLS=true."
    return ServiceUnavailableError(f"the service at {address} refused the session: {said}.{hint}")
