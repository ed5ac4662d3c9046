"""Each frame of an exception is printed only once."""

from __future__ import annotations

import pickle
import sys
import threading
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import pytest

from flowspan.core.retries import RetryPolicy
from flowspan.core.tracebacks import trimmed, without_own_frames
from flowspan.logging import uncaught
from flowspan.logging.shown_tracebacks import SHOWN, first_line, rest_to_show, trace_to_show
from flowspan.logging.user_code import user_callers

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = "Traceback (most recent call last):"
_roots = count()


@pytest.fixture
def root() -> str:
    """Return the id of a new top-level run."""
    return f"root-{next(_roots)}"


def fail(message: str = "no") -> None:
    raise ValueError(message)


def caught(function: Callable[..., object], *args: object) -> BaseException:
    try:
        function(*args)
    except BaseException as error:  # noqa: BLE001 - the subject of the tests
        return error
    raise AssertionError("it did not raise")


def show(error: BaseException, root: str, *, on_stderr: bool = True) -> str:
    return trace_to_show(error, root, (), on_stderr=on_stderr)


def again(error: BaseException) -> BaseException:
    """Return the exception after it passed through one more function."""

    def outer() -> None:
        raise error

    return caught(outer)


def test_the_second_time_only_new_frames_are_shown(root: str) -> None:
    error = caught(fail)
    assert show(error, root).startswith(HEADER)
    assert show(error, root) == ""
    later = show(again(error), root)
    assert "in outer" in later
    assert HEADER not in later
    assert "in fail" not in later


def test_another_outermost_run_shows_it_anew(root: str) -> None:
    error = caught(fail)
    first = show(error, root)
    assert show(error, f"{root}-other") == first

    def wrap() -> None:
        raise KeyError("second") from error

    later = show(caught(wrap), f"{root}-third")
    assert "in fail" in later, "this run has not shown the cause above"
    assert "is above" not in later


def test_what_looks_the_same_is_shown_once_in_a_run(root: str) -> None:
    errors = [caught(fail) for _ in range(2)]  # For example, from two attempts.
    assert show(errors[0], root)
    assert show(errors[1], root) == ""
    assert show(caught(fail, "something else"), root)


def test_callers_are_shown_above(root: str) -> None:
    text = trace_to_show(caught(fail), root, user_callers(), on_stderr=True)
    assert text.index("in test_callers_are_shown_above") < text.index("in fail")
    assert "site-packages" not in text  # Frames of pytest, the caller of this function.


def test_causes_that_were_shown_take_a_line(root: str) -> None:
    def convert() -> None:
        try:
            fail()
        except ValueError as error:
            raise KeyError("k") from error

    error = caught(convert)
    assert error.__cause__ is not None
    show(error.__cause__, root)
    text = show(error, root)
    assert text.count(HEADER) == 1
    assert text.endswith("caused by:\nValueError: no (its traceback is above)")
    both = show(caught(convert), f"{root}-other")
    assert both.count(HEADER) == 2


def test_circles_and_deep_groups_end(root: str) -> None:
    first, second = caught(fail, "1"), caught(fail, "2")
    first.__cause__, second.__cause__ = second, first
    assert show(first, root).count(HEADER) == 2
    group: BaseException = caught(fail, "innermost")
    for _ in range(50):
        group = ExceptionGroup("g", [group])
    assert show(group, root)


def test_notes_are_shown_and_those_added_later_too(root: str) -> None:
    error = caught(fail)
    error.add_note("one")
    assert "\none" in show(error, root)
    error.add_note("two")
    assert show(error, root) == "two"


def test_syntax_errors_show_where(root: str) -> None:
    text = show(caught(compile, "a b", "f.py", "exec"), root)
    assert 'File "f.py", line 1' in text
    assert "^" in text


def test_many_frames_are_shortened(root: str) -> None:
    def ping(n: int) -> None:
        if n == 0:
            fail()
        pong(n - 1)

    def pong(n: int) -> None:
        ping(n)

    text = show(caught(ping, 100), root)
    assert "frames left out" in text
    assert len(text.splitlines()) < 70
    assert text.endswith("ValueError: no")


class HostileError(Exception):
    """An error that raises on any access."""

    def __str__(self) -> str:
        raise RuntimeError("str")

    def __setattr__(self, name: str, value: object) -> None:
        raise RuntimeError(name)


@dataclass(frozen=True)
class FrozenError(Exception):
    """An immutable error."""

    reason: str


class HidingGroup(ExceptionGroup[ValueError]):
    """An exception group that raises on access to its parts or its cause."""

    @property
    def exceptions(self) -> tuple[ValueError, ...]:
        raise RuntimeError("exceptions")

    @property
    def __cause__(self) -> None:  # type: ignore[override] # under test
        raise RuntimeError("cause")


def test_what_a_class_hides_is_shown(root: str) -> None:
    text = show(HidingGroup("group", [ValueError("part")]), root)
    assert "+---- 1 of 1 ----" in text
    assert "ValueError: part" in text


@pytest.mark.parametrize("make", [HostileError, lambda: FrozenError("x")])
def test_exceptions_need_not_be_kind(root: str, make: Callable[[], BaseException]) -> None:
    error = make()

    def throw() -> None:
        raise error

    assert "in throw" in show(caught(throw), root)
    assert without_own_frames(error) is error


def test_a_pickled_exception_takes_no_class_of_ours_along(root: str) -> None:
    error = caught(fail)
    show(error, root)
    assert SHOWN in vars(error)
    assert b"flowspan.logging" not in pickle.dumps(error)


def test_the_rest_of_an_uncaught_exception(root: str) -> None:
    error = caught(fail)
    assert rest_to_show(error) == ""  # Nothing was printed before.
    show(error, root, on_stderr=False)
    assert rest_to_show(error) == ""  # It was printed elsewhere.
    show(error, f"{root}-2")
    assert rest_to_show(error) == "ValueError: no"
    assert rest_to_show(again(error)).endswith("\nValueError: no")
    later = KeyError("k")
    later.__cause__ = error
    assert rest_to_show(later) == (
        "KeyError: 'k'\ncaused by:\nValueError: no (its traceback is above)"
    )


def test_hooks_of_others_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = lambda *_: None  # noqa: E731 - a hook
    monkeypatch.setattr(sys, "excepthook", mine)
    monkeypatch.setattr(threading, "excepthook", mine)
    uncaught.watch()
    assert sys.excepthook is mine
    assert threading.excepthook is mine


def test_pythons_hooks_are_replaced_and_put_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: str
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    uncaught.watch()
    assert sys.excepthook is not sys.__excepthook__
    error = caught(fail)
    show(error, root)
    sys.excepthook(type(error), error, error.__traceback__)
    assert capsys.readouterr().err == "ValueError: no\n"
    other = caught(fail, "not \x1b shown")
    sys.excepthook(type(other), other, other.__traceback__)
    assert capsys.readouterr().err.startswith(HEADER)
    uncaught.unwatch()
    assert sys.excepthook is sys.__excepthook__


def test_first_lines_are_short() -> None:
    assert first_line("one\ntwo") == "one"
    assert len(first_line("x" * 1000)) == 300


def test_trimming_keeps_every_frame_of_the_program() -> None:
    def callback(_: int) -> list[float]:
        fail()
        return []

    error = caught(RetryPolicy, 1, callback)
    names = []
    trace = trimmed(error.__traceback__)
    while trace is not None:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert names == ["caught", "callback", "fail"]
    assert trimmed(None) is None
