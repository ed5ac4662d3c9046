"""Getting connected, again and again, without making the reporter's thread wait.

Finding the service may mean starting it, and connecting may take seconds; each attempt runs in a
short-lived thread of its own.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.connection.address import explain
from flowspan.connection.client_identity import client_info
from flowspan.connection.resolve import find_address, resolve_address
from flowspan.exceptions import ConfigError, FlowspanError, ServiceUnavailableError
from flowspan.reporter.transport.session import open_session
from flowspan.reporter.transport.stream import LinkClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.connection.address import Address
    from flowspan.reporter.transport.session import WelcomeInfo
    from flowspan.reporter.transport.stream import Link

_FIRST_DELAY_S = 0.02
_EAGER_FOR_S = 30.0
_EAGER_DELAY_S = 0.25
_PATIENT_DELAY_S = 3.0
_HOPELESS_DELAY_S = 10.0


class SessionRefusedError(FlowspanError):
    """The service has another secret for the session; the message says which service."""

    code = "session_refused"


@dataclass(frozen=True, slots=True)
class Connected:
    """A session on a link."""

    link: Link
    welcome: WelcomeInfo


class Connector:
    """Makes attempts to connect, one at a time.

    Args:
        config: Says where to.
        session_id: The session to open or to resume.
        wake: Called from the attempt's thread when it ended.
        secret: The secret of the session.
    """

    def __init__(
        self, config: Config, session_id: str, wake: Callable[[], None], *, secret: bytes = b""
    ) -> None:
        self._config = config
        self._session_id = session_id
        self._secret = secret
        self._wake = wake
        self._result: Connected | FlowspanError | None = None
        self._is_trying = False
        self._lost_at = clock.monotonic()
        self._attempts = 0
        self._next_at = self._lost_at
        self._abandoned = False

    def lost(self, *, was_of_use: bool) -> None:
        """The connection broke.

        Args:
            was_of_use: Whether something was acked over it. Then the next attempt may begin at
                once; else it was no better than an attempt that failed.
        """
        if was_of_use:
            self._lost_at = self._next_at = clock.monotonic()
            self._attempts = 0
        else:
            self._delay(patiently=False)

    def be_patient(self) -> None:
        """The next attempt may wait: what the last connection broke over will come again."""
        self._delay(patiently=True)

    def hurry(self) -> None:
        """Makes the next attempt due. May be called from any thread."""
        self._next_at = min(self._next_at, clock.monotonic())

    @property
    def next_at(self) -> float | None:
        """When the next attempt is due, by the monotonic clock; None while one is under way."""
        return None if self._is_trying else self._next_at

    def advance(self, *, may_start: bool) -> Connected | FlowspanError | None:
        """Starts an attempt if one is due, and returns the result of one that ended.

        Args:
            may_start: Whether the local service may be started for it.

        Returns:
            None while there is nothing new. An error is the attempt's: a ConfigError or
            LocalServiceError, or a ServiceUnavailableError whose text is for users.
        """
        result = self._result
        if result is not None:
            self._result = None
            self._is_trying = False
            if not isinstance(result, Connected):
                self._delay(patiently=not result.retryable)
            return result
        if not self._is_trying and clock.monotonic() >= self._next_at:
            self._is_trying = True
            thread = threading.Thread(
                target=self._try, args=(may_start,), name="flowspan-connect", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down
                self._is_trying = False
                self._delay(patiently=True)
        return None

    def abandon(self) -> None:
        """Nobody waits for an attempt any more: one that succeeds is closed."""
        self._abandoned = True
        result, self._result = self._result, None
        if isinstance(result, Connected):
            result.link.close()

    def _delay(self, *, patiently: bool) -> None:
        now = clock.monotonic()
        longest = _EAGER_DELAY_S if now - self._lost_at < _EAGER_FOR_S else _PATIENT_DELAY_S
        delay = min(_FIRST_DELAY_S * 2 ** min(self._attempts, 10), longest)
        if patiently:
            delay = _HOPELESS_DELAY_S
        self._attempts += 1
        # With jitter: clients that lost their service together do not come back together.
        self._next_at = now + delay * random.uniform(0.7, 1.3)  # noqa: S311 - no secret

    def _try(self, may_start: bool) -> None:  # noqa: FBT001 - a thread's argument
        result: Connected | FlowspanError
        try:
            result = self._connect(may_start=may_start)
        except FlowspanError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the reporter must learn of it
            result = ServiceUnavailableError(f"connecting failed: {error!r}")
        self._result = result
        if self._abandoned:
            self.abandon()
        self._wake()

    def _connect(self, *, may_start: bool) -> Connected:
        address = resolve_address(self._config) if may_start else find_address(self._config)
        if address is None:
            raise ServiceUnavailableError("the local service is not running")
        try:
            return Connected(
                *open_session(address, self._session_id, client_info(), secret=self._secret)
            )
        except LinkClosedError as error:
            raise explain_refusal(address, error) from error
        except OSError as error:
            raise ServiceUnavailableError(explain(address, error)) from error


def explain_refusal(address: Address, error: LinkClosedError) -> FlowspanError:
    """Says what it means that something at the address did not welcome the session."""
    advice = "Is FLOWSPAN_ADDRESS right?"
    if error.status == "NOT_GRPC":
        return ConfigError(
            f"what listens at {address} is not a flowspan service: {error.message}. {advice}"
        )
    if error.status == "UNIMPLEMENTED":
        return ConfigError(
            f"what listens at {address} is a gRPC server, but not a flowspan service, or one of "
            f"another age: it does not know flowspan.v1.ReportService. {advice}"
        )
    if error.status == "PERMISSION_DENIED":
        return SessionRefusedError(f"the service at {address} did not take the session: {error}.")
    return ServiceUnavailableError(f"the service at {address} did not take the session: {error}.")
