"""Hand-written encoder from the engine's events to items of flowspan.v1.Batch.

A task emits three events, and the reporter's thread competes with user code for the GIL, so every
microsecond here is taken from the user. Most tasks are short: if all three are in one batch, they
become one item (`Encoder.completed`). The hot shapes are assembled from cached pieces. That takes
a fifth of the time of the generated classes (benchmarks/reporter_cost.py), and a test shows that
the generated classes parse the result identically. Values that the service would refuse as too long
are shortened here, except log messages, which are split into pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from flowspan.core.events import ARTIFACT, ARTIFACT_CHANGE, CREATED, LOG, STATE
from flowspan.core.failures import with_brief_causes
from flowspan.core.limits import (
    MAX_CHAIN,
    MAX_FAILURE_BYTES,
    MAX_FAILURE_TYPE_BYTES,
    MAX_FAILURES,
    MAX_FILE_PATH_BYTES,
    MAX_INPUTS,
    MAX_LOG_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_NAME_BYTES,
    MAX_PARAMETERS_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_PREVIEW_BYTES,
    MAX_RUN_DESCRIPTION_BYTES,
    MAX_STATE_NAME_BYTES,
    MAX_TAGS,
    MAX_TRACE_BYTES,
    MAX_TRACESTATE_BYTES,
)
from flowspan.core.result_options import REFERENCE_ENCODING
from flowspan.reporter.encoding.artifacts import artifact_item, change_item
from flowspan.reporter.encoding.protobuf import (
    TIMESTAMP_BYTES,
    clipped,
    field,
    timestamp,
    utf8,
    varint,
    varint5,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.core.events import Event, FailureInfo, RunRecord
    from flowspan.core.run_details import RunDetails

K = TypeVar("K")
V = TypeVar("V")

_REFERENCE = field(b"\x0a", REFERENCE_ENCODING.encode())
_UUID_CHARACTERS = 36
_NS_PER_S = 1_000_000_000
_PENDING = 2
_LAST_OF_VARINT = 0x7F
_CACHE_SIZE = 1000

MAX_LOG_FIELDS_BYTES = 512
"""Upper bound for the bytes of a frame with one log record besides its message."""

_MIN_PIECE_BYTES = 256


class Encoder:
    """An encoder of events, with caches. Not thread-safe."""

    __slots__ = (
        "_details",
        "_ends",
        "_family",
        "_family_bytes",
        "_first_states",
        "_log_bytes",
        "_loggers",
        "_names",
        "_second",
        "_second_bytes",
        "_shapes",
    )

    def __init__(self) -> None:
        self._shapes: dict[tuple[int, int, str], tuple[bytes, bytes]] = {}
        self._ends: dict[tuple[int, str], bytes] = {}
        self._names: dict[str, bytes] = {}
        self._first_states: dict[str, bytes] = {}
        self._loggers: dict[str, bytes] = {}
        self._log_bytes = MAX_LOG_BYTES
        self._details: dict[RunDetails | None, bytes] = {None: b""}
        self._family: tuple[str | None, str, str | None] | None = None
        self._family_bytes = b""
        self._second: int | None = None
        self._second_bytes = b""

    def encode(self, event: Event) -> list[bytes]:
        """Encode any event; return its items in order. A long log record becomes several."""
        code = event[0]
        if code == STATE:
            return [self.state(event)]
        if code == CREATED:
            return [self.created(event)]
        if code == LOG:
            return list(self.log(event))
        return [self.rare(event)]

    def rare(self, event: Event) -> bytes:
        """Encode an event of a rare kind: an artifact or a change to one.

        Raises:
            ValueError: The event is of an unknown kind.
        """
        code = event[0]
        if code == ARTIFACT:
            return artifact_item(event)
        if code == ARTIFACT_CHANGE:
            return change_item(event)
        msg = f"unknown event: {code!r}"
        raise ValueError(msg)

    def state(self, event: Event) -> bytes:
        """Encode a STATE event."""
        _, run_id, attempt, state_type, name, message, time_ns, detail, scheduled_ns = event
        if message or detail is not None or scheduled_ns is not None:
            return self._full_state(event)
        shape = self._shapes.get((attempt, state_type, name))
        if shape is None:
            shape = self._make_shape(attempt, state_type, name)
        run: bytes = run_id.encode()
        if len(run) != _UUID_CHARACTERS:
            return self._full_state(event)
        before, after = shape
        return before + run + after + self._time(time_ns)

    def created(self, event: Event) -> bytes:
        """Encode a CREATED event."""
        run: RunRecord = event[1]
        state_name, time_ns = event[2], event[3]
        family = (run.parent_run_id, run.root_run_id, run.flow_run_id)
        if family != self._family:
            self._make_family(family)
        body = b"".join(
            (
                field(b"\x0a", run.id.encode()),
                b"\x10\x01" if run.is_flow else b"\x10\x02",
                self._name(b"\x1a", run.function_name or "unnamed"),
                field(b"\x22", clipped(run.run_name, MAX_NAME_BYTES)),
                self._family_bytes,
                self._first_state(state_name),
                self._time(time_ns),
                _rest_of_run(run)
                if run.tags or run.parameters or run.trace_ids or run.version or run.inputs
                else b"",
                self._details.get(run.details) or self._make_details(run.details),
            )
        )
        size = varint(len(body))
        return b"\x12" + varint(len(body) + len(size) + 1) + b"\x0a" + size + body

    def completed(self, created: bytes, running_ns: int, ended: Event) -> bytes:
        """Encode a run that was created, entered RUNNING and ended, in its first attempt.

        Args:
            created: The item of its CREATED event.
            running_ns: The time of its RUNNING event, which has the default name and no message.
            ended: The STATE event of its terminal state.
        """
        _, _, _, state_type, name, message, time_ns, detail, _ = ended
        # In Event and in RunCompleted, the creation is field 1. In StateEntered and in
        # RunCompleted, the state is field 3. So both are copied with their tags.
        start = 1
        while created[start] > _LAST_OF_VARINT:
            start += 1
        running = self._time(running_ns)
        if message or detail is not None:
            state = field(b"\x1a", _state_body(state_type, name, message, time_ns, detail, None))
        else:
            end = self._ends.get((state_type, name)) or self._make_end(state_type, name)
            state = end + self._time(time_ns)
        body_size = len(created) - start - 1 + 2 + TIMESTAMP_BYTES + len(state)
        size = varint(body_size)
        return b"".join(
            (
                b"\x12",
                varint(1 + len(size) + body_size),
                b"\x32",
                size,
                created[start + 1 :],
                b"\x12\x0c",
                running,
                state,
            )
        )

    def limit_logs(self, max_bytes: int) -> None:
        """Set the size of the pieces of log messages, in bytes; at most MAX_LOG_BYTES."""
        self._log_bytes = min(MAX_LOG_BYTES, max(_MIN_PIECE_BYTES, max_bytes))

    def log(self, event: Event) -> Iterator[bytes]:
        """Encode a LOG event: one item, or one for each piece of a long message."""
        _, run_id, attempt, level, time_ns, logger, message, trace_id, span_id = event
        before = b"".join(
            (
                field(b"\x12", run_id.encode()),
                b"\x18" + varint(level) if level > 0 else b"",
                b"\x22\x0c",
                self._time(time_ns),
                self._loggers.get(logger) or self._make_logger(logger),
            )
        )
        after = b"".join(
            (
                b"\x3a" + varint(len(trace_id)) + trace_id.encode() if trace_id else b"",
                b"\x42" + varint(len(span_id)) + span_id.encode() if span_id else b"",
                b"\x58" + varint(attempt),
            )
        )
        if len(message) * 4 <= self._log_bytes:
            yield _log_item(before, utf8(message), after)
            return
        pieces, piece_length = _pieces(message, self._log_bytes)
        count = -(-len(pieces) // piece_length)
        if count == 1:
            yield _log_item(before, pieces.encode(), after)
            return
        for index in range(count):
            piece = pieces[index * piece_length : (index + 1) * piece_length]
            number = b"\x48" + varint(index) + b"\x50" + varint(count)
            yield _log_item(before, piece.encode(), after + number)

    def _time(self, time_ns: int) -> bytes:
        """Encode a timestamp, reusing the bytes of the previous second."""
        second = time_ns // _NS_PER_S
        if second != self._second:
            self._second_bytes = timestamp(time_ns)[:7]
            self._second = second
        return self._second_bytes + varint5(time_ns - second * _NS_PER_S)

    def _make_shape(self, attempt: int, state_type: int, name: str) -> tuple[bytes, bytes]:
        """Encode the parts around the run's id in a state without a message, up to the time."""
        after = b"\x10" + varint(attempt) + self._make_end(state_type, name)
        body_size = 2 + _UUID_CHARACTERS + len(after) + TIMESTAMP_BYTES
        size = varint(body_size)
        before = b"\x12" + varint(1 + len(size) + body_size) + b"\x12" + size + b"\x0a\x24"
        return _remember(self._shapes, (attempt, state_type, name), (before, after))

    def _make_end(self, state_type: int, name: str) -> bytes:
        """Encode the field with a state that has no message, up to the value of its time."""
        state = (
            b"\x08"
            + varint(state_type)
            + field(b"\x12", clipped(name, MAX_STATE_NAME_BYTES))
            + b"\x22"
            + varint(TIMESTAMP_BYTES)
        )
        end = b"\x1a" + varint(len(state) + TIMESTAMP_BYTES) + state
        return _remember(self._ends, (state_type, name), end)

    def _make_family(self, family: tuple[str | None, str, str | None]) -> None:
        """Encode the ids that a run shares with its siblings."""
        parent_run_id, root_run_id, flow_run_id = family
        self._family = family
        self._family_bytes = (
            field(b"\x2a", (parent_run_id or "").encode())
            + field(b"\x32", root_run_id.encode())
            + field(b"\x3a", (flow_run_id or "").encode())
        )

    def _make_details(self, details: RunDetails | None) -> bytes:
        """Encode the facts that the runs of a flow or task share."""
        if details is None:
            return b""
        code = (
            field(b"\x0a", clipped(details.file_path, MAX_FILE_PATH_BYTES))
            + (b"\x10" + varint(details.line) if details.line else b"")
            + field(b"\x1a", clipped(details.function, MAX_NAME_BYTES))
        )
        encoded = (
            field(b"\x6a", clipped(details.description, MAX_RUN_DESCRIPTION_BYTES))
            + b"\x70"
            + varint(details.max_attempts)
            + field(b"\x82\x01", code)
        )
        return _remember(self._details, details, encoded)

    def _full_state(self, event: Event) -> bytes:
        run_id, attempt = event[1:3]
        state = _state_body(*event[3:])
        body = field(b"\x0a", run_id.encode()) + b"\x10" + varint(attempt) + field(b"\x1a", state)
        return field(b"\x12", field(b"\x12", body))

    def _first_state(self, name: str) -> bytes:
        """Encode the state of a new run up to the value of its time."""
        state = self._first_states.get(name)
        if state is None:
            text = field(b"\x12", clipped(name, MAX_STATE_NAME_BYTES))
            size = varint(2 + len(text) + 2 + TIMESTAMP_BYTES)
            state = b"\x42" + size + b"\x08" + varint(_PENDING) + text + b"\x22\x0c"
            _remember(self._first_states, name, state)
        return state

    def _name(self, tag: bytes, name: str) -> bytes:
        return self._names.get(name) or _remember(
            self._names, name, field(tag, clipped(name, MAX_NAME_BYTES))
        )

    def _make_logger(self, logger: str) -> bytes:
        return _remember(self._loggers, logger, field(b"\x2a", clipped(logger, MAX_NAME_BYTES)))


def _remember(cache: dict[K, V], key: K, value: V) -> V:
    if len(cache) >= _CACHE_SIZE:  # generated names must not fill the memory
        cache.clear()
    cache[key] = value
    return value


def _rest_of_run(run: RunRecord) -> bytes:
    """Encode the fields that many runs lack: tags, parameters, trace, version, inputs."""
    parts = [field(b"\x4a", clipped(tag, MAX_NAME_BYTES)) for tag in run.tags if tag][:MAX_TAGS]
    most = MAX_PARAMETERS_BYTES if run.is_flow else MAX_PREVIEW_BYTES
    if run.parameters and len(run.parameters) <= most:
        parts.append(field(b"\x52", b"\x0a\x04json" + field(b"\x12", run.parameters)))
    if run.trace_ids is not None:
        trace = b"\x0a\x3700-%032x-%016x-%02x" % run.trace_ids
        if run.tracestate and len(run.tracestate) <= MAX_TRACESTATE_BYTES:
            trace += field(b"\x12", utf8(run.tracestate))
        if run.parent_span:
            trace += b"\x1a\x10%016x" % run.parent_span
        parts.append(field(b"\x5a", trace))
    if run.version:
        parts.append(field(b"\x62", clipped(run.version, MAX_NAME_BYTES)))
    for each in run.inputs[:MAX_INPUTS]:
        parameter = field(b"\x12", clipped(each.parameter, MAX_NAME_BYTES))
        parts.append(field(b"\x7a", field(b"\x0a", each.run_id.encode()) + parameter))
    return b"".join(parts)


def _state_body(
    state_type: int,
    name: str,
    message: str,
    time_ns: int,
    detail: FailureInfo | bytes | None,
    scheduled_ns: int | None,
) -> bytes:
    return b"".join(
        (
            b"\x08" + varint(state_type),
            field(b"\x12", clipped(name, MAX_STATE_NAME_BYTES)),
            field(b"\x1a", clipped(message or "", MAX_MESSAGE_BYTES)),
            field(b"\x22", timestamp(time_ns)),
            field(b"\x2a", timestamp(scheduled_ns)) if scheduled_ns is not None else b"",
            _detail(detail) if detail is not None else b"",
        )
    )


def _detail(detail: FailureInfo | bytes) -> bytes:
    """Encode the field with details of a state: a failure, or a reference to the result."""
    if isinstance(detail, bytes):
        if len(detail) > MAX_PAYLOAD_BYTES:
            return b""
        return field(b"\x3a", _REFERENCE + field(b"\x12", detail))
    failure = _failure(detail, iter(range(MAX_FAILURES)))
    if len(failure) > MAX_FAILURE_BYTES:
        failure = _failure(with_brief_causes(detail), iter(range(MAX_FAILURES)))
    return field(b"\x32", failure)


def _failure(failure: FailureInfo, tickets: Iterator[int], depth: int = 1) -> bytes:
    """Encode a failure with its causes; return nothing if it is too deep or one too many.

    Args:
        failure: The failure.
        tickets: One for each failure that may still be encoded.
        depth: The depth of the failure, 1 for the outermost one.
    """
    if depth > MAX_CHAIN or next(tickets, None) is None:
        return b""
    stack = utf8(failure.stack_trace)
    if len(stack) > MAX_TRACE_BYTES:
        stack = _without_middle(stack)
    parts = [
        field(b"\x0a", clipped(failure.type or "Error", MAX_FAILURE_TYPE_BYTES)),
        field(b"\x12", clipped(failure.message, MAX_MESSAGE_BYTES)),
        field(b"\x1a", stack),
    ]
    if failure.cause is not None:
        parts.append(field(b"\x22", _failure(failure.cause, tickets, depth + 1)))
    others = (_failure(each, tickets, depth + 1) for each in failure.other_causes)
    parts += [field(b"\x2a", other) for other in others]
    return b"".join(parts)


def _without_middle(stack: bytes) -> bytes:
    half = MAX_TRACE_BYTES // 2 - 16
    head = stack[:half].decode(errors="ignore").encode()
    tail = stack[-half:].decode(errors="ignore").encode()
    return head + "\n[…]\n".encode() + tail


def _pieces(message: str, max_bytes: int) -> tuple[str, int]:
    """Return the message as `utf8` encodes it, and the number of characters that fit in a piece."""
    is_clean = "\0" not in message and _is_encodable(message)  # most messages are, and need no copy
    if not is_clean:
        message = utf8(message).decode()
    return message, max_bytes if message.isascii() else max_bytes // 4


def _is_encodable(message: str) -> bool:
    """Return True if the text has no lone surrogate; checks it in pieces, as it may be large."""
    if message.isascii():
        return True
    try:
        for start in range(0, len(message), MAX_LOG_BYTES):
            message[start : start + MAX_LOG_BYTES].encode()
    except UnicodeEncodeError:
        return False
    return True


def _log_item(before: bytes, message: bytes, after: bytes) -> bytes:
    body_size = len(before) + len(message) + len(after) + 1
    message_size = varint(len(message))
    body_size += len(message_size)
    size = varint(body_size)
    return b"".join(
        (
            b"\x12",
            varint(1 + len(size) + body_size),
            b"\x1a",
            size,
            before,
            b"\x32",
            message_size,
            message,
            after,
        )
    )


def batch_bytes(first_sequence: int, items: list[bytes]) -> bytes:
    """Encode a flowspan.v1.Batch."""
    return b"\x08" + varint(first_sequence) + b"".join(items)


def items_of(first_sequence: int, batch: bytes) -> bytes:
    """Return the events of a batch created by `batch_bytes`, for use in a larger batch."""
    return batch[1 + len(varint(first_sequence)) :]


def batch_frame(batch: bytes) -> bytes:
    """Encode a flowspan.v1.ReportRequest with a batch."""
    return b"\x12" + varint(len(batch)) + batch


HEARTBEAT_FRAME = b"\x1a\x00"
"""A flowspan.v1.ReportRequest with a Heartbeat."""

GOODBYE_FRAME = b"\x22\x00"
"""A flowspan.v1.ReportRequest with a Goodbye."""
