"""Hand-written encoder for the fast spans of runs.

Most of a task's span is the same as in the span before it: the code, the parent and the flow, the
state and the thread. Such parts are encoded once and kept. A span then costs a few dictionary
lookups, and one `pack` for the ids, the times and the durations.

The attributes are those of `flowspan.telemetry.attributes`; the unit tests compare the two.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanContext

from flowspan.telemetry import attributes as names
from flowspan.telemetry.fast_span import UNSET
from flowspan.telemetry.otlp import (
    append_lists,
    encode_span,
    field,
    flags_field,
    key_values,
    length_bytes,
    span_attributes,
    status_field,
    text_bytes,
    trace_state_text,
    varint,
)

if TYPE_CHECKING:
    from flowspan.telemetry.fast_span import Extras, FastRunSpan

_ID_CHARACTERS = 36
_SHORT_NAME = 100
_CACHE_SIZE = 1_024
_MAX_OWN_ATTRIBUTES = 24
"""More than flowspan itself sets on a span. Only with more of user code is the limit near."""
_BUILT_IN = frozenset(
    {
        names.RUN_ID,
        names.RUN_KIND,
        names.RUN_NAME,
        names.ROOT_RUN_ID,
        names.TAGS,
        names.FLOW_NAME,
        names.FLOW_RUN_ID,
        names.CODE_FUNCTION,
        names.CODE_FILE,
        names.CODE_LINE,
        names.STATE_TYPE,
        names.STATE_NAME,
        names.ATTEMPTS,
        names.QUEUED,
        names.RUN_TIME,
        names.THREAD_ID,
        names.THREAD_NAME,
    }
)
"""The attributes that are encoded here."""


def _prefix(name: str, value: bytes, size: int) -> bytes:
    """Return the bytes of an attribute before the last `size` bytes of its encoded value."""
    pair = field(b"\x0a", text_bytes(name)) + field(b"\x12", value)
    whole = field(b"\x4a", pair)
    return whole[: len(whole) - size]


def _text_prefix(name: str, size: int) -> bytes:
    return _prefix(name, field(b"\x0a", bytes(size)), size)


_RUN_ID = _text_prefix(names.RUN_ID, _ID_CHARACTERS)
_QUEUED = _prefix(names.QUEUED, b"\x21" + bytes(8), 8)
_RUN_TIME = _prefix(names.RUN_TIME, b"\x21" + bytes(8), 8)
_RUN_NAMES = tuple(_text_prefix(names.RUN_NAME, size) for size in range(_SHORT_NAME))
_FIXED = Struct(f"<2s8sBQBQ{len(_RUN_ID)}s{_ID_CHARACTERS}s{len(_QUEUED)}sd{len(_RUN_TIME)}sd")
_SPAN_ID, _START, _END = b"\x12\x08", 0x39, 0x41
"""The keys of span_id (with its length), start_time_unix_nano and end_time_unix_nano."""

_definitions: dict[Any, bytes] = {}
_families: dict[Any, bytes] = {}
_endings: dict[Any, bytes] = {}
_tags: dict[Any, bytes] = {}


def encode_run_span(span: FastRunSpan) -> bytes:
    """Encode the ended span of a run as the field `spans` of ScopeSpans, with key and length."""
    run, outcome, extras, above = span.run, span.outcome, span.extras, span.above
    run_id, run_name = run.id.encode(), str.encode(run.run_name, "utf-8", "replace")
    if outcome is None or len(run_id) != _ID_CHARACTERS or _is_special(span, extras):
        return encode_span(span)
    state_type, state_name, attempts, ran_ns = outcome
    start_ns = span.start_time
    end_ns = start_ns if span.end_time is None else span.end_time
    queued_ns = end_ns - start_ns - ran_ns
    fixed = _FIXED.pack(
        _SPAN_ID,
        span.span_id.to_bytes(8, "big"),
        _START,
        # The times are unsigned; a clock before 1970 would make them negative.
        start_ns if start_ns > 0 else 0,
        _END,
        end_ns if end_ns > 0 else 0,
        _RUN_ID,
        run_id,
        _QUEUED,
        queued_ns / 1e9 if queued_ns > 0 else 0.0,
        _RUN_TIME,
        ran_ns / 1e9,
    )
    flow_name = None if span.flow is None else span.flow.function_name
    family_key = (
        span.trace_id,
        0 if above is None else above.span_id,
        type(above) is SpanContext and above.is_remote,
        flow_name,
        run.flow_run_id,
        run.root_run_id,
    )
    details, thread = run.details, span.thread
    definition_key = (
        (span.name, run.is_flow)
        if details is None
        # The object itself would keep the retry policy of a local task in memory.
        else (span.name, run.is_flow, details.function, details.file_path, details.line)
    )
    ending_key = state_type, state_name, attempts, thread
    family = _families.get(family_key) or _make_family(family_key, span)
    definition = _definitions.get(definition_key) or _make_definition(definition_key, span)
    ending = _endings.get(ending_key) or _make_ending(ending_key)
    size = len(run_name)
    before_name = _RUN_NAMES[size] if size < _SHORT_NAME else _text_prefix(names.RUN_NAME, size)
    rest = _rest(span) if extras is not None or span.own or run.tags or span.trace_state else b""
    if not size:
        before_name = b""
    status = b"\x7a\x00" if span.status is UNSET else status_field(span.status)
    parts = (fixed, family, definition, ending, before_name, run_name, rest, status)
    return b"".join((b"\x12", length_bytes(sum(map(len, parts))), *parts))


def _is_special(span: FastRunSpan, extras: Extras | None) -> bool:
    """Return True if the attributes depend on limits, on the sampler, or on user code."""
    limits = span.limits
    if limits.max_span_attribute_length is not None:
        return True
    if extras is None:
        return False
    if extras.sampled is not None:
        return True
    users = extras.users
    if users is None:
        return False
    most = limits.max_span_attributes
    if most is not None and len(users) + _MAX_OWN_ATTRIBUTES > most:
        return True
    return any(key in _BUILT_IN or key in (span.own or ()) for key in users)


def _keep(cache: dict[Any, bytes], key: Any, data: bytes) -> bytes:
    if len(cache) >= _CACHE_SIZE:
        cache.clear()
    cache[key] = data
    return data


def _make_family(key: Any, span: FastRunSpan) -> bytes:
    """Encode the parts that runs below one parent share."""
    flow_name = None if span.flow is None else span.flow.function_name
    attributes = {
        names.ROOT_RUN_ID: span.run.root_run_id,
        names.FLOW_NAME: flow_name,
        names.FLOW_RUN_ID: span.run.flow_run_id,
    }
    known = {name: value for name, value in attributes.items() if value is not None}
    above = span.above
    parent = b"" if above is None else b"\x22\x08" + above.span_id.to_bytes(8, "big")
    data = b"".join(
        (
            b"\x0a\x10",
            span.trace_id.to_bytes(16, "big"),
            parent,
            span_attributes(known),
            flags_field(above if type(above) is SpanContext else None),
        )
    )
    return _keep(_families, key, data)


def _make_definition(key: Any, span: FastRunSpan) -> bytes:
    """Encode the parts that runs of one flow or task share."""
    details = span.run.details
    attributes = {
        names.RUN_KIND: "flow" if span.run.is_flow else "task",
        **({} if details is None else names.code_attributes(details)),
    }
    internal = b"\x30\x01"
    data = field(b"\x2a", text_bytes(span.name)) + internal + span_attributes(attributes)
    return _keep(_definitions, key, data)


def _make_ending(key: Any) -> bytes:
    """Encode the parts that runs with one ending in one thread share."""
    state_type, state_name, attempts, thread = key
    attributes = names.end_attributes(state_type, state_name, attempts, 0, 0, thread)
    del attributes[names.QUEUED], attributes[names.RUN_TIME]
    return _keep(_endings, key, span_attributes(attributes))


def _rest(span: FastRunSpan) -> bytes:
    """Encode the parts that few spans have."""
    parts: list[bytes] = []
    tags, extras = span.run.tags, span.extras
    if tags:
        parts.append(_tags.get(tags) or _keep(_tags, tags, key_values(b"\x4a", {names.TAGS: tags})))
    if span.trace_state:
        parts.append(field(b"\x1a", text_bytes(trace_state_text(span.context))))
    if span.own:
        parts.append(key_values(b"\x4a", span.own))
    if extras is not None:
        if extras.users is not None:
            parts.append(span_attributes(extras.users))
            if extras.users.dropped:
                parts += (b"\x50", varint(extras.users.dropped))
        append_lists(parts, span)
    return b"".join(parts)
