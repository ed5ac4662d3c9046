"""The run context: the text with which a run names itself to the processes that it calls.

It travels in an environment variable, in a header, and as a member of a W3C tracestate.
docs/protocol.md describes the format.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from flowspan.core.limits import MAX_TRACESTATE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = "FLOWSPAN_RUN"
"""The environment variable with the run context, for child processes."""
HEADER = "flowspan-run"
"""The header with the run context, for calls over HTTP and gRPC."""
MEMBER = "flowspan"
"""The key of the run context in a W3C tracestate."""

_DIGITS = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}").fullmatch
_MAX_CHARACTERS = 512
_MAX_MEMBERS = 32
"""The members of a tracestate, by W3C Trace Context."""
_SHOWN = 40


class BadRunContextError(ValueError):
    """The text is not a run context; the message says why."""


class OuterRun(NamedTuple):
    """A run of another process, as its run context names it.

    Attributes:
        run_id: Its id.
        root_run_id: The root of its tree; the same id if it is the root itself.
    """

    run_id: str
    root_run_id: str


called_by: ContextVar[OuterRun | None] = ContextVar("flowspan_called_by", default=None)
"""The run that made the call which the program is serving, from the header of the call."""


def parse_run_context(text: str) -> OuterRun:
    """Return the run that a text such as `r:<32 hex digits>;t:<32 hex digits>` names.

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
            raise BadRunContextError(f"{field[:_SHOWN]!r} has no name and colon")
        if name in fields:
            raise BadRunContextError(f"the field {name[:_SHOWN]!r} occurs twice")
        fields[name] = value
    if "r" not in fields:
        raise BadRunContextError("the field 'r', the id of the run, is missing")
    run_id = _id_of("r", fields["r"])
    return OuterRun(run_id, _id_of("t", fields["t"]) if "t" in fields else run_id)


def format_run_context(run_id: str, root_run_id: str) -> str:
    """Return the run context of a run."""
    text = f"r:{run_id.replace('-', '')}"
    return text if root_run_id == run_id else f"{text};t:{root_run_id.replace('-', '')}"


def with_member(members: Iterable[tuple[str, str]], text: str) -> list[tuple[str, str]]:
    """Return the members of a tracestate with a run context, which replaces an older one.

    The run context comes first, as W3C asks of changed members. If there are too many members, or
    if the tracestate would become too long, the last ones are dropped.

    Args:
        members: The keys and values of the tracestate, in order.
        text: The run context.
    """
    kept = [(MEMBER, text)]
    size = len(MEMBER) + 1 + len(text)
    for key, value in members:
        if key == MEMBER:
            continue
        size += len(key) + len(value) + len(",=")
        if size > MAX_TRACESTATE_BYTES or len(kept) == _MAX_MEMBERS:
            break
        kept.append((key, value))
    return kept


def member_of(tracestate: str) -> str | None:
    """Return the run context in a tracestate; None without one."""
    for member in tracestate.split(","):
        key, equals, value = member.strip().partition("=")
        if equals and key == MEMBER:
            return value
    return None


def _id_of(name: str, digits: str) -> str:
    if not _DIGITS(digits):
        raise BadRunContextError(
            f"the field {name!r} is {digits[:_SHOWN]!r}, not the 32 lower-case hex digits of a "
            "UUIDv7"
        )
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
