r"""Text of users as it may be printed: without what a terminal, or its reader's eye, would obey.

Names, messages, logs and values come from whoever ran a flow. Printed as they are, they could move
the cursor, retitle the window, forge a link, or turn the reading direction of the lines around
them. `clean` takes that out of text for people; `escape_json` writes it as ``\u`` escapes, so that
JSON keeps every character that there is.
"""

from __future__ import annotations

import json
import re

# Whole sequences, so that a coloured word leaves the word and not "[31mword[0m". The contents of a
# string (a window's title, say) end at the first control character: what is not terminated loses
# its introducer alone, and the expression runs in linear time.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    # OSC, DCS and their like: an introducer, a string, a terminator.
    r"|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"  # the short ones
)
_LINE_END = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Zero-width joiner and non-joiner stay: emoji and several scripts are written with them.
_UNSEEN = (
    r"\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0001\ud800-\udfff"
)
_UNSAFE = re.compile(rf"[\x00-\x08\x0b-\x1f{_UNSEEN}]")
_UNSAFE_IN_JSON = re.compile(rf"[{_UNSEEN}]")  # json.dumps escapes those below 0x20
_NOT_ASCII = re.compile(r"[^\x00-\x7e]")
_HALF_PAIR = re.compile(r"[\ud800-\udbff](?![\udc00-\udfff])")
"""The first half of a surrogate pair without the second: jq refuses a document with its escape."""


def clean(text: str) -> str:
    """Return text without control characters, of one line or several.

    Escape sequences are removed whole, other control characters and marks of the reading direction
    one by one. Tabs stay. Every kind of line end becomes a newline. A lone surrogate, which no
    encoding can write, becomes U+FFFD.
    """
    if text.isprintable():
        return text
    text = _LINE_END.sub("\n", _SEQUENCE.sub("", text))
    return _UNSAFE.sub(_replacement, text)


def one_line(text: str) -> str:
    """Return cleaned text on one line: a line end or a tab becomes a space."""
    if text.isprintable():
        return text
    return clean(text).replace("\n", " ").replace("\t", " ")


def escape_json(text: str, *, to_ascii: bool = False) -> str:
    """Return a JSON document with the same content, safe to print: characters become escapes.

    The first half of a surrogate pair that stands alone becomes U+FFFD: readers such as jq would
    refuse the whole document. A second half alone, as in the name of a file that is no UTF-8, is
    read everywhere.

    Args:
        text: The document, as json.dumps makes it with `ensure_ascii=False`.
        to_ascii: Leave no other characters than those of ASCII.
    """
    if text.isprintable() and (not to_ascii or text.isascii()):
        return text
    unsafe = _NOT_ASCII if to_ascii else _UNSAFE_IN_JSON
    text = _HALF_PAIR.sub("\ufffd", text)
    return unsafe.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _replacement(match: re.Match[str]) -> str:
    return "\ufffd" if "\ud800" <= match[0] <= "\udfff" else ""
