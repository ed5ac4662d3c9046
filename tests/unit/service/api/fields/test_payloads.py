"""Payloads: the check of JSON, data or text, and the text form of answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowspan.v1 import (
    artifact_service_pb2,
    flow_run_service_pb2,
    label_service_pb2,
    payload_pb2,
    variable_service_pb2,
    watch_service_pb2,
)
from flowspan_service.api import limits
from flowspan_service.api.fields.payloads import (
    check_payload,
    payload_message,
    payload_of,
    stored_payload,
    to_text_form,
)
from flowspan_service.domain.errors import InvalidFieldError, TooLargeError
from flowspan_service.domain.payloads import Payload

DEEP = limits.JSON_DEPTH

VALID = {
    "object": b'{"a": [1, -0.5e-3, true, null], "a": "\\ud800\\n"}',
    "scalar": b"  7 ",
    "large integer": b"-" + b"9" * 4_300,
    "large number": b"1e999",
    "non-ASCII": '"größe 🙂"'.encode(),
    "brackets in strings": json.dumps({"[{" * DEEP: "\\" * 7 + '"[' * DEEP}).encode(),
    "wide": b"[" + b"[],{}," * DEEP + b"0]",
    "deep": b"[" * DEEP + b"]" * DEEP,
    "wide and deep": b"[" * (DEEP - 12)
    + (b"[" * 12 + b"]" * 12 + b",") * 2000
    + b"{}"
    + b"]" * (DEEP - 12),
}
INVALID = {
    "nothing": b"",
    "white space": b" \n",
    "NaN": b'{"a": NaN}',
    "Infinity": b"[Infinity]",
    "-Infinity": b"-Infinity",
    "two values": b"{} {}",
    "single quotes": b"{'a': 1}",
    "trailing comma": b"[1,]",
    "leading zero": b"01",
    "open string": b'"a',
    "control character": b'"a\nb"',
    "not UTF-8": b'"\xff"',
    "surrogates in UTF-8": b'"\xed\xa0\x80"',
    "UTF-16": '"a"'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf1",
    "other digits": '"a": ٣'.encode(),
}
TOO_DEEP = {
    "one more": b"[" * (DEEP + 1) + b"]" * (DEEP + 1),
    "objects": b'{"\\\\":' * (DEEP + 1) + b"1" + b"}" * (DEEP + 1),
    "below wide ones": b"[" * (DEEP - 2) + b"[[[]]]," * 2000 + b"0" + b"]" * (DEEP - 2),
    "a hundred thousand": b"[" * 100_000 + b"]" * 100_000,
}


LONG_INTEGER = b"[-" + b"9" * 4_301 + b"]"


def as_json(data: bytes) -> payload_pb2.Payload:
    return payload_pb2.Payload(encoding="json", data=data)


@pytest.mark.parametrize("is_reported", [False, True])
@pytest.mark.parametrize("name", VALID)
def test_json_is_accepted(name: str, *, is_reported: bool) -> None:
    check_payload(as_json(VALID[name]), "p", limits.PAYLOAD, is_reported=is_reported)


@pytest.mark.parametrize("is_reported", [False, True])
@pytest.mark.parametrize("name", INVALID)
def test_anything_else_is_refused(name: str, *, is_reported: bool) -> None:
    with pytest.raises(InvalidFieldError, match=r"^p\.data: is not JSON"):
        check_payload(as_json(INVALID[name]), "p", limits.PAYLOAD, is_reported=is_reported)


@pytest.mark.parametrize("name", TOO_DEEP)
def test_deep_json_is_accepted_in_reports_only(name: str) -> None:
    payload = as_json(TOO_DEEP[name])
    check_payload(payload, "p", limits.PAYLOAD, is_reported=True)
    with pytest.raises(InvalidFieldError, match="nested more deeply than 500 levels"):
        check_payload(payload, "p", limits.PAYLOAD)


def test_a_long_integer_is_json() -> None:
    check_payload(as_json(LONG_INTEGER), "p", limits.PAYLOAD, is_reported=True)
    check_payload(as_json(LONG_INTEGER), "p", limits.PAYLOAD)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[1, NaN]", "it contains NaN"),
        (b"[1 2]", "at character 3"),
        (b'"a\xff"', "byte 2 is not UTF-8"),
    ],
)
def test_a_refusal_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidFieldError, match=rf"is not JSON \(.*{reason}\)"):
        check_payload(as_json(data), "p", limits.PAYLOAD)


def test_the_sizes_are_checked() -> None:
    check_payload(payload_pb2.Payload(encoding="e" * 64, data=b"12"), "p", 2)
    for bad in (
        payload_pb2.Payload(encoding="e" * 65),
        payload_pb2.Payload(encoding="json", data=b"123"),
        payload_pb2.Payload(encoding="json", text="123"),
        payload_pb2.Payload(encoding="text/plain", text="éé"),
    ):
        with pytest.raises(TooLargeError):
            check_payload(bad, "p", 2)
    with pytest.raises(InvalidFieldError, match=r"^p\.encoding: "):
        check_payload(payload_pb2.Payload(data=b"1"), "p", 2)


def test_data_and_text_exclude_each_other() -> None:
    both = payload_pb2.Payload(encoding="json", data=b"1", text="1")
    with pytest.raises(InvalidFieldError, match="both data and text"):
        check_payload(both, "p", 10)
    with pytest.raises(InvalidFieldError, match=r"^p\.text: is not JSON"):
        check_payload(payload_pb2.Payload(encoding="json", text="nope"), "p", 10)


def test_text_is_stored_as_data() -> None:
    as_text = payload_pb2.Payload(encoding="json", text='"größe"')
    as_data = as_json('"größe"'.encode())
    assert payload_of(as_text) == payload_of(as_data) == Payload("json", '"größe"'.encode())
    assert stored_payload(as_text) == stored_payload(as_data) == as_data.SerializeToString()
    assert payload_message(payload_of(as_text)) == as_data
    assert payload_message(None) is None


def answers() -> dict[str, Any]:
    """Return answers with payloads at each kind of place."""
    one = as_json(b"[1]")
    state = {"type": 6, "result": one}
    return {
        "a field": variable_service_pb2.GetVariableResponse(variable={"name": "v", "value": one}),
        "a repeated field": artifact_service_pb2.ListArtifactsResponse(
            artifacts=[{"id": "a", "data": one}, {"id": "b"}, {"id": "c", "data": one}]
        ),
        "two places": flow_run_service_pb2.GetFlowRunResponse(
            flow_run={"id": "r", "parameters": one, "state": state}
        ),
        "a oneof": watch_service_pb2.WatchResponse(
            change={
                "transition": {"run_id": "r", "state": state},
                "task_run": {"id": "r", "parameters": one},
            }
        ),
    }


@pytest.mark.parametrize("place", answers())
def test_every_payload_of_an_answer_has_a_text_form(place: str) -> None:
    answer = answers()[place]
    before = answer.SerializeToString(deterministic=True)
    found = to_text_form(answer)
    assert answer.SerializeToString(deterministic=True) == before
    expected = str(answer).replace('data: "[1]"', 'text: "[1]"')
    assert str(found) == expected != str(answer)


@pytest.mark.parametrize(
    ("encoding", "data", "text"),
    [
        ("json", b"1", "1"),
        ("text/markdown", "größe\0".encode(), "größe\0"),
        ("text/plain", b"\xff", None),
        ("json", b"\xff", None),
        ("flowspan/result", b"1", None),
        ("application/json", b"1", None),
    ],
)
def test_other_encodings_and_bytes_stay_data(encoding: str, data: bytes, text: str | None) -> None:
    given = payload_pb2.Payload(encoding=encoding, data=data)
    found = to_text_form(given)
    assert (found.text, found.data) == (("", data) if text is None else (text, b""))
    # What a reader gets, it can send.
    assert payload_of(found) == payload_of(given)


def test_a_message_without_payloads_is_returned_as_it_is() -> None:
    labels = label_service_pb2.GetLabelsResponse(labels={"a": "b"})
    assert to_text_form(labels) is labels
