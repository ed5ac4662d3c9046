"""Access tokens, over both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.store.builders import do, new_id

from flowspan_service.app.tokens import (
    ENDED_KEPT_US,
    MAX_TOKENS,
    CreateToken,
    NoteTokenUses,
    RevokeToken,
    TokenRequest,
    mint,
)
from flowspan_service.domain.errors import AlreadyExistsError, NotFoundError, TooLargeError
from flowspan_service.domain.tokens import AccessToken, Scope

if TYPE_CHECKING:
    from flowspan_service.stores.store import SqlStore


def create(store: SqlStore, name: str, *scopes: Scope, **fields: float) -> AccessToken:
    request = TokenRequest(name=name, scopes=frozenset(scopes or {Scope.READ}), **fields)  # type: ignore[arg-type] # from the test
    return store.submit(CreateToken(new_id(), request, mint())).result()


def test_a_token_comes_back_as_it_was_created(store: SqlStore) -> None:
    plain = create(store, "plain")
    full = create(
        store,
        "full",
        *(Scope.ADMIN, Scope.READ),
        expires_us=2**52,
        max_calls_per_second=0.25,
        max_request_bytes=4096,
    )
    assert full.scopes == (Scope.READ, Scope.ADMIN)
    assert store.tokens.list() == sorted([plain, full], key=lambda each: each.id)


def test_a_token_is_revoked_once(store: SqlStore) -> None:
    token, other = create(store, "ci"), create(store, "other")
    revoked = store.submit(RevokeToken("ci")).result()
    assert revoked.revoked_us is not None
    assert store.submit(RevokeToken(token.id)).result() == revoked
    assert [each.revoked_us for each in store.tokens.list() if each.id == other.id] == [None]
    again = create(store, "ci")
    assert store.submit(RevokeToken("ci")).result().id == again.id
    with pytest.raises(NotFoundError):
        store.submit(RevokeToken("unknown")).result()


def test_a_name_is_taken_until_the_revocation(store: SqlStore) -> None:
    create(store, "ci", expires_us=1)
    with pytest.raises(AlreadyExistsError, match="has expired, but is not revoked"):
        create(store, "ci")


def test_the_latest_use_is_kept(store: SqlStore) -> None:
    token = create(store, "ci")
    for time_us in (5, 9, 7):
        store.submit(NoteTokenUses({token.id: time_us, new_id(): 3})).result()
    assert [each.used_us for each in store.tokens.list()] == [9]


def test_tokens_that_ended_long_ago_are_deleted(store: SqlStore) -> None:
    long_ago, lately, valid = (create(store, name) for name in ("a", "b", "c"))
    store.submit(RevokeToken("b")).result()
    do(store, lambda uow: uow.tokens.revoke(long_ago.id, revoked_us=uow.now_us - ENDED_KEPT_US))
    new = create(store, "d")
    assert {each.id for each in store.tokens.list()} == {lately.id, valid.id, new.id}


def test_the_number_of_tokens_is_bounded(store: SqlStore) -> None:
    def fill(uow: object) -> None:
        for _ in range(MAX_TOKENS):
            minted = mint()
            uow.tokens.add(  # type: ignore[attr-defined] # a unit of work
                AccessToken(
                    id=new_id(),
                    name=minted.lookup,
                    scopes=(Scope.READ,),
                    lookup=minted.lookup,
                    digest=minted.digest,
                    created_us=1,
                )
            )

    do(store, fill)
    with pytest.raises(TooLargeError, match="no more than 1000"):
        create(store, "one too many")
