"""Tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowspan_service.domain.errors import BadTokenError
from flowspan_service.rpc.tokens import seal, unseal


@given(place=st.text(max_size=100), query=st.binary(max_size=50))
def test_token_gives_its_place_back(place: str, query: bytes) -> None:
    assert unseal(seal(place, query=query), query=query, field="t") == place


@given(token=st.text(max_size=100))
def test_anything_else_is_refused(token: str) -> None:
    with pytest.raises(BadTokenError) as caught:
        unseal(token, query=b"q", field="page_token")
    assert caught.value.metadata == {"field": "page_token"}
    assert caught.value.advice


def test_token_of_another_query_is_refused() -> None:
    with pytest.raises(BadTokenError):
        unseal(seal("5", query=b"one"), query=b"two", field="t")
    # Place and query are kept apart.
    with pytest.raises(BadTokenError):
        unseal(seal("5", query=b"6"), query=b"", field="t")
