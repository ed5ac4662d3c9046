"""The audit log: denied calls, and calls that administer the service or change others' runs.

Its lines go to the logger "flowspan.audit", and so to the log of the service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from flowspan_service.api.calls.call import Call
    from flowspan_service.domain.errors import ServiceError

log = structlog.get_logger("flowspan.audit")

DENIED_EVERY_US = 10_000_000
"""A denial that is repeated has one line in this time, so that a client cannot fill the log."""
_MAX_REMEMBERED = 1000
_TARGETS = ("id", "run_id", "name", "key", "token")
_SHOWN_CHARACTERS = 128


class Audit:
    """Writes the audit log.

    Args:
        now_us: A monotonic clock.
    """

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._denied: dict[tuple[str, str, str, str], tuple[int, int]] = {}
        """The time of the last line about a denial, and the number of repetitions since then."""

    def denied(self, path: str, call: Call, error: ServiceError, *, principal: str) -> None:
        """Log a denied call.

        Args:
            path: The path of the method.
            call: The call.
            error: The error that answers it.
            principal: The author of the call, as far as it is known.
        """
        key = (path, call.host, principal, error.reason)
        now_us = self._now_us()
        said_us, repeated = self._denied.get(key, (None, 0))
        if said_us is not None and now_us - said_us < DENIED_EVERY_US:
            self._denied[key] = said_us, repeated + 1
            return
        if len(self._denied) >= _MAX_REMEMBERED:
            self._denied.clear()
        self._denied[key] = now_us, 0
        log.warning(
            "denied",
            method=path,
            principal=principal,
            peer=unquote(call.peer),
            reason=error.reason,
            error=str(error),
            **({"repeated": repeated} if repeated else {}),
        )

    def administered(self, path: str, call: Call, request: Message, code: str) -> None:
        """Log a call that administers the service or changes others' runs.

        Args:
            path: The path of the method.
            call: The call, with its principal.
            request: The request.
            code: The canonical code of its answer.
        """
        log.info(
            "call",
            method=path,
            principal=call.principal.name,
            peer=unquote(call.peer),
            code=code,
            **_targets(request),
        )


def _targets(request: Message) -> dict[str, str]:
    """Return the fields of a request that name its object."""
    values = {name: getattr(request, name, "") for name in _TARGETS}
    return {
        f"target_{name}": value[:_SHOWN_CHARACTERS]
        for name, value in values.items()
        if isinstance(value, str) and value
    }
