"""Structural limits of messages, counted on their bytes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from google.protobuf.message import DecodeError
from tests.support.report_client import created, entered, new_id, whole_run

from flowspan.v1 import failure_pb2, flow_run_service_pb2, report_pb2, report_service_pb2
from flowspan_service.api import limits
from flowspan_service.api.calls import wire_shape
from flowspan_service.domain.errors import InvalidFieldError, TooLargeError

if TYPE_CHECKING:
    from google.protobuf.message import Message

REQUEST = report_service_pb2.ReportRequest
MIB = 1 << 20


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def batch(unit: bytes, size: int = MIB) -> bytes:
    """Return a request with a batch that repeats these bytes."""
    return field(2, unit * (size // len(unit)))


def nested(depth: int) -> bytes:
    """Return a failed state with a chain of causes; raw, as protobuf refuses to serialize it."""
    failure = b""
    for _ in range(depth):
        failure = field(4, failure)
    return field(2, field(2, field(2, field(3, field(6, failure)))))


HOSTILE = {
    "events": batch(b"\x12\x00"),
    "creations": batch(b"\x12\x02\x0a\x00"),
    "one event that is many": batch(field(2, b"\x0a\x00\x12\x00" * 1000)),
    "tags": field(2, field(2, field(1, b"\x4a\x00" * (MIB // 2)))),
    "numbers": field(2, field(2, b"\x08\x01" * (MIB // 2))),
    "unknown fields": b"\x78\x01" * (MIB // 2),
    "unknown messages": b"\x7a\x00" * (MIB // 2),
    "depth": nested(80),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_message_that_is_large_once_parsed_is_refused(name: str) -> None:
    with pytest.raises(TooLargeError):
        wire_shape.check_shape(HOSTILE[name], REQUEST)


def largest_batch() -> Message:
    events = [
        created(new_id(), tags=["t"] * 3, parent_run_id=new_id(), root_run_id=new_id())
        for _ in range(limits.MAX_UNACKED_EVENTS)
    ]
    return REQUEST(batch=report_pb2.Batch(first_sequence=1, events=events))


def deepest_failure() -> Message:
    failure = failure_pb2.Failure(type="E")
    for _ in range(limits.FAILURE_DEPTH - 1):
        failure = failure_pb2.Failure(type="E", cause=failure)
    events = [entered(new_id(), "FAILED", failure=failure)] * 1000
    return REQUEST(batch=report_pb2.Batch(first_sequence=1, events=events))


def long_filter() -> Message:
    values = ["v"] * limits.FILTER_VALUES
    return flow_run_service_pb2.ListFlowRunsRequest(filter={"tags": values, "state_names": values})


@pytest.mark.parametrize("make", [largest_batch, deepest_failure, long_filter])
def test_good_message_is_let_through(make) -> None:
    message = make()
    wire_shape.check_shape(message.SerializeToString(), type(message))


@pytest.mark.parametrize(
    "data",
    [
        b"\x12",
        b"\x12\x05",
        b"\x12\x80",
        b"\x12\x02\x12\x05",
        b"\x12\x03\x12\x05\x0a",
        b"\x08" + b"\x80" * 11,
        b"\x0b\x0c",
        b"\x0e",
        b"\x09\x01",
        b"\x0d\x01",
    ],
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidFieldError):
        wire_shape.check_shape(data, REQUEST)


def test_scan_and_parser_agree() -> None:
    """Input rejected as malformed is malformed, except for groups, which no message uses."""
    chance = random.Random(7)
    good = REQUEST(
        batch=report_pb2.Batch(first_sequence=1, events=whole_run(new_id()))
    ).SerializeToString()
    refused = 0
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        data = data[: chance.randint(1, len(data))]
        try:
            wire_shape.check_shape(bytes(data), REQUEST)
        except InvalidFieldError:
            refused += 1
            with pytest.raises(DecodeError):
                REQUEST.FromString(bytes(data))
    assert refused > 100
