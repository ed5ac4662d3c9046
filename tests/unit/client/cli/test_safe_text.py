from __future__ import annotations

import json
import re
import shutil
import subprocess
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowspan.cli.json_output import line
from flowspan.cli.safe_text import clean, escape_json, one_line

SEEN = ["é", "日本語", "🎉", "👩‍🚀", "🏳️‍🌈", "e\u0301", "می‌خواهم", "\u3000", "\xa0", "￼", "\ue0b0"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[38;2;1;2;3mred\x1b[m", "red"),
        ("\x9b31mred\x9b0m", "red"),
        ("a\x1b[2J\x1b[Hb", "ab"),
        ("\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\", "text"),
        ("\x1b]8;;http://evil\x07text\x1b]8;;\x07", "text"),
        ("\x9d0;title\x9ctext", "text"),
        ("\x1b]0;no end", "0;no end"),
        ("\x1b]0;no end on its line\nnext\x07", "0;no end on its line\nnext"),
        ("\x1bPq#0\x1b\\x\x1b_apc\x1b\\y\x1b^pm\x1b\\z", "xyz"),
        ("\x1bc\x1b(0\x1b7a\x1b8\x1b=", "a"),
        ("\x1b[\x1b[31m31mred", "31mred"),
        ("\x1b", ""),
        ("a\x1b\x1b[31mb", "ab"),
        ("ab\b\bcd\x07\x00\x7f", "abcd"),
        ("one\r\ntwo\rthree\x85four\u2028five\u2029six\x0bseven\x0ceight", None),
        ("tab\tstays", "tab\tstays"),
        ("\u202eevil\u202c \u2066x\u2069 \u200e\u200f\u061c", "evil x "),
        ("zero\u200bwidth\ufeff\u2060\xad", "zerowidth"),
        ("lone \ud800 and \udfff", "lone \ufffd and \ufffd"),
        ("[red]markup[/] :smile: stays", "[red]markup[/] :smile: stays"),
        *((text, text) for text in SEEN),
    ],
)
def test_clean(text: str, shown: str | None) -> None:
    if shown is None:
        shown = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight"
    assert clean(text) == shown
    assert one_line(text) == shown.replace("\n", " ").replace("\t", " ")


@given(st.text(st.characters(codec=None)))
@example("\x1b[\x1b[2J2J")
@example("\x1b]\x1b]0;x\x07;y\x07")
@example("\x9b\x9b1m1m")
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    for shown in (clean(text), one_line(text)):
        left = {unicodedata.category(char) for char in shown if char not in "\n\t"}
        assert not left & {"Cc", "Cs", "Zl", "Zp"}
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]", shown)
        shown.encode()
        assert clean(shown) == shown
    assert "\n" not in one_line(text)


SURROGATES = ["\ud800", "\udbff", "\udc00", "\udcff", "\udfff"]
FOLLOWING = ["", "\x1b", "\n", "x", "\\", '"', "\\ud800", "\x7f", "é", "\u202e", "\U0001f600"]
BROKEN = [
    start + first + second + after
    for start in ("", "x")
    for first in SURROGATES
    for second in ("", *SURROGATES)
    for after in FOLLOWING
]


def read_back(text: str) -> str:
    """Return the text after a JSON round trip: surrogate pairs joined, lone high ones replaced."""
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return re.sub("[\ud800-\udbff]", "\ufffd", joined)


@pytest.mark.parametrize("to_ascii", [False, True])
@given(text=st.text(st.characters(codec=None) | st.sampled_from(SURROGATES)))
def test_json_loses_no_character_and_is_safe(text: str, to_ascii: bool) -> None:
    document = escape_json(json.dumps({text: [text]}, ensure_ascii=False), to_ascii=to_ascii)
    assert json.loads(document) == {read_back(text): [read_back(text)]}
    assert clean(document) == document
    assert document.isascii() or not to_ascii
    document.encode()


@pytest.mark.parametrize("to_ascii", [False, True])
def test_jq_reads_every_line_whatever_is_in_it(to_ascii: bool) -> None:
    jq = shutil.which("jq")
    if jq is None:
        pytest.skip("jq is not installed")
    lines = [line({text: text, "a": [text]}, escaped=to_ascii) for text in BROKEN]
    done = subprocess.run(
        [jq, "-c", ".a[0]"], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    read = [json.loads(each) for each in done.stdout.splitlines()]
    assert read == [re.sub("[\ud800-\udfff]", "\ufffd", read_back(text)) for text in BROKEN]


def test_a_long_text_of_beginnings_takes_no_time_to_speak_of() -> None:
    """A quadratic expression would take hours here and exceed the test's time limit."""
    for beginning in ("\x1b]", "\x9d", "\x1b[", "\x9b", "\x1bP", "\x1b ", "\x9b0"):
        clean(beginning * 100_000)
        clean(beginning + "0" * 100_000)
