"""Endpoints of peers, and their form in the tables of the kernel."""

from __future__ import annotations

from contextlib import closing

import pytest

from flowspan_service.process.peer_users import Endpoint, OwnUser, _in_table, parse_peer


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("ipv4:127.0.0.1:4600", Endpoint("127.0.0.1", 4600)),
        ("ipv6:[::1]:4600", Endpoint("::1", 4600)),
        ("ipv6:%5B::1%5D:4600", Endpoint("::1", 4600)),
        ("ipv6:[fe80::1%25eth0]:1", Endpoint("fe80::1", 1)),
        ("ipv6:[::ffff:127.0.0.1]:1", Endpoint("127.0.0.1", 1)),
        ("unix:", None),
        ("", None),
        ("ipv4:127.0.0.1:x", None),
        ("ipv4:host:1", None),
    ],
)
def test_a_peer_is_parsed(peer: str, expected: Endpoint | None) -> None:
    assert parse_peer(peer) == expected


def test_the_tables_have_words_in_the_order_of_the_machine() -> None:
    # A kernel writes 127.0.0.1 as 0100007F on the machines of today, which are little-endian.
    forms = _in_table(Endpoint("127.0.0.1", 0x1234))
    assert {form.partition(":")[2] for form in forms} == {"1234"}
    assert sorted(len(form.partition(":")[0]) for form in forms) == [8, 32]
    assert {len(form) for form in _in_table(Endpoint("::1", 1))} == {37}


def test_a_peer_that_is_no_connection_is_another_user() -> None:
    with closing(OwnUser([Endpoint("127.0.0.1", 1)])) as own:
        assert own("ipv4:127.0.0.1:1") is not own.is_known
        assert own("nonsense") is not own.is_known
