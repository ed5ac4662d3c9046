"""Hand-written encoder from spans to OTLP bytes.

An ended span is encoded at once, in the thread that ended it. The export queue then holds a few
hundred bytes for each span instead of a graph of objects, and an export only joins bytes. The
encoder of `opentelemetry-exporter-otlp-proto-common` takes about eight times as long, which would
be most of the cost of tracing a short task (docs/tracing.md has the figures). The unit tests
compare every kind of value with that encoder's output.

The schema: https://github.com/open-telemetry/opentelemetry-proto, trace/v1/trace.proto and
common/v1/common.proto; the wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes

from flowspan.telemetry.attributes import RUN_ID

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanContext
    from opentelemetry.trace.status import Status

    from flowspan.telemetry.fast_span import FastSpan

# One-byte keys of the fields (number << 3 | wire type) of Span; those above 15 take two bytes.
_TIMES = Struct("<BQBQ")  # start_time_unix_nano = 7, end_time_unix_nano = 8: fixed64
_TIME = Struct("<BQ")
_DOUBLE = Struct("<Bd")
_FLAGS = Struct("<HI")  # flags = 16: fixed32
_FLAGS_KEY = 0x85 | 0x01 << 8
_LINK_FLAGS = Struct("<BI")  # Link.flags = 6: fixed32

_HAS_IS_REMOTE = 0x100
_IS_REMOTE = 0x200


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


_LENGTHS = tuple(_varint(n) for n in range(1_024))
"""Precomputed varints for the common lengths."""


def _length(size: int) -> bytes:
    return _LENGTHS[size] if size < 1_024 else _varint(size)


def _field(key: bytes, data: bytes) -> bytes:
    """Encode a length-delimited field."""
    return key + _length(len(data)) + data


def _text(text: str) -> bytes:
    # Lone surrogates are invalid UTF-8; Protobuf would refuse the whole message for one of them.
    return text.encode("utf-8", "replace")


def _any_value(value: Any) -> bytes:
    """Encode the content of an AnyValue."""
    if isinstance(value, str):
        return _field(b"\x0a", _text(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, float):
        return _DOUBLE.pack(0x21, value)
    if isinstance(value, bytes):
        return _field(b"\x3a", value)
    if isinstance(value, Mapping):
        return _field(b"\x32", _key_values(b"\x0a", value))
    if isinstance(value, Sequence):
        return _field(b"\x2a", b"".join([_field(b"\x0a", _any_value(item)) for item in value]))
    return b""


_key_cache: dict[str, bytes] = {}
_KEY_CACHE_SIZE = 4_096


def _encoded_key(key: str) -> bytes:
    """Encode the field `key` of a KeyValue, and the key of its field `value`; cached."""
    encoded = _key_cache.get(key)
    if encoded is None:
        encoded = _field(b"\x0a", _text(key)) + b"\x12"
        if len(_key_cache) < _KEY_CACHE_SIZE:
            _key_cache[key] = encoded
    return encoded


def _key_values(field_key: bytes, attributes: Mapping[str, Any]) -> bytes:
    """Encode attributes as a repeated KeyValue."""
    parts: list[bytes] = []
    lengths, keys = _LENGTHS, _key_cache
    for key, value in attributes.items():
        encoded_key = keys.get(key) or _encoded_key(key)
        if type(value) is str:
            data = value.encode("utf-8", "replace")
            size = len(data)
            if len(encoded_key) + size < 1_000:
                size_bytes = lengths[size]
                inner = lengths[1 + len(size_bytes) + size]
                parts += (
                    field_key,
                    lengths[len(encoded_key) + len(inner) + 1 + len(size_bytes) + size],
                    encoded_key,
                    inner,
                    b"\x0a",
                    size_bytes,
                    data,
                )
                continue
        inner_value = _any_value(value)
        pair = encoded_key + _length(len(inner_value)) + inner_value
        parts += (field_key, _length(len(pair)), pair)
    return b"".join(parts)


_REPEATED = frozenset(
    {
        "code.function.name",
        "code.file.path",
        "code.line.number",
        "flowspan.run.kind",
        "flowspan.state.type",
        "flowspan.state.name",
        "flowspan.attempts",
    }
)
"""Attributes with few distinct values, each of one type; their encodings are cached."""

_pair_cache: dict[tuple[str, Any], bytes] = {}
_PAIR_CACHE_SIZE = 4_096


def _span_attributes(attributes: Mapping[str, Any]) -> bytes:
    """Encode the field `attributes` of a Span."""
    if type(attributes) is not dict and isinstance(attributes, BoundedAttributes):
        attributes = attributes.copy()  # a plain dict is faster to iterate over
    if RUN_ID not in attributes:
        return _key_values(b"\x4a", attributes)
    parts = []
    rest = {}
    for key, value in attributes.items():
        if key in _REPEATED:
            encoded = _pair_cache.get((key, value))
            if encoded is None:
                encoded = _key_values(b"\x4a", {key: value})
                if len(_pair_cache) < _PAIR_CACHE_SIZE:
                    _pair_cache[key, value] = encoded
            parts.append(encoded)
        else:
            rest[key] = value
    parts.append(_key_values(b"\x4a", rest))
    return b"".join(parts)


def encode_span(span: ReadableSpan | FastSpan) -> bytes:
    """Encode a span as the field `spans` of ScopeSpans, with its key and length."""
    context, parent = span.context, span.parent
    if context is None:
        return b""
    attributes = span.attributes
    name = _text(span.name)
    parts = [
        b"\x0a\x10",
        context.trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        context.span_id.to_bytes(8, "big"),
    ]
    if context.trace_state:
        parts.append(_field(b"\x1a", _text(_trace_state(context))))
    if parent is not None:
        parts += (b"\x22\x08", parent.span_id.to_bytes(8, "big"))
    parts += (
        b"\x2a",
        _length(len(name)),
        name,
        b"\x30",
        _KINDS[span.kind.value],
        # The times are unsigned; a clock before 1970 would make them negative.
        _TIMES.pack(0x39, max(span.start_time or 0, 0), 0x41, max(span.end_time or 0, 0)),
    )
    if attributes:
        parts.append(_span_attributes(attributes))
    _append_lists(parts, span)
    parts.append(_status(span.status))
    parts.append(_FLAGS.pack(_FLAGS_KEY, _span_flags(parent)))
    data = b"".join(parts)
    return b"\x12" + _length(len(data)) + data


def _append_lists(parts: list[bytes], span: ReadableSpan | FastSpan) -> None:
    """Append the encoded events and links, and the numbers of dropped items."""
    if span.dropped_attributes:
        parts += (b"\x50", _varint(span.dropped_attributes))
    if span.events:
        parts += [_field(b"\x5a", _event(event)) for event in span.events]
    if span.dropped_events:
        parts += (b"\x60", _varint(span.dropped_events))
    if span.links:
        parts += [_field(b"\x6a", _link(link)) for link in span.links]
    if span.dropped_links:
        parts += (b"\x70", _varint(span.dropped_links))


def _event(event: Event) -> bytes:
    parts = [_TIME.pack(0x09, event.timestamp), _field(b"\x12", _text(event.name))]
    if event.attributes:
        parts.append(_key_values(b"\x1a", event.attributes))
    if event.dropped_attributes:
        parts += (b"\x20", _varint(event.dropped_attributes))
    return b"".join(parts)


def _link(link: Link) -> bytes:
    context = link.context
    parts = [
        b"\x0a\x10",
        context.trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        context.span_id.to_bytes(8, "big"),
    ]
    if link.attributes:
        parts.append(_key_values(b"\x22", link.attributes))
    dropped = link.dropped_attributes
    if dropped:
        parts += (b"\x28", _varint(dropped))
    parts.append(_LINK_FLAGS.pack(0x35, _span_flags(context)))
    return b"".join(parts)


def _status(status: Status) -> bytes:
    data = _field(b"\x12", _text(status.description)) if status.description else b""
    if status.status_code.value:
        data += b"\x18" + _LENGTHS[status.status_code.value]
    return b"\x7a" + _length(len(data)) + data


def _span_flags(parent: SpanContext | None) -> int:
    if parent is not None and parent.is_remote:
        return _HAS_IS_REMOTE | _IS_REMOTE
    return _HAS_IS_REMOTE


def _trace_state(context: SpanContext) -> str:
    return ",".join(f"{key}={value}" for key, value in context.trace_state.items())


# SpanKind counts from INTERNAL = 0 in the SDK and from UNSPECIFIED = 0 in OTLP.
_KINDS = tuple(bytes((number + 1,)) for number in range(5))


def encode_head(
    resource: Resource, scope: InstrumentationScope | None
) -> tuple[bytes, bytes, bytes]:
    """Encode the parts around the spans of one resource and one scope, for reuse.

    Returns:
        The resource as a field of ResourceSpans, the scope as a field of ScopeSpans, and the field
        schema_url of ResourceSpans.
    """
    head = _field(b"\x0a", _key_values(b"\x0a", resource.attributes))
    tail = _field(b"\x1a", _text(resource.schema_url)) if resource.schema_url else b""
    if scope is None:
        return head, b"\x0a\x00", tail
    parts = [_field(b"\x0a", _text(scope.name))]
    if scope.version:
        parts.append(_field(b"\x12", _text(scope.version)))
    if scope.attributes:
        parts.append(_key_values(b"\x1a", scope.attributes))
    scope_field = _field(b"\x0a", b"".join(parts))
    if scope.schema_url:
        scope_field += _field(b"\x1a", _text(scope.schema_url))
    return head, scope_field, tail


def encode_request(groups: Iterable[tuple[tuple[bytes, bytes, bytes], Sequence[bytes]]]) -> bytes:
    """Encode an ExportTraceServiceRequest.

    Args:
        groups: Results of `encode_head`, each with its spans as encoded by `encode_span`.
    """
    parts = []
    for (resource, scope, tail), spans in groups:
        scope_spans = b"".join((scope, *spans))
        data = b"".join((resource, b"\x12", _length(len(scope_spans)), scope_spans, tail))
        parts.append(_field(b"\x0a", data))
    return b"".join(parts)
