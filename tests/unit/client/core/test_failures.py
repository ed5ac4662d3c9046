from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowspan.core.failures import (
    failure_info,
    shorten,
    summary,
    whole_trace,
    with_brief_causes,
)
from flowspan.core.limits import (
    MAX_CHAIN,
    MAX_FAILURE_BYTES,
    MAX_FAILURES,
    MAX_MESSAGE_BYTES,
    MAX_TRACE_BYTES,
)
from flowspan.core.parameters import Parameters
from flowspan.core.retries import RetryPolicy
from flowspan.exceptions import ParameterError

if TYPE_CHECKING:
    from flowspan.core.events import FailureInfo


def caught(function, *args) -> BaseException:
    try:
        function(*args)
    except BaseException as error:  # noqa: BLE001 - the subject of the test
        return error
    raise AssertionError("it did not raise")


def fail(message: str) -> None:
    raise ValueError(message)


def with_cause() -> None:
    try:
        fail("first")
    except ValueError as error:
        raise KeyError("second") from error


def test_type_message_and_trace() -> None:
    info = failure_info(caught(fail, "no"))
    assert info.type == "ValueError"
    assert info.message == "no"
    assert "in fail" in info.stack_trace
    assert info.stack_trace.startswith("Traceback (most recent call last):")
    assert info.stack_trace.endswith("ValueError: no\n")
    assert info.cause is None


def test_a_cause_and_what_was_being_handled_are_linked() -> None:
    def while_handling() -> None:
        try:
            fail("first")
        except ValueError:
            raise KeyError("second")  # noqa: B904 - the subject of the test

    def suppressed() -> None:
        try:
            fail("first")
        except ValueError:
            raise KeyError("second") from None

    for function in (with_cause, while_handling):
        info = failure_info(caught(function))
        assert info.type == "KeyError"
        assert info.cause is not None
        assert info.cause.message == "first"
    assert failure_info(caught(suppressed)).cause is None


def test_long_and_circular_chains_end() -> None:
    error: BaseException = ValueError("0")
    for i in range(40):
        later = ValueError(str(i + 1))
        later.__cause__ = error
        error = later
    length, info = 0, failure_info(error)
    while info is not None:
        length, info = length + 1, info.cause
    assert length == MAX_CHAIN

    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    info = failure_info(first)
    assert info.cause is not None
    assert info.cause.cause is None


def test_flowspans_own_frames_are_left_out() -> None:
    info = failure_info(caught(RetryPolicy, 1, lambda _: fail("in a callback")))
    assert "retries.py" not in info.stack_trace
    assert "in fail" in info.stack_trace


def test_flowspans_own_errors_need_no_trace_of_its_frames() -> None:
    error = caught(lambda: Parameters(fail, "Flow 'x'", None).bind((), {}))
    assert isinstance(error, ParameterError)
    assert "parameters.py" not in failure_info(error).stack_trace


def test_an_error_that_cannot_say_what_it_is() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    info = failure_info(caught(lambda: (_ for _ in ()).throw(MuteError())))
    assert "RuntimeError" in info.message
    assert "MuteError" in info.stack_trace


@pytest.mark.parametrize("letter", ["x", "ä", "\N{PILE OF POO}"])
def test_long_texts_keep_both_ends(letter: str) -> None:
    text = "begin " + letter * MAX_MESSAGE_BYTES + " end"
    short = shorten(text, MAX_MESSAGE_BYTES)
    assert len(short.encode()) <= MAX_MESSAGE_BYTES
    assert short.startswith("begin ")
    assert short.endswith(" end")
    assert "left out" in short
    assert shorten("short", MAX_MESSAGE_BYTES) == "short"


def test_half_a_surrogate_pair_does_no_harm() -> None:
    assert shorten("\ud83d" * 30_000, MAX_MESSAGE_BYTES)


def test_summary() -> None:
    assert summary(ValueError("no")) == "ValueError: no"
    assert summary(ValueError()) == "ValueError"


def test_a_group_shows_what_is_in_it() -> None:
    def fail_together() -> None:
        inner = ExceptionGroup("inner", [caught(fail, "second")])
        raise ExceptionGroup("both", [caught(fail, "first"), inner])

    error = caught(fail_together)
    info = failure_info(error)
    assert info.stack_trace.count("in fail\n") == 2
    assert "  | ValueError: first" in info.stack_trace
    assert "  |   | ValueError: second" in info.stack_trace
    assert summary(error) == (
        "ExceptionGroup: both (2 sub-exceptions): ValueError: first; "
        "ExceptionGroup: inner (1 sub-exception): ValueError: second"
    )


def test_the_whole_trace_has_the_causes() -> None:
    info = failure_info(caught(with_cause))
    own, _, cause = whole_trace(info).partition("\ncaused by:\n")
    assert own == info.stack_trace.rstrip()
    assert info.cause is not None
    assert cause == info.cause.stack_trace.rstrip()

    long = failure_info(caught(fail, "x" * MAX_TRACE_BYTES))
    assert len(whole_trace(info._replace(cause=long)).encode()) <= MAX_TRACE_BYTES


def test_an_error_that_was_never_raised_has_no_traceback() -> None:
    assert failure_info(ValueError("no")).stack_trace == "ValueError: no\n"


def numbered_group(count: int, text: str = "no") -> BaseExceptionGroup:
    return BaseExceptionGroup("many", [caught(fail, f"{text} {n}") for n in range(count)])


def count_of(info: FailureInfo | None) -> int:
    if info is None:
        return 0
    return 1 + count_of(info.cause) + sum(map(count_of, info.other_causes))


def depth_of(info: FailureInfo | None) -> int:
    if info is None:
        return 0
    return 1 + max(depth_of(info.cause), *map(depth_of, info.other_causes), 0)


def test_members_of_a_group_are_other_causes() -> None:
    inner = ExceptionGroup("inner", [caught(fail, "third")])
    group = ExceptionGroup("both", [caught(fail, "first"), caught(with_cause), inner])
    group.__cause__ = OSError("why")
    info = failure_info(group)
    assert info.cause is not None
    assert (info.cause.type, info.cause.message) == ("OSError", "why")
    assert [other.message for other in info.other_causes] == [
        "first",
        "'second'",
        "inner (1 sub-exception)",
    ]
    first, second, third = info.other_causes
    assert "in fail" in first.stack_trace
    assert second.cause is not None
    assert second.cause.message == "first"
    assert [other.message for other in third.other_causes] == ["third"]
    assert failure_info(ValueError("no")).other_causes == ()


def test_groups_are_bounded_in_number_depth_and_size() -> None:
    wide = failure_info(numbered_group(200, "x" * MAX_MESSAGE_BYTES))
    assert count_of(wide) == MAX_FAILURES
    brief = with_brief_causes(wide)
    assert count_of(brief) == MAX_FAILURES
    assert (brief.message, brief.stack_trace) == (wide.message, wide.stack_trace)
    texts = [each.message + each.stack_trace for each in brief.other_causes]
    assert sum(map(len, texts)) < MAX_FAILURE_BYTES // 2

    deep: BaseException = ValueError("innermost")
    for _ in range(40):
        deep = ExceptionGroup("around", [deep])
    assert depth_of(failure_info(deep)) == MAX_CHAIN

    both = numbered_group(200)
    both.__cause__ = numbered_group(200)
    assert count_of(failure_info(both)) == MAX_FAILURES


def test_an_error_that_is_in_several_places_is_shown_once() -> None:
    shared = caught(fail, "shared")
    group = ExceptionGroup("both", [shared, shared])
    shared.__cause__ = group
    info = failure_info(group)
    assert [other.message for other in info.other_causes] == ["shared"]
    assert info.other_causes[0].cause is None
