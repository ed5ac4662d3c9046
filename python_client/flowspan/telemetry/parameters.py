"""The parameters of runs as attributes of their spans, if FLOWSPAN_TRACE_PARAMETERS asks for them.

They are read from the JSON that is reported with the run, so users' values are not touched.
"""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

from flowspan.telemetry.attributes import PARAMETER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Collection

    from flowspan.config import Config
    from flowspan.core.events import RunRecord

logger = logging.getLogger("flowspan.telemetry")

MAX_CHARACTERS = 256
REDACTED = "[redacted]"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LEFT_OUT = "…"
"""In place of a parameter in a preview: the number of those that are left out."""


class ShownParameters:
    """The rules by which the parameters of runs become attributes.

    Args:
        names: The parameters to show; None for all.
        redact: A regular expression: parameters, and keys of objects in them, in whose names it is
            found without regard to case, are redacted.
    """

    def __init__(self, names: Collection[str] | None, redact: str) -> None:
        self._names = None if names is None else frozenset(names)
        self._is_secret = re.compile(redact, re.IGNORECASE).search

    def attributes_of(self, record: RunRecord) -> dict[str, str]:
        """Return the attributes for the parameters of a run. Never raises.

        Texts are shown as they are, other values as JSON, both cut at 256 characters.

        Args:
            record: The run. The parameters of a task run are those of its preview.
        """
        if record.parameters is None:
            return {}
        try:
            parameters = json.loads(record.parameters)
            return {
                PARAMETER_PREFIX + name: self._text(name, value)
                for name, value in parameters.items()
                if name != _LEFT_OUT and (self._names is None or name in self._names)
            }
        except Exception:  # the span can do without them
            logger.debug("The parameters of run %s cannot be shown.", record.id, exc_info=True)
            return {}

    def _text(self, name: str, value: Any) -> str:
        shown = self._redacted(name, value)
        text = shown if isinstance(shown, str) else _encode(shown)
        return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"

    def _redacted(self, name: str, value: Any) -> Any:
        if self._is_secret(name):
            return REDACTED
        if isinstance(value, dict):
            return {key: self._redacted(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._redacted("", item) for item in value]
        return value


def shown_parameters(config: Config) -> ShownParameters | None:
    """Return the rules of the settings; None if no parameters are shown.

    Args:
        config: The client's settings.
    """
    wanted = config.trace_parameters
    if not wanted:
        return None
    return ShownParameters(wanted if isinstance(wanted, tuple) else None, config.trace_redact)
