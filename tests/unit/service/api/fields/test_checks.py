"""The general checks of requests."""

from __future__ import annotations

from typing import Any

import pytest

from flowspan.v1 import flow_run_service_pb2 as pb
from flowspan_service.api.fields import checks
from flowspan_service.domain.errors import InvalidFieldError, TooLargeError

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def named(field: str) -> Any:
    return pytest.raises(InvalidFieldError, match=f"^{field}: ")


def test_checks_of_requests_name_the_field() -> None:
    checks.by_id(pb.GetFlowRunRequest(id=ID))
    with named("id"):
        checks.by_id(pb.GetFlowRunRequest())
    page = checks.with_page(10)
    page(pb.ListFlowRunsRequest(page_size=10))
    for size in (-1, 11):
        with named("page_size"):
            page(pb.ListFlowRunsRequest(page_size=size))
    checks.with_order(pb.ListFlowRunsRequest(order=2))
    with named("order"):
        checks.with_order(pb.ListFlowRunsRequest(order=3))


def test_a_required_message_is_checked_under_its_name() -> None:
    seen = []
    check = checks.with_message("flow_run", lambda *arguments: seen.append(arguments))
    with named("flow_run"):
        check(pb.CreateFlowRunRequest())
    request = pb.CreateFlowRunRequest(flow_run={"id": ID})
    check(request)
    assert seen == [(request.flow_run, "flow_run")]


def test_several_checks_are_made_in_turn() -> None:
    seen: list[int] = []

    def fail(_: object) -> None:
        raise checks.invalid("id", "is bad")

    with named("id"):
        checks.all_of(lambda _: seen.append(1), fail, lambda _: seen.append(2))(None)
    assert seen == [1]


@pytest.mark.parametrize(
    ("text", "limit", "is_too_large"),
    [("abcd", 4, False), ("abcde", 4, True), ("é" * 2, 4, False), ("é" * 3, 4, True)],
)
def test_texts_are_measured_in_bytes(text: str, limit: int, *, is_too_large: bool) -> None:
    if not is_too_large:
        checks.check_text(text, "name", limit)
        return
    with pytest.raises(TooLargeError) as caught:
        checks.check_text(text, "name", limit)
    assert caught.value.metadata == {"field": "name", "limit": str(limit)}


def test_nul_characters_are_refused() -> None:
    with named("name"):
        checks.check_text("a\0b", "name", 100)


@pytest.mark.parametrize("value", ["", "5", ID.upper(), ID.replace("-", ""), f"{ID}\n"])
def test_only_canonical_ids_pass(value: str) -> None:
    checks.check_id(ID, "id")
    with named("id"):
        checks.check_id(value, "id")


def test_long_values_are_shortened_in_messages() -> None:
    with pytest.raises(InvalidFieldError) as caught:
        checks.check_hex("x" * 10_000, "trace_id", 32)
    assert len(str(caught.value)) < 200
