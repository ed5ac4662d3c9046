"""The text of a run context."""

from __future__ import annotations

import pytest

from flowspan_service.domain.run_context import (
    BadRunContextError,
    RunContext,
    format_run_context,
    parse_run_context,
    run_context_in_tracestate,
)

RUN = "0199c0de-0000-7000-8000-000000000001"
ROOT = "0199c0de-0000-7000-8000-0000000000ff"
R = RUN.replace("-", "")
T = ROOT.replace("-", "")


@pytest.mark.parametrize(
    ("text", "context"),
    [
        (f"r:{R}", RunContext(RUN, RUN)),
        (f"r:{R};t:{T}", RunContext(RUN, ROOT)),
        (f"t:{T};r:{R}", RunContext(RUN, ROOT)),
        (f"  r:{R};t:{R} ", RunContext(RUN, RUN)),
        (f"r:{R};a:2;x:of a newer client", RunContext(RUN, RUN)),
    ],
)
def test_a_context_is_read(text: str, context: RunContext) -> None:
    assert parse_run_context(text) == context
    assert parse_run_context(format_run_context(context)) == context


def test_the_root_is_written_only_if_it_is_another_run() -> None:
    assert format_run_context(RunContext(RUN, RUN)) == f"r:{R}"
    assert format_run_context(RunContext(RUN, ROOT)) == f"r:{R};t:{T}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "colon"),
        (R, "colon"),
        (f"t:{T}", "'r', the id of the run, is missing"),
        (f"r:{RUN}", "UUIDv7"),
        (f"r:{R.upper()}", "UUIDv7"),
        (f"r:{R[:-1]}", "UUIDv7"),
        (f"r:{R[:12]}4{R[13:]}", "UUIDv7"),
        (f"r:{R};t:", "field 't'"),
        (f"r:{R};r:{R}", "occurs twice"),
        (f"r:{R};", "colon"),
        (f"r:{R};x:{'y' * 500}", "512"),
    ],
)
def test_an_error_says_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(BadRunContextError, match=problem):
        parse_run_context(text)


@pytest.mark.parametrize(
    ("tracestate", "found"),
    [
        ("", None),
        ("rojo=00f067aa0ba902b7", None),
        (f"flowspan=r:{R}", f"r:{R}"),
        (f"rojo=1,flowspan=r:{R};t:{T},congo=t61", f"r:{R};t:{T}"),
        (f"rojo=1 ,\tflowspan=r:{R} ", f"r:{R}"),
        ("flowspan", None),
        ("notflowspan=1", None),
        ("flowspan=", ""),
    ],
)
def test_a_tracestate_has_a_member(tracestate: str, found: str | None) -> None:
    assert run_context_in_tracestate(tracestate) == found
