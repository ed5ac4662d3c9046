"""Messages as JSON."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowspan.v1 import flow_run_service_pb2, label_service_pb2, report_service_pb2
from flowspan_service.domain.errors import InvalidFieldError, TooLargeError
from flowspan_service.transports.http.json_codec import (
    MAX_BRACKETS,
    MAX_DEPTH,
    binary_request,
    json_answer,
)


def parsed(text: str, *, is_lenient: bool = False) -> report_service_pb2.ReportBatchRequest:
    kind = report_service_pb2.ReportBatchRequest
    return kind.FromString(binary_request(kind, text.encode(), is_lenient=is_lenient))


def refused(text: str, *, is_lenient: bool = False) -> InvalidFieldError:
    with pytest.raises(InvalidFieldError) as caught:
        parsed(text, is_lenient=is_lenient)
    return caught.value


def test_names_of_json_and_of_the_proto_are_both_known() -> None:
    for name in ("sessionId", "session_id"):
        assert parsed(json.dumps({"hello": {name: "x"}})).hello.session_id == "x"


def test_an_unknown_field_is_named_with_its_path() -> None:
    error = refused('{"batch": {"events": [{}, {"runCreated": {"runid": "x"}}]}}')
    assert error.metadata == {"field": "batch.events.runCreated.runid"}
    assert "RunCreated" in str(error)


def test_lenient_drops_unknown_fields_at_any_depth_and_keeps_the_rest() -> None:
    batch = '{"new": [1], "firstSequence": "3", "events": [{"newEvent": {}}]}'
    text = f'{{"batch": {batch}, "goodbye": true}}'
    request = parsed(text, is_lenient=True)
    assert (request.batch.first_sequence, request.goodbye) == (3, True)
    assert len(request.batch.events) == 1
    assert request.batch.events[0].WhichOneof("event") is None


@pytest.mark.parametrize("is_lenient", [False, True])
def test_enum_values_are_known_by_name_or_a_number(*, is_lenient: bool) -> None:
    kind = flow_run_service_pb2.ListFlowRunsRequest
    for value in ("RUN_ORDER_OLDEST_FIRST", 2):
        data = binary_request(kind, json.dumps({"order": value}).encode(), is_lenient=is_lenient)
        assert kind.FromString(data).order == 2
    with pytest.raises(InvalidFieldError) as caught:
        binary_request(kind, b'{"order": "oldest"}', is_lenient=is_lenient)
    assert caught.value.metadata == {"field": "order"}
    assert "RUN_ORDER_OLDEST_FIRST" in str(caught.value)


def test_maps_take_any_key() -> None:
    kind = label_service_pb2.SetLabelsRequest
    data = binary_request(kind, b'{"labels": {"team": "data"}}', is_lenient=False)
    assert dict(kind.FromString(data).labels) == {"team": "data"}


@pytest.mark.parametrize(
    "text", ["[]", "1", "nul", '{"goodbye": Infinity}', '{"a": 1, "a": 2}', '"']
)
def test_what_is_no_object_is_refused(text: str) -> None:
    refused(text)
    refused(text, is_lenient=True)


@pytest.mark.parametrize(
    "text",
    [
        '{"goodbye": "yes"}',
        '{"batch": 3}',
        '{"batch": {"firstSequence": 99999999999999999999}}',
        '{"batch": {"events": {}}}',
        '{"hello": {"lease": "1h"}}',
        '{"hello": {"secret": "not base64!"}}',
        '{"hello": {"sessionId": "\\ud800"}}',
        '{"batch": {"firstSequence": ' + "9" * 5000 + "}}",
    ],
)
def test_wrong_values_are_refused(text: str) -> None:
    assert str(refused(text))


def test_depth_is_bounded() -> None:
    deep = '{"cause": ' * (MAX_DEPTH + 1) + "{}" + "}" * (MAX_DEPTH + 1)
    text = json.dumps({"batch": {"events": [{"stateEntered": {"state": {"failure": 0}}}]}})
    assert "nested too deeply" in str(refused(text.replace("0", deep)))


def test_objects_and_arrays_are_counted_before_they_take_memory() -> None:
    with pytest.raises(TooLargeError):
        parsed('{"x": [' + "[]," * MAX_BRACKETS + "[]]}", is_lenient=True)


def test_answers_keep_characters_and_omit_defaults() -> None:
    answer = flow_run_service_pb2.ListFlowRunsResponse()
    answer.flow_runs.add(id="x", name="Übung 🐍")
    text = json_answer(type(answer), answer.SerializeToString())
    assert text == '{"flowRuns":[{"id":"x","name":"Übung 🐍"}]}'.encode()


NAMES = (
    "hello",
    "batch",
    "events",
    "runCreated",
    "state",
    "type",
    "time",
    "parameters",
    "data",
    "x",
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=st.dictionaries(st.sampled_from(NAMES), VALUES), is_lenient=st.booleans())
def test_any_json_is_parsed_or_refused(*, content: dict[str, object], is_lenient: bool) -> None:
    text = json.dumps(content).encode()
    kind = report_service_pb2.ReportBatchRequest
    try:
        data = binary_request(kind, text, is_lenient=is_lenient)
    except InvalidFieldError as error:
        str(error).encode()  # can be sent
        return
    kind.FromString(data)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=64))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with suppress(InvalidFieldError):
        binary_request(report_service_pb2.ReportBatchRequest, data, is_lenient=False)
