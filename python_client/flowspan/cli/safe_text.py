r"""Sanitised user text: no control sequences and no deceptive Unicode characters.

Names, messages, logs and values come from whoever ran a flow. Printed verbatim, they could move
the cursor, set the window title, forge a link, or reverse the text direction of adjacent lines.
`clean` removes such characters from text for people. `escape_json` writes them as ``\u``
escapes, so that JSON keeps every character.
"""

from __future__ import annotations

import json
import re

# Match whole sequences, so that a coloured word leaves "word" and not "[31mword[0m". A string
# sequence, such as a window title, ends at the first control character. An unterminated one
# loses only its introducer, and the expression runs in linear time.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    # OSC, DCS and similar: an introducer, a string, a terminator.
    r"|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"  # two-character escapes
)
_LINE_END = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Zero-width joiner and non-joiner are kept: emoji and several scripts need them.
_UNSEEN = (
    r"\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0001\ud800-\udfff"
)
_UNSAFE = re.compile(rf"[\x00-\x08\x0b-\x1f{_UNSEEN}]")
_UNSAFE_IN_JSON = re.compile(rf"[{_UNSEEN}]")  # json.dumps escapes those below 0x20
_NOT_ASCII = re.compile(r"[^\x00-\x7e]")
_HALF_PAIR = re.compile(r"[\ud800-\udbff](?![\udc00-\udfff])")
"""A high surrogate without its low half. jq rejects a document that contains its escape."""


def clean(text: str) -> str:
    """Return text, of one line or several, without control characters.

    Escape sequences are removed whole; other control and bidirectional characters are removed
    one by one. Tabs are kept. Every line ending becomes a newline. A lone surrogate, which
    cannot be encoded, becomes U+FFFD.
    """
    if text.isprintable():
        return text
    text = _LINE_END.sub("\n", _SEQUENCE.sub("", text))
    return _UNSAFE.sub(_replacement, text)


def one_line(text: str) -> str:
    """Return cleaned text on one line. Newlines and tabs become spaces."""
    if text.isprintable():
        return text
    return clean(text).replace("\n", " ").replace("\t", " ")


def escape_json(text: str, *, to_ascii: bool = False) -> str:
    """Return an equivalent JSON document that is safe to print, with unsafe characters escaped.

    A lone high surrogate becomes U+FFFD, because readers such as jq would reject the document.
    A lone low surrogate, as in a file name that is not UTF-8, is accepted everywhere and kept.

    Args:
        text: The document, as written by json.dumps with `ensure_ascii=False`.
        to_ascii: True to escape every non-ASCII character.
    """
    if text.isprintable() and (not to_ascii or text.isascii()):
        return text
    unsafe = _NOT_ASCII if to_ascii else _UNSAFE_IN_JSON
    text = _HALF_PAIR.sub("\ufffd", text)
    return unsafe.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _replacement(match: re.Match[str]) -> str:
    return "\ufffd" if "\ud800" <= match[0] <= "\udfff" else ""
