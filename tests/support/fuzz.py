"""Random requests generated from the descriptors: valid, at the limits, and malformed.

Each request is derived from a seed, and the same seed gives the same requests. Fields that refer to
something mostly get a meaningful value (the id of an existing run, a time, a name), so that
requests get past the validation. Sometimes they get any value of their type.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

_INTEGERS = {
    32: [0, 1, 2, 3, 6, 9, 99, -1, 2**15, 2**31 - 1, -(2**31)],
    64: [0, 1, 5, -1, 2**31, 2**53, 253_402_300_799, 2**62, 2**63 - 1, -(2**63)],
}
_TEXTS = [
    *("", "x", "\0", "a\0b", "%", "_", "'; DROP TABLE run; --", "𝄞" * 70, "\u202e", "\ufffe"),
    *("-" * 40, "a" * 33, "f" * 36, "0" * 32, "\U0010ffff", "é" * 300, "\x1b[2J", "a/b", "../x"),
]
_HEX_DIGITS = {"trace_id": 32, "span_id": 16, "parent_span_id": 16}
_BIG_TEXT = 40_000
_MANY = 150


class Fuzzer:
    """Generates requests.

    Args:
        seed: The seed of the random generator.

    Attributes:
        ids: Ids of existing objects.
        names: Existing names, keys and similar values.
        tokens: Tokens that the service issued.
        left_out: The share of fields that are left unset.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.ids: list[str] = []
        self.names: list[str] = ["f", "key", "tag", "Running", "link"]
        self.tokens: list[str] = [""]
        self.left_out = 0.1

    def message(self, descriptor: Any) -> Message:
        """Generate a message of a type."""
        self.left_out = self.chance.choice([0.01, 0.03, 0.1, 0.4])
        found = GetMessageClass(descriptor)()
        self.fill(found)
        return found

    def fill(self, message: Any, depth: int = 0) -> None:
        """Set some of the fields of a message and of its nested messages."""
        if message.DESCRIPTOR.full_name == "google.protobuf.Timestamp":
            message.seconds, message.nanos = self._time()
            return
        if message.DESCRIPTOR.full_name == "google.protobuf.Duration":
            message.seconds = self._integer(64)
            message.nanos = self.chance.choice([0, 0, 1, 999_999_999, -1, 2**31 - 1])
            return
        chosen = {one.name: self.chance.choice(one.fields) for one in message.DESCRIPTOR.oneofs}
        for field in message.DESCRIPTOR.fields:
            one = field.containing_oneof
            if one is not None and chosen[one.name] is not field:
                continue
            if self.chance.random() < (self.left_out if depth < 6 else 0.5):
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                self._fill_map(getattr(message, field.name), field.message_type)
            elif field.message_type is not None:
                self._fill_message(message, field, depth)
            elif field.is_repeated:
                count = self.chance.choice([0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 3, 64, _MANY])
                values = [self.value(field) for _ in range(min(count, 3))]
                getattr(message, field.name).extend(values * (count // 3 + 1) if values else [])
            else:
                setattr(message, field.name, self.value(field))

    def bytes_of(self, message: Message) -> bytes:
        """Return the serialized message; sometimes corrupted."""
        data = message.SerializeToString()
        if self.chance.random() < 0.8:
            return data
        return self.chance.choice([self._flip, self._cut, self._repeat, self._insert])(data)

    def value(self, field: Any) -> Any:
        """Generate a value for a scalar field."""
        kinds: dict[int, Callable[[], Any]] = {
            field.CPPTYPE_BOOL: lambda: self.chance.random() < 0.5,
            field.CPPTYPE_INT32: lambda: self._number(field.name, 32),
            field.CPPTYPE_INT64: lambda: self._number(field.name, 64),
            field.CPPTYPE_UINT32: lambda: abs(self._integer(32)),
            field.CPPTYPE_UINT64: lambda: abs(self._integer(64)),
            field.CPPTYPE_DOUBLE: self.chance.random,
            field.CPPTYPE_FLOAT: self.chance.random,
            field.CPPTYPE_ENUM: lambda: self._enum(field),
        }
        if field.cpp_type != field.CPPTYPE_STRING:
            return kinds[field.cpp_type]()
        if field.type == field.TYPE_BYTES:
            return self._data()
        return self._text(field.name)

    def _fill_message(self, message: Any, field: Any, depth: int) -> None:
        if depth > 20:
            return
        if not field.is_repeated:
            inner = getattr(message, field.name)
            inner.SetInParent()
            self.fill(inner, depth + 1)
            return
        counts = [1, 1, 2, 5, 20]
        if field.message_type is message.DESCRIPTOR:
            # Less than one on average: a tree of messages would grow without an end.
            counts = [*[0] * 22, *[1] * 5, 2, 2, 10]
        for _ in range(self.chance.choice(counts)):
            self.fill(getattr(message, field.name).add(), depth + 1)

    def _fill_map(self, entries: Any, entry_type: Any) -> None:
        key, value = entry_type.fields
        for _ in range(self.chance.choice([0, 1, 1, 1, 2, 3, _MANY])):
            entries[self.value(key)] = self.value(value)

    def _time(self) -> tuple[int, int]:
        if self.chance.random() < 0.95:
            last = self.chance.choice([1, 1_700_000_000, 253_402_300_799])
            return self.chance.randint(last // 2, last), self.chance.randint(0, 999_999_999)
        return self._integer(64), self._integer(32)

    def _integer(self, bits: int) -> int:
        return self.chance.choice(_INTEGERS[bits])

    def _number(self, name: str, bits: int) -> int:
        if self.chance.random() < 0.95:
            usual = {"page_size": 10, "first_sequence": 1, "attempt": 3, "level": 20}
            return self.chance.randint(0, usual.get(name, 3))
        return self._integer(bits)

    def _enum(self, field: Any) -> int:
        known = [value.number for value in field.enum_type.values]
        if self.chance.random() < 0.95:
            return self.chance.choice(known[1:])
        return self.chance.choice([known[0], 99, 2**31 - 1, -1])

    def _data(self) -> bytes:
        if self.chance.random() < 0.9:
            return json.dumps(self.chance.choice([None, 1, "x", [], {}, {"a": [1]}])).encode()
        return self.chance.choice([b"", b"\0", b"\xff\xfe", b"NaN", b"[" * 5000, bytes(_BIG_TEXT)])

    def _text(self, name: str) -> str:
        if self.chance.random() < 0.05:
            return self.chance.choice([*_TEXTS, "m" * _BIG_TEXT, *self.ids])
        if name in _HEX_DIGITS:
            return f"{self.chance.getrandbits(4 * _HEX_DIGITS[name]):0{_HEX_DIGITS[name]}x}"
        if name in {"key", "key_prefix"}:
            return self.chance.choice(["key", "another-key"])
        if name == "id" or name.endswith("_id"):
            return self.chance.choice(self.ids) if self.ids else ""
        if name.endswith("token"):
            return self.chance.choice(self.tokens)
        if name in {"id_prefix", "id_suffix"}:
            some, size = self.chance.choice(self.ids or ["0" * 36]), self.chance.randint(0, 36)
            return some[:size] if name == "id_prefix" else some[36 - size :]
        usual = {
            "traceparent": f"00-{self.chance.getrandbits(128):032x}-{'b' * 16}-01",
            "encoding": "json",
            "tracestate": "",
        }
        return usual.get(name) or self.chance.choice(self.names)

    def _flip(self, data: bytes) -> bytes:
        changed = bytearray(data or b"\0")
        for _ in range(self.chance.randint(1, 4)):
            changed[self.chance.randrange(len(changed))] = self.chance.randrange(256)
        return bytes(changed)

    def _cut(self, data: bytes) -> bytes:
        return data[: self.chance.randint(0, len(data))]

    def _repeat(self, data: bytes) -> bytes:
        return data * self.chance.choice([2, 3, 50])

    def _insert(self, data: bytes) -> bytes:
        at = self.chance.randint(0, len(data))
        return data[:at] + self.chance.randbytes(self.chance.randint(1, 20)) + data[at:]
