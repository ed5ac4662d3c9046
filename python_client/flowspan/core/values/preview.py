"""Previews of the arguments of task runs: short JSON, made without running users' code.

A preview shows which element a mapped run got. It is made for every task run, so plain values are
quick, and the cost of all others has a limit: of long texts and large containers, only the
beginning is read. Apart from that, the rules for the parameters of flows apply
(`flowspan.core.values.recording`). A value without a JSON form is shown as its type::

    {"row":17,"source":"s3://lake/2026/…","table":"<pandas.DataFrame>","ids":[1,2,"… 98 more"]}
"""

from __future__ import annotations

import json
from itertools import islice
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from flowspan.core.values.annotations import Annotation
from flowspan.core.values.inspection import is_instance, type_attribute, type_name
from flowspan.core.values.recording import UNKNOWN, container_of, known_form, shape_and_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowspan.core.values.record_shapes import Classes

    ShowOwn = Callable[[Any], str | None]

_SHORT_TEXT = 128
"""Texts up to this length, in characters, are written unchanged if there is room."""
_LARGE_NUMBER = 1 << 256
_INFINITY = float("inf")
_DEEPEST = 6
_LEAST_BYTES = 24
"""The room of an argument in a crowded preview, at least."""
_MORE_BYTES = 40
"""The room for the number of arguments that are left out."""
_LABEL_CHARACTERS = 100
_CONSTANTS = {None: "null", True: "true", False: "false"}

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def preview(
    names: Sequence[str],
    values: Sequence[Any],
    limit_bytes: int,
    show_own: ShowOwn = lambda _value: None,
) -> bytes:
    """Return the arguments of a call as one JSON object in UTF-8, shortened if necessary.

    Args:
        names: Their names, without duplicates.
        values: Their values, in the same order.
        limit_bytes: The largest size of the preview, at least 64.
        show_own: Returns the text for a value of flowspan's own classes, such as a future, and
            None for other values.
    """
    parts = []
    for name, value in zip(names, values, strict=True):
        kind = type(value)
        if kind is str and len(value) <= _SHORT_TEXT:
            text = encode_basestring(value)
        elif (kind is int and -_LARGE_NUMBER < value < _LARGE_NUMBER) or (
            kind is float and -_INFINITY < value < _INFINITY
        ):
            text = repr(value)
        elif kind is bool or value is None:
            text = _CONSTANTS[value]
        else:
            text = _written(value, limit_bytes, show_own)
        parts.append(f'"{name}":{text}' if name.isidentifier() else f"{_encode(name)}:{text}")
    data = _utf8(",".join(parts))
    if len(data) + 2 > limit_bytes:
        return _fitted(names, values, limit_bytes, show_own)
    return b"{%s}" % data


def _fitted(
    names: Sequence[str], values: Sequence[Any], limit_bytes: int, show_own: ShowOwn
) -> bytes:
    """Return a preview of arguments that need more room than there is: each gets a share."""
    room = limit_bytes - 2 - _MORE_BYTES
    parts: list[bytes] = []
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        left = len(names) - index
        key = _utf8(_encode(_shortened(name, _LABEL_CHARACTERS)))
        share = max(room // left - len(key) - 2, _LEAST_BYTES)
        part = b"%s:%s" % (key, _utf8(_written(value, share, show_own)))
        if len(part) + 1 > room:
            parts.append(_utf8(f'"…":"{left} more"'))
            break
        room -= len(part) + 1
        parts.append(part)
    return b"{%s}" % b",".join(parts)


def _written(value: Any, room_bytes: int, show_own: ShowOwn) -> str:
    """Return a value as JSON of a limited size; if nothing of it fits, its type."""
    try:
        room = room_bytes
        while room >= _LEAST_BYTES:
            text = _encode(_Reader(room, show_own).form(value, 1))
            if len(_utf8(text)) <= room_bytes:
                return text
            room //= 4
    except Exception:  # noqa: BLE001, S110 - changed by another thread, for example
        pass
    return _encode(_shortened(_label(value), min(_LABEL_CHARACTERS, room_bytes // 4)))


class _Reader:
    """Reads the beginning of a value.

    Args:
        room_bytes: The room for its JSON form, which determines how much is read.
        show_own: See `preview`.
    """

    def __init__(self, room_bytes: int, show_own: ShowOwn) -> None:
        self._text_length = max(room_bytes // 8, 8)
        self._items = max(room_bytes // 64, 3)
        self._left = max(room_bytes // 8, 4)
        """The number of values that may still be read."""
        self._show_own = show_own

    def form(self, value: Any, depth: int, declared: Classes = ()) -> Any:
        """Return the beginning of a value in terms of JSON.

        Args:
            value: The value.
            depth: Its depth, from 1.
            declared: The classes in the annotation of the model field that contains it.
        """
        self._left -= 1
        kind = type(value)
        if kind is str:
            return value if len(value) <= self._text_length else self._text(value)
        if value is None or kind is bool:
            return value
        if kind is int or kind is float:
            return _number(value)
        if kind is dict or kind is list or kind is tuple:
            return self._inner(value, depth, kind, declared)
        return self._other(value, depth, declared)

    def _other(self, value: Any, depth: int, declared: Classes) -> Any:
        """Return the beginning of a value that is of none of the types of JSON itself."""
        kind = type(value)
        is_secret = type_attribute(kind, "get_secret_value") is not None
        if issubclass(kind, str) and not is_secret:
            return self._text(value)
        own = self._show_own(value)
        if own is not None:
            return own
        if is_instance(value, Annotation):
            return self.form(Annotation.unwrap(value), depth, declared)
        if issubclass(kind, (bytes, bytearray)) and self._is_long(value):
            return _label(value)
        form = known_form(value)
        if form is not UNKNOWN:
            return self.form(form, depth + 1, declared) if depth < _DEEPEST else _label(value)
        return self._inner(value, depth, container_of(kind), declared)

    def _inner(self, value: Any, depth: int, container: Any, declared: Classes) -> Any:
        """Return the beginning of a container, or of a dataclass or model."""
        if depth >= _DEEPEST or self._left <= 0:
            return _label(value)
        depth += 1
        if container is None:
            return self._fields(value, depth, declared)
        if container is dict:
            return self._dict(value, depth, declared)
        if container is list or container is tuple:
            items = container.__getitem__(value, slice(self._items))
        else:
            items = list(islice(container.__iter__(value), self._items))
        forms = []
        for item in items:
            if self._left <= 0:
                break
            forms.append(self.form(item, depth, declared))
        more = container.__len__(value) - len(forms)
        return [*forms, f"… {more} more"] if more else forms

    def _dict(self, value: Any, depth: int, declared: Classes) -> Any:
        forms: dict[str, Any] = {}
        count = 0
        for key, item in islice(dict.items(value), self._items):
            if self._left <= 0:
                break
            shown = self.form(key, depth)
            forms[shown if type(shown) is str else _encode(shown)] = self.form(
                item, depth, declared
            )
            count += 1
        more = dict.__len__(value) - count
        return {**forms, "…": f"{more} more"} if more else forms

    def _fields(self, value: Any, depth: int, declared: Classes) -> Any:
        try:
            shape, parts = shape_and_parts(value, declared)
        except TypeError:
            return _label(value)
        forms: dict[str, Any] = {}
        for part in parts:
            if self._left <= 0 or len(forms) == self._items:
                forms["…"] = "more"
                break
            forms[part.name] = (
                _label(part.value)
                if part.is_hidden
                else self.form(part.value, depth, part.declared)
            )
        return forms.get("root") if shape.is_root else forms

    def _text(self, value: str) -> str:
        text: str = str.__getitem__(value, slice(self._text_length))
        return f"{text}…" if self._is_long(value) else text

    def _is_long(self, value: Any) -> bool:
        base: Any = next(each for each in (str, bytes, bytearray) if issubclass(type(value), each))
        return bool(base.__len__(value) > self._text_length)


def _number(value: float) -> Any:
    if type(value) is int:
        return value if -_LARGE_NUMBER < value < _LARGE_NUMBER else _label(value)
    if -_INFINITY < value < _INFINITY:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _label(value: Any) -> str:
    return f"<{type_name(type(value))}>"


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _utf8(text: str) -> bytes:
    # A lone surrogate becomes \udc80, which is how JSON escapes it, too.
    return text.encode("utf-8", "backslashreplace")
