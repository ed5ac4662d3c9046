"""The access tokens in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowspan_service.app.known_tokens import USE_NOTED_US, KnownTokens
from flowspan_service.app.tokens import digest_of, lookup_of, mint
from flowspan_service.domain.tokens import AccessToken, Scope


def a_token(name: str = "ci", **fields: object) -> tuple[AccessToken, str]:
    minted = mint()
    token = AccessToken(
        id=f"id-{name}",
        name=name,
        scopes=(Scope.READ,),
        lookup=minted.lookup,
        digest=minted.digest,
        created_us=0,
    )
    return replace(token, **fields), minted.secret  # type: ignore[arg-type] # from the test


def test_a_token_is_found_by_its_secret_only() -> None:
    token, secret = a_token()
    other, other_secret = a_token("other")
    known = KnownTokens([token, other])
    assert known.find(secret) is token
    assert known.find(other_secret) is other
    start, _, end = secret.rpartition("_")
    for wrong in ("", secret[:-1], secret + "x", start, f"{start}_{end[::-1]}", secret.upper()):
        assert known.find(wrong) is None


@pytest.mark.parametrize(
    "secret", ["", "fst_", "fst", "x_y_z", "fst_abc", "\ud800", "fst_\ud800_x"]
)
def test_a_malformed_secret_is_no_error(secret: str) -> None:
    assert KnownTokens([a_token()[0]]).find(secret) is None


def test_the_parts_of_a_secret() -> None:
    minted = mint()
    assert lookup_of(minted.secret) == minted.lookup
    assert digest_of(minted.secret) == minted.digest
    assert minted.lookup.isalnum()
    assert mint().secret != minted.secret


def test_a_revoked_token_is_forgotten_and_its_listeners_hear_of_it() -> None:
    token, secret = a_token()
    known, changes = KnownTokens(), list[str]()
    known.on_change(lambda: changes.append("changed"))
    assert not known.are_in_use
    known.put(token)
    assert known.are_in_use
    assert known.holds(token)
    known.replace([replace(token, used_us=5)])  # a use is no change
    assert changes == ["changed"]
    known.put(replace(token, revoked_us=1))
    assert changes == ["changed"] * 2
    assert known.find(secret) is None
    assert not known.holds(token)
    assert not known.are_in_use


def test_an_expired_token_still_counts() -> None:
    assert KnownTokens([a_token(expires_us=1)[0]]).are_in_use


def test_uses_are_noted_once_a_minute() -> None:
    token, _ = a_token(used_us=USE_NOTED_US)
    known = KnownTokens([token])
    known.note_use(token, 2 * USE_NOTED_US - 1)
    assert known.take_uses() == {}
    known.note_use(token, 2 * USE_NOTED_US)
    known.note_use(token, 2 * USE_NOTED_US + 1)
    uses = known.take_uses()
    assert uses == {token.id: 2 * USE_NOTED_US}
    assert known.take_uses() == {}
    known.give_back_uses(uses)
    known.note_use(token, 4 * USE_NOTED_US)
    assert known.take_uses() == {token.id: 4 * USE_NOTED_US}
