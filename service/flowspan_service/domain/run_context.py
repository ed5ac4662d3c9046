"""The run context: the text that names a run to the processes that it calls.

It travels in an environment variable, in the header `flowspan-run`, and as the member `flowspan` of
a W3C tracestate. docs/protocol.md describes the format.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MEMBER = "flowspan"
"""The key of the run context in a tracestate."""

_DIGITS = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}").fullmatch
_MAX_CHARACTERS = 512


class BadRunContextError(ValueError):
    """The text is not a run context; the message says what is wrong."""


class RunContext(NamedTuple):
    """A run and the root of its tree."""

    run_id: str
    root_run_id: str


def parse_run_context(text: str) -> RunContext:
    """Return the run context in a text such as `r:<32 hex digits>;t:<32 hex digits>`.

    Fields with other names are ignored: a newer client may add some.

    Raises:
        BadRunContextError: The text is not a run context.
    """
    if len(text) > _MAX_CHARACTERS:
        raise BadRunContextError(f"it has more than {_MAX_CHARACTERS} characters")
    fields: dict[str, str] = {}
    for field in text.strip().split(";"):
        name, colon, value = field.partition(":")
        if not (name and colon):
            raise BadRunContextError(f"{field!r} is not a name and a value with a colon between")
        if name in fields:
            raise BadRunContextError(f"the field {name!r} occurs twice")
        fields[name] = value
    if "r" not in fields:
        raise BadRunContextError("the field 'r', the id of the run, is missing")
    run_id = _id_of("r", fields["r"])
    return RunContext(run_id, _id_of("t", fields["t"]) if "t" in fields else run_id)


def format_run_context(context: RunContext) -> str:
    """Return the text of a run context."""
    text = f"r:{context.run_id.replace('-', '')}"
    if context.root_run_id != context.run_id:
        text += f";t:{context.root_run_id.replace('-', '')}"
    return text


def run_context_in_tracestate(tracestate: str) -> str | None:
    """Return the text of the member `flowspan` of a tracestate; None without one."""
    for member in tracestate.split(","):
        key, equals, value = member.strip().partition("=")
        if equals and key == MEMBER:
            return value
    return None


def _id_of(name: str, digits: str) -> str:
    if not _DIGITS(digits):
        raise BadRunContextError(
            f"the field {name!r} is {digits[:40]!r}, not the 32 lower-case hex digits of a UUIDv7"
        )
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
