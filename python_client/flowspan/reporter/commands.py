"""Decoding of the service's commands: from their Protobuf messages to `Command`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flowspan.core.commands import CANCEL, Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.v1 import report_pb2

_logger = logging.getLogger("flowspan.reporter")


def _no_command(_: object) -> None:
    return None


DECODERS: dict[str, Callable[[Any], Command | None]] = {
    "cancel_run": lambda message: Command(CANCEL, message.run_id, message.reason),
    # Drain needs no action: the service ends the stream, and the session is resumed.
    "drain": _no_command,
}
"""The decoder of each field of the oneof `command`, called with the field's value; returns None if
no run has to act."""


def decode(message: report_pb2.Command) -> Command | None:
    """Return the command of a message; None if it concerns no run, or if its kind is unknown."""
    kind = message.WhichOneof("command")
    decoder = DECODERS.get(kind) if kind is not None else None
    if kind is None or decoder is None:
        _logger.debug(
            "Ignored command %s of an unknown kind (%s): the service is newer than this client.",
            *(message.id, kind or "an unknown field"),
        )
        return None
    return decoder(getattr(message, kind))
