"""Hand-written encoder from spans to OTLP bytes.

The exporter's thread encodes spans soon after they ended, so that those that wait for a request are
a few hundred bytes instead of a graph of objects. It shares the interpreter lock with the flow. The
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


def varint(value: int) -> bytes:
    """Encode a number that is not negative."""
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


_LENGTHS = tuple(varint(n) for n in range(1_024))
"""Precomputed varints for the common lengths."""


def length_bytes(size: int) -> bytes:
    """Encode the length of a field."""
    return _LENGTHS[size] if size < 1_024 else varint(size)


def field(key: bytes, data: bytes) -> bytes:
    """Encode a length-delimited field."""
    return key + length_bytes(len(data)) + data


def text_bytes(text: str) -> bytes:
    """Encode a text in UTF-8."""
    # Lone surrogates are invalid UTF-8; Protobuf would refuse the whole message for one of them.
    return str.encode(text, "utf-8", "replace")


def _any_value(value: Any) -> bytes:
    """Encode the content of an AnyValue."""
    if isinstance(value, str):
        return field(b"\x0a", text_bytes(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, float):
        return _DOUBLE.pack(0x21, value)
    if isinstance(value, bytes):
        return field(b"\x3a", value)
    if isinstance(value, Mapping):
        return field(b"\x32", key_values(b"\x0a", value))
    if isinstance(value, Sequence):
        return field(b"\x2a", b"".join([field(b"\x0a", _any_value(item)) for item in value]))
    return b""


_key_cache: dict[str, bytes] = {}
_KEY_CACHE_SIZE = 4_096


def _encoded_key(key: str) -> bytes:
    """Encode the field `key` of a KeyValue, and the key of its field `value`; cached."""
    encoded = _key_cache.get(key)
    if encoded is None:
        encoded = field(b"\x0a", text_bytes(key)) + b"\x12"
        if len(_key_cache) < _KEY_CACHE_SIZE:
            _key_cache[key] = encoded
    return encoded


def key_values(field_key: bytes, attributes: Mapping[str, Any]) -> bytes:
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
        pair = encoded_key + length_bytes(len(inner_value)) + inner_value
        parts += (field_key, length_bytes(len(pair)), pair)
    return b"".join(parts)


def span_attributes(attributes: Mapping[str, Any]) -> bytes:
    """Encode the field `attributes` of a Span."""
    if isinstance(attributes, BoundedAttributes):
        attributes = attributes.copy()  # a plain dict is faster to iterate over
    return key_values(b"\x4a", attributes)


def encode_span(span: ReadableSpan | FastSpan) -> bytes:
    """Encode a span as the field `spans` of ScopeSpans, with its key and length."""
    context, parent = span.context, span.parent
    if context is None:
        return b""
    attributes = span.attributes
    name = text_bytes(span.name)
    parts = [
        b"\x0a\x10",
        context.trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        context.span_id.to_bytes(8, "big"),
    ]
    if context.trace_state:
        parts.append(field(b"\x1a", text_bytes(trace_state_text(context))))
    if parent is not None:
        parts += (b"\x22\x08", parent.span_id.to_bytes(8, "big"))
    parts += (
        b"\x2a",
        length_bytes(len(name)),
        name,
        b"\x30",
        _KINDS[span.kind.value],
        # The times are unsigned; a clock before 1970 would make them negative.
        _TIMES.pack(0x39, max(span.start_time or 0, 0), 0x41, max(span.end_time or 0, 0)),
    )
    if attributes:
        parts.append(span_attributes(attributes))
    if span.dropped_attributes:
        parts += (b"\x50", varint(span.dropped_attributes))
    append_lists(parts, span)
    parts.append(status_field(span.status))
    parts.append(flags_field(parent))
    data = b"".join(parts)
    return b"\x12" + length_bytes(len(data)) + data


def append_lists(parts: list[bytes], span: ReadableSpan | FastSpan) -> None:
    """Append the encoded events and links, and the numbers of dropped ones."""
    if span.events:
        parts += [field(b"\x5a", _event(event)) for event in span.events]
    if span.dropped_events:
        parts += (b"\x60", varint(span.dropped_events))
    if span.links:
        parts += [field(b"\x6a", _link(link)) for link in span.links]
    if span.dropped_links:
        parts += (b"\x70", varint(span.dropped_links))


def _event(event: Event) -> bytes:
    parts = [_TIME.pack(0x09, event.timestamp), field(b"\x12", text_bytes(event.name))]
    if event.attributes:
        parts.append(key_values(b"\x1a", event.attributes))
    if event.dropped_attributes:
        parts += (b"\x20", varint(event.dropped_attributes))
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
        parts.append(key_values(b"\x22", link.attributes))
    dropped = link.dropped_attributes
    if dropped:
        parts += (b"\x28", varint(dropped))
    parts.append(_LINK_FLAGS.pack(0x35, _flags(context)))
    return b"".join(parts)


def status_field(status: Status) -> bytes:
    """Encode the field `status` of a Span."""
    data = field(b"\x12", text_bytes(status.description)) if status.description else b""
    if status.status_code.value:
        data += b"\x18" + _LENGTHS[status.status_code.value]
    return b"\x7a" + length_bytes(len(data)) + data


def flags_field(parent: SpanContext | None) -> bytes:
    """Encode the field `flags` of a Span."""
    return _FLAGS.pack(_FLAGS_KEY, _flags(parent))


def _flags(parent: SpanContext | None) -> int:
    if parent is not None and parent.is_remote:
        return _HAS_IS_REMOTE | _IS_REMOTE
    return _HAS_IS_REMOTE


def trace_state_text(context: SpanContext) -> str:
    """Return the tracestate as one text."""
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
    head = field(b"\x0a", key_values(b"\x0a", resource.attributes))
    tail = field(b"\x1a", text_bytes(resource.schema_url)) if resource.schema_url else b""
    if scope is None:
        return head, b"\x0a\x00", tail
    parts = [field(b"\x0a", text_bytes(scope.name))]
    if scope.version:
        parts.append(field(b"\x12", text_bytes(scope.version)))
    if scope.attributes:
        parts.append(key_values(b"\x1a", scope.attributes))
    scope_field = field(b"\x0a", b"".join(parts))
    if scope.schema_url:
        scope_field += field(b"\x1a", text_bytes(scope.schema_url))
    return head, scope_field, tail


def encode_request(
    groups: Iterable[tuple[tuple[bytes, bytes, bytes], Sequence[bytes | bytearray]]],
) -> bytes:
    """Encode an ExportTraceServiceRequest.

    Args:
        groups: Results of `encode_head`, each with the bytes of its spans: results of
            `encode_span`, of which several may be joined.
    """
    parts = []
    for (resource, scope, tail), spans in groups:
        scope_spans = b"".join((scope, *spans))
        data = b"".join((resource, b"\x12", length_bytes(len(scope_spans)), scope_spans, tail))
        parts.append(field(b"\x0a", data))
    return b"".join(parts)
