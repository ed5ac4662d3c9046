"""Pages of lists."""

from __future__ import annotations

import pytest

from flowspan.v1 import flow_run_service_pb2, flow_service_pb2
from flowspan_service.api import limits
from flowspan_service.api.fields.page_tokens import PageTokens
from flowspan_service.api.fields.paging import Paging, is_oldest_first, selection_of
from flowspan_service.app.ports import Identity
from flowspan_service.app.ports.pages import Page
from flowspan_service.domain.errors import BadTokenError

TOKENS = PageTokens(Identity("0f8fad5b-d9cb-469f-a165-70867728950e", b"k" * 32))


def paging(query: bytes = b"flows", **request) -> Paging:
    return Paging(TOKENS, flow_service_pb2.ListFlowsRequest(**request), query)


def test_the_first_page_begins_nowhere_and_has_the_default_size() -> None:
    first = paging()
    assert (first.after(), first.after_number()) == (None, 0)
    assert first.limit == limits.PAGE_RUNS_DEFAULT
    assert paging(page_size=7).limit == 7


def test_a_token_leads_to_the_page_after_its_place() -> None:
    first = paging()
    assert paging(page_token=first.token_at("etl")).after() == "etl"
    assert paging(page_token=first.token_at(7)).after_number() == 7
    page = Page(["a", "b"], has_more=True)
    assert paging(page_token=first.token_after(page, str.upper)).after() == "B"


def test_the_last_page_has_no_token() -> None:
    assert paging().token_at(None) == ""
    assert paging().token_after(Page(["a"], has_more=False), str) == ""


def test_a_token_of_another_list_is_refused() -> None:
    token = paging(b"flows").token_at("5")
    for read in (Paging.after, Paging.after_number):
        with pytest.raises(BadTokenError):
            read(paging(b"variables", page_token=token))


def test_order_and_selection() -> None:
    request = flow_run_service_pb2.ListFlowRunsRequest(order=2, filter={"tags": ["a"]})
    assert is_oldest_first(request)
    assert not is_oldest_first(flow_run_service_pb2.ListFlowRunsRequest(order=1))
    assert selection_of(request) == request.filter.SerializeToString()
