"""Page tokens and resume tokens."""

from __future__ import annotations

import base64
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowspan_service.api.fields.page_tokens import PageTokens, WatchPlace
from flowspan_service.app.ports import Identity
from flowspan_service.domain.errors import BadTokenError, TokenOutOfRangeError

IDENTITY = Identity("0f8fad5b-d9cb-469f-a165-70867728950e", b"k" * 32)
TOKENS = PageTokens(IDENTITY)
RESTARTED = PageTokens(Identity(*IDENTITY))
OTHER_KEY = PageTokens(IDENTITY._replace(token_key=b"l" * 32))
OTHER_DATABASE = PageTokens(IDENTITY._replace(database_id="7c9e6679-7425-40de-944b-e07fc1f90ae7"))


def unsigned(place: str, query: bytes) -> str:
    """Return a token in the old unsigned format, which anyone can create."""
    digest = blake2b(place.encode(), digest_size=8, person=b"flowspan token")
    digest.update(b"\0" + query)
    return base64.urlsafe_b64encode(digest.digest() + place.encode()).decode().rstrip("=")


@given(place=st.text(max_size=100), query=st.binary(max_size=50))
def test_token_gives_its_place_back(place: str, query: bytes) -> None:
    assert RESTARTED.unseal(TOKENS.seal(place, query=query), query=query) == place


@given(token=st.text(max_size=100) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_anything_else_is_refused(token: str) -> None:
    with pytest.raises(BadTokenError) as caught:
        TOKENS.unseal(token, query=b"q", field="page_token")
    assert caught.value.metadata == {"field": "page_token"}
    assert caught.value.advice
    with pytest.raises(BadTokenError):
        TOKENS.unseal_number(token, query=b"q")


@given(place=st.text(max_size=40), flipped=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_token_with_one_bit_changed_is_refused(place: str, flipped: int, bit: int) -> None:
    token = TOKENS.seal(place, query=b"q")
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[flipped % len(raw)] ^= 1 << bit
    changed = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    with pytest.raises(BadTokenError):
        TOKENS.unseal(changed, query=b"q")


@pytest.mark.parametrize("place", ["5", "-1", "", "x", "9" * 30, "5:0", "\N{SNOWMAN}"])
def test_forged_and_foreign_tokens_are_refused(place: str) -> None:
    for forged in (
        unsigned(place, b"q"),
        OTHER_KEY.seal(place, query=b"q"),
        OTHER_DATABASE.seal(place, query=b"q"),
    ):
        with pytest.raises(BadTokenError):
            TOKENS.unseal(forged, query=b"q")
        with pytest.raises(BadTokenError):
            TOKENS.unseal_number(forged, query=b"q")


def test_token_of_another_query_is_refused() -> None:
    with pytest.raises(BadTokenError):
        TOKENS.unseal(TOKENS.seal("5", query=b"one"), query=b"two")
    # Place and query are separated.
    with pytest.raises(BadTokenError):
        TOKENS.unseal(TOKENS.seal("5", query=b"6"), query=b"")
    with pytest.raises(BadTokenError):
        TOKENS.unseal(TOKENS.seal("5", query=b"6"), query=b"65")


def test_a_watch_learns_whether_to_begin_again() -> None:
    place = WatchPlace(7, 1_700_000_000_000_000)
    assert TOKENS.unseal_watch(TOKENS.seal_watch(place, query=b"q"), query=b"q") == place
    with pytest.raises(TokenOutOfRangeError, match="another database"):
        TOKENS.unseal_watch(OTHER_DATABASE.seal_watch(place, query=b"q"), query=b"q")
    with pytest.raises(TokenOutOfRangeError, match="earlier version"):
        TOKENS.unseal_watch(unsigned("7", b"q"), query=b"q")
    for forged in (
        "x",
        "",
        unsigned("-7", b"q"),
        unsigned("7", b"other"),
        OTHER_KEY.seal_watch(place, query=b"q"),
        TOKENS.seal_watch(place, query=b"other"),
    ):
        with pytest.raises(BadTokenError) as caught:
            TOKENS.unseal_watch(forged, query=b"q")
        assert caught.value.metadata == {"field": "resume_token"}
