"""VariableService."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.harness import refused

from flowspan.v1 import payload_pb2, variable_pb2
from flowspan.v1 import variable_service_pb2 as service_pb2

if TYPE_CHECKING:
    from tests.support.harness import Stubs

INVALID = grpc.StatusCode.INVALID_ARGUMENT
MISSING = grpc.StatusCode.NOT_FOUND


def request(
    name: str, value: bytes = b"1", *, overwrite: bool = False, encoding: str = "json", tags=()
) -> service_pb2.SetVariableRequest:
    payload = payload_pb2.Payload(encoding=encoding, data=value)
    variable = variable_pb2.Variable(name=name, value=payload, tags=tags)
    return service_pb2.SetVariableRequest(variable=variable, overwrite=overwrite)


def get(stubs: Stubs, name: str) -> variable_pb2.Variable:
    return stubs.variables.GetVariable(service_pb2.GetVariableRequest(name=name)).variable


def names(stubs: Stubs, **fields: object) -> list[str]:
    """Return the names of all pages."""
    found: list[str] = []
    token = ""
    while True:
        page = stubs.variables.ListVariables(
            service_pb2.ListVariablesRequest(page_size=2, page_token=token, **fields)  # type: ignore[arg-type] # from the caller
        )
        found += [each.name for each in page.variables]
        token = page.next_page_token
        if not token:
            return found


def test_set_get_and_delete(stubs: Stubs) -> None:
    done = stubs.variables.SetVariable(request("limit_a-1", b'{"n":1.50}', tags=["x", "y"]))
    assert done.created
    found = get(stubs, "limit_a-1")
    assert found == done.variable
    assert (found.value.data, list(found.tags)) == (b'{"n":1.50}', ["x", "y"])
    assert found.create_time == found.update_time
    delete = service_pb2.DeleteVariableRequest(name="limit_a-1")
    assert stubs.variables.DeleteVariable(delete).deleted
    assert not stubs.variables.DeleteVariable(delete).deleted
    metadata = refused(lambda: get(stubs, "limit_a-1"), MISSING, "NOT_FOUND")
    assert metadata["name"] == "limit_a-1"


def test_overwriting_is_asked_for(stubs: Stubs) -> None:
    first = stubs.variables.SetVariable(request("v", b"1", tags=["old"])).variable
    metadata = refused(
        lambda: stubs.variables.SetVariable(request("v", b"2")),
        grpc.StatusCode.ALREADY_EXISTS,
        "ALREADY_EXISTS",
    )
    assert metadata["name"] == "v"
    assert get(stubs, "v") == first
    second = stubs.variables.SetVariable(request("v", b"2", overwrite=True))
    assert not second.created
    assert second.variable == get(stubs, "v")
    assert second.variable.value.data == b"2"
    assert list(second.variable.tags) == []
    assert second.variable.create_time == first.create_time
    assert second.variable.update_time.ToMicroseconds() > first.update_time.ToMicroseconds()


def test_list(stubs: Stubs) -> None:
    for index, name in enumerate(["b", "a", "a-b", "a_b", "c"]):
        tags = ["even"] if index % 2 == 0 else []
        stubs.variables.SetVariable(request(name, tags=tags))
    assert names(stubs) == ["a", "a-b", "a_b", "b", "c"]
    assert names(stubs, name_prefix="a") == ["a", "a-b", "a_b"]
    assert names(stubs, tags=["even"]) == ["a-b", "b", "c"]
    assert names(stubs, name_prefix="a", tags=["even"]) == ["a-b"]


def test_tokens_belong_to_their_query(stubs: Stubs) -> None:
    for name in ("a", "b"):
        stubs.variables.SetVariable(request(name))
    first = stubs.variables.ListVariables(service_pb2.ListVariablesRequest(page_size=1))
    other = service_pb2.ListVariablesRequest(name_prefix="a", page_token=first.next_page_token)
    refused(lambda: stubs.variables.ListVariables(other), INVALID, "BAD_TOKEN")


GOOD_VALUES = [
    b"null",
    b"true",
    b"1e400",
    b'"\\ud800"',
    b"[]",
    b" {} ",
    b'"' + b"x" * 65_534 + b'"',
    b"1" * 6_000,
]


@pytest.mark.parametrize("value", GOOD_VALUES, ids=range(len(GOOD_VALUES)))
def test_any_json_is_a_value(stubs: Stubs, value: bytes) -> None:
    stubs.variables.SetVariable(request("v", value))
    assert get(stubs, "v").value.data == value


BAD_VALUES = [
    b"",
    b"text",
    b"NaN",
    b"[1,]",
    b"\xff",
    b"\xef\xbb\xbf1",
    '"utf-16"'.encode("utf-16"),
    b"[" * 60_000,
]


@pytest.mark.parametrize("value", BAD_VALUES, ids=range(len(BAD_VALUES)))
def test_promise_bad_input_values_that_are_no_json(stubs: Stubs, value: bytes) -> None:
    metadata = refused(
        lambda: stubs.variables.SetVariable(request("v", value)), INVALID, "INVALID_FIELD"
    )
    assert metadata["field"] == "variable.value.data"


def test_promise_bad_input_of_variables(stubs: Stubs) -> None:
    call = stubs.variables.SetVariable
    for name in ("", "A", "a b", "a.b", "ä", "a" * 256):
        with pytest.raises(grpc.RpcError) as caught:
            call(request(name))
        assert caught.value.code() is INVALID
        assert caught.value.details().startswith("variable.name: ")
    refused(lambda: call(request("v", encoding="pickle")), INVALID, "INVALID_FIELD")
    refused(lambda: call(request("v", b'"' + b"x" * 65_535 + b'"')), INVALID, "TOO_LARGE")
    refused(lambda: call(request("v", tags=["t"] * 65)), INVALID, "TOO_LARGE")
    refused(lambda: call(service_pb2.SetVariableRequest()), INVALID, "INVALID_FIELD")
    missing = service_pb2.SetVariableRequest(variable=variable_pb2.Variable(name="v"))
    refused(lambda: call(missing), INVALID, "INVALID_FIELD")
    for prefix in ("A", "%"):
        bad = service_pb2.ListVariablesRequest(name_prefix=prefix)
        refused(lambda bad=bad: stubs.variables.ListVariables(bad), INVALID, "INVALID_FIELD")
    assert names(stubs) == []
