"""Tokens of single runs, and the sessions that follow from them."""

from __future__ import annotations

import base64
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowspan_service.api import limits
from flowspan_service.api.fields.checks import is_id
from flowspan_service.api.fields.page_tokens import PageTokens
from flowspan_service.api.run_tokens import RunTokens
from flowspan_service.app.ports import Identity
from flowspan_service.domain.errors import WrongSecretError

IDENTITY = Identity("0f8fad5b-d9cb-469f-a165-70867728950e", b"k" * 32)
TOKENS = RunTokens(IDENTITY)
RESTARTED = RunTokens(Identity(*IDENTITY))
OTHER_KEY = RunTokens(IDENTITY._replace(token_key=b"l" * 32))
OTHER_DATABASE = RunTokens(IDENTITY._replace(database_id="7c9e6679-7425-40de-944b-e07fc1f90ae7"))
RUN_ID = "0199c0de-0000-7000-8000-000000000001"

run_ids = st.uuids().map(str)


@given(run_id=run_ids)
def test_token_names_its_run(run_id: str) -> None:
    token = TOKENS.seal(run_id)
    assert RESTARTED.unseal(token) == run_id
    assert len(token) < limits.TOKEN


@given(token=st.text(max_size=100) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_anything_else_is_refused(token: str) -> None:
    with pytest.raises(WrongSecretError) as caught:
        TOKENS.unseal(token)
    assert caught.value.advice


@given(run_id=run_ids, bit=st.integers(0, 39 * 8 - 1))
def test_each_bit_counts(run_id: str, bit: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(TOKENS.seal(run_id)))
    assert len(raw) == 39  # no character of the text has bits to spare
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WrongSecretError):
        TOKENS.unseal(base64.urlsafe_b64encode(raw).decode())


@pytest.mark.parametrize("other", [OTHER_KEY, OTHER_DATABASE])
def test_token_of_another_database_is_refused(other: RunTokens) -> None:
    with pytest.raises(WrongSecretError):
        other.unseal(TOKENS.seal(RUN_ID))


def test_token_of_a_page_is_refused() -> None:
    with pytest.raises(WrongSecretError):
        TOKENS.unseal(PageTokens(IDENTITY).seal(RUN_ID, query=b""))


@given(one=run_ids, two=run_ids)
def test_each_run_has_a_session_of_its_own(one: str, two: str) -> None:
    session = TOKENS.session_of(one)
    assert session == RESTARTED.session_of(one)
    assert is_id(session.id)
    assert (UUID(session.id).version, UUID(session.id).variant) == (8, RFC_4122)
    assert (session == TOKENS.session_of(two)) == (one == two)
    assert session.id != one
    assert OTHER_KEY.session_of(one).id != session.id
    assert len(session.secret_hash) == 32
    # Neither the session nor its secret can be told from the token.
    raw = base64.urlsafe_b64decode(TOKENS.seal(one))
    assert UUID(session.id).bytes[:6] not in raw
    assert session.secret_hash[:6] not in raw
