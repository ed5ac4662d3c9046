"""The attributes of a client's OpenTelemetry resource.

In Hello they are texts. OpenTelemetry's conventions say which of them are numbers or lists: a
process must have the same resource in its own spans and in those that the service exports.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

ResourceValue: TypeAlias = "str | int | list[str]"

_SDK = "telemetry.sdk."
_MAX_DIGITS = 18
"""An integer of so many digits fits into the 64 bits that OTLP has for it."""
_INTEGERS = frozenset(
    {
        "faas.max_memory",
        "process.group_leader.pid",
        "process.parent_pid",
        "process.pid",
        "process.session_leader.pid",
        "process.vpid",
    }
)
_LISTS = frozenset(
    {
        "container.command_args",
        "container.image.repo_digests",
        "container.image.tags",
        "host.ip",
        "host.mac",
        "process.command_args",
    }
)
"""Lists of texts, which clients send as JSON."""


def resource_attributes(sent: Mapping[str, str]) -> dict[str, ResourceValue]:
    """Return a client's attributes, with the types of OpenTelemetry's conventions.

    Those of its SDK are left out, as it has not made what the service exports. A text that is not
    of its type stays a text.

    Args:
        sent: The attributes as in Hello.
    """
    return {key: _typed(key, value) for key, value in sent.items() if not key.startswith(_SDK)}


def _typed(key: str, text: str) -> ResourceValue:
    if key in _INTEGERS and text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS:
        return int(text)
    if key in _LISTS:
        return _texts(text) or text
    return text


def _texts(text: str) -> list[str] | None:
    """Return a JSON list of texts; None if the text is something else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return value if is_list else None
