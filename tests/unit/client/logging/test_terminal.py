"""Terminal output: text without control sequences, coloured by Python's own rules."""

from __future__ import annotations

import io
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from flowspan.logging.console import console_line, write_line
from flowspan.logging.record_facts import Facts, set_facts
from flowspan.logging.terminal import cleaned, is_coloured, painted


class Screen(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def run(name: str = "name", *, is_flow: bool = True) -> Any:
    definition = SimpleNamespace(is_flow=is_flow)
    return SimpleNamespace(record=SimpleNamespace(run_name=name), definition=definition)


def record(level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("x", level, "f", 1, "text", None, None)
    made.__dict__.update(extra)
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\n\ttext ünïcode 漢字 \N{PILE OF POO}", None),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b31m", r"\x9b31m"),
        ("over\rwritten", r"over\x0dwritten"),
        ("a line\r\nmore", "a line\nmore"),
        ("\a\b\0\x7f", r"\x07\x08\x00\x7f"),
        ("\u202eturned\u2066", r"\u202eturned\u2066"),
        ("a\u2028b", r"a\u2028b"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
    ],
)
def test_what_commands_a_terminal_is_written_out(text: str, expected: str | None) -> None:
    assert cleaned(text) == (text if expected is None else expected)


@pytest.mark.parametrize(
    ("environ", "on_screen", "in_pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
        ({"TERM": "xterm-256color"}, True, False),
    ],
)
def test_who_decides_about_colours(environ: dict[str, str], on_screen: bool, in_pipe: bool) -> None:
    assert is_coloured(Screen(), environ) == on_screen
    assert is_coloured(io.StringIO(), environ) == in_pipe


def test_a_stream_that_is_none_is_not_coloured() -> None:
    closed = io.StringIO()
    closed.close()
    assert not is_coloured(closed, {})
    assert not is_coloured(object(), {})


def test_a_coloured_line_says_the_same() -> None:
    made = record(logging.ERROR)
    set_facts(made, Facts(run(), state_name="Failed"))
    plain = console_line(run(), made, "Failed after 1 s.", coloured=False)
    coloured = console_line(run(), made, "Failed after 1 s.", coloured=True)
    assert "\x1b" not in plain
    for style in ("\x1b[31mERROR", "\x1b[31mFailed\x1b[0m after", "\x1b[35m'name'"):
        assert style in coloured
    assert plain.split(" | ", 1)[1] == "ERROR    | Flow run 'name' - Failed after 1 s.\n"
    assert painted("x", None, coloured=True) == "x"


@pytest.mark.parametrize("coloured", [True, False])
def test_nothing_of_a_run_commands_the_terminal(coloured: bool) -> None:
    line = console_line(run("\x1b[2J\x9b"), record(), "a\x1b[31mb\x9b", coloured=coloured)
    assert r"'\x1b[2J\x9b'" in line
    assert line.endswith("a\\x1b[31mb\\x9b\n")


@pytest.mark.parametrize(
    ("environ", "colours", "expected"),
    [({}, True, True), ({}, False, False), ({"NO_COLOR": "1"}, True, False)],
)
def test_lines_are_written_to_what_is_standard_error_now(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], colours: bool, expected: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    write_line(run(), record(), "text", colours=colours)
    assert ("\x1b" in screen.getvalue()) == expected


def test_a_program_without_standard_error_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    write_line(run(), record(), "text", colours=True)


def test_what_a_stream_cannot_encode_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(raw, "ascii", "strict"))
    write_line(run(), record(), "ünï \ud83d", colours=False)
    assert raw.getvalue().endswith(b"\\xfcn\\xef \\ud83d\n")
