"""The text of a run context, and its place in a tracestate."""

from __future__ import annotations

import pytest

from flowspan.core.run_context import (
    BadRunContextError,
    OuterRun,
    format_run_context,
    member_of,
    parse_run_context,
    with_member,
)
from flowspan_service.domain import run_context as of_service

RUN, ROOT = "0199c0de-0000-7000-8000-000000000001", "0199c0de-0000-7000-8000-0000000000ff"
DIGITS, ROOT_DIGITS = RUN.replace("-", ""), ROOT.replace("-", "")


@pytest.mark.parametrize(
    ("context", "text"),
    [
        (OuterRun(RUN, RUN), f"r:{DIGITS}"),
        (OuterRun(RUN, ROOT), f"r:{DIGITS};t:{ROOT_DIGITS}"),
    ],
    ids=["root", "below a root"],
)
def test_text_is_the_one_of_the_service(context: OuterRun, text: str) -> None:
    assert format_run_context(*context) == text
    assert parse_run_context(text) == context
    assert tuple(of_service.parse_run_context(text)) == context
    assert of_service.format_run_context(of_service.RunContext(*context)) == text


def test_unknown_fields_and_blanks_around_are_ignored() -> None:
    assert parse_run_context(f" x:1:2;r:{DIGITS};new: \n") == OuterRun(RUN, RUN)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no name and colon"),
        ("r", "no name and colon"),
        (f"r:{DIGITS};", "no name and colon"),
        (f":{DIGITS}", "no name and colon"),
        (f"t:{DIGITS}", "'r', the id of the run, is missing"),
        (f"r:{DIGITS};r:{DIGITS}", "'r' occurs twice"),
        (f"r:{RUN}", "32 lower-case hex digits"),
        (f"r:{DIGITS.upper()}", "32 lower-case hex digits"),
        (f"r:{DIGITS.replace('7', '4')}", "32 lower-case hex digits"),
        (f"r:{DIGITS};t:", "'t' is '', not the 32"),
        (f"r:{DIGITS[:-1]}\N{ARABIC-INDIC DIGIT ONE}", "32 lower-case hex digits"),
        (f"r:{DIGITS};x:{'x' * 512}", "more than 512 characters"),
        ("\udcff", "no name and colon"),
    ],
)
def test_malformed_text_is_refused_as_by_the_service(text: str, why: str) -> None:
    with pytest.raises(BadRunContextError, match=why):
        parse_run_context(text)
    with pytest.raises(of_service.BadRunContextError):
        of_service.parse_run_context(text)


def test_member_comes_first_and_replaces_an_older_one() -> None:
    members = [("a", "1"), ("flowspan", "old"), ("b", "2")]
    assert with_member(members, "new") == [("flowspan", "new"), ("a", "1"), ("b", "2")]
    assert with_member([], "new") == [("flowspan", "new")]


def test_the_last_members_of_others_are_dropped() -> None:
    many = [(f"k{number}", "v") for number in range(32)]
    kept = with_member(many, "new")
    assert kept == [("flowspan", "new"), *many[:31]]
    long = [(f"k{number}", "v" * 100) for number in range(9)]
    kept = with_member(long, "new")
    assert kept == [("flowspan", "new"), *long[:4]]
    header = ",".join(f"{key}={value}" for key, value in kept)
    size = len(header)
    assert size <= 512 < size + len(",k4=") + 100


def test_tracestate_of_exactly_512_bytes_is_kept() -> None:
    rest = 512 - len("flowspan=new") - len(",a=")
    fits, too_long = [("a", "v" * rest)], [("a", "v" * (rest + 1))]
    assert with_member(fits, "new")[1:] == fits
    assert with_member(too_long, "new")[1:] == []


@pytest.mark.parametrize(
    ("tracestate", "member"),
    [
        ("", None),
        ("a=1,,b", None),
        ("flowspan", None),
        ("xflowspan=1", None),
        ("a=1, flowspan=r:1;t:2 ,b=2", "r:1;t:2"),
        ("flowspan=", ""),
    ],
)
def test_member_of_a_tracestate(tracestate: str, member: str | None) -> None:
    assert member_of(tracestate) == member
