from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from flowspan import serializers
from flowspan.core.keys.hashing import stable_hash
from flowspan.exceptions import HashError, SerializationError
from flowspan.results import ResultStore
from flowspan.serializers import (
    CompressedSerializer,
    JSONSerializer,
    PickleSerializer,
    Serializer,
    get_serializer,
)

NAMES = ["pickle", "json", "compressed/pickle", "compressed/json"]

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=10,
)


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: int
    when: date
    made: str = field(init=False, default="here")


class Model(BaseModel):
    point: Point
    at: datetime


class Reversed:
    """A custom serializer."""

    def dumps(self, obj: Any) -> bytes:
        return str(obj).encode()[::-1]

    def loads(self, blob: bytes) -> Any:
        return blob[::-1].decode()


class Shifted(Serializer):
    """A custom serializer with a type name and an option."""

    type: str = "shifted-by"
    by: int = 1

    def dumps(self, obj: Any) -> bytes:
        return str(obj + self.by).encode()

    def loads(self, blob: bytes) -> Any:
        return int(blob) - self.by


@pytest.mark.parametrize("name", NAMES)
@given(value=PLAIN)
def test_what_is_written_is_read(name: str, value: Any) -> None:
    serializer = get_serializer(name)
    assert serializer.loads(serializer.dumps(value)) == value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value",
    [
        Point(1, date(2026, 3, 1)),
        Model(point=Point(2, date(2026, 3, 2)), at=datetime(2026, 3, 1, tzinfo=UTC)),
        [Colour.RED, {"a": (time(1, 2), timedelta(1, 2, 3))}],
        {"path": Path("/tmp/x"), "set": {1, 2}, "frozen": frozenset("ab"), "z": 1 + 2j},  # noqa: S108
        [Decimal("1.10"), UUID(int=7), bytearray(b"\xff"), math.inf],
    ],
    ids=["dataclass", "model", "nested", "objects", "values"],
)
def test_objects_come_back_as_what_they_were(name: str, value: Any) -> None:
    serializer = get_serializer(name)
    found = serializer.loads(serializer.dumps(value))
    if name.endswith("json") and isinstance(value, list) and isinstance(value[1], dict):
        value = [value[0], {"a": list(value[1]["a"])}]  # The documented example.
    assert found == value
    assert type(found) is type(value)


def test_json_never_makes_anything_but_data() -> None:
    read = JSONSerializer().loads
    with pytest.raises(ValueError, match="cannot be restored from JSON"):
        read(b'{"$python": "subprocess:Popen", "value": "true"}')
    with pytest.raises(ValueError, match="is not a class"):
        read(b'{"$python": "os:system", "value": "true"}')
    assert read(b'{"$python": 1, "value": 2}') == {"$python": 1, "value": 2}


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_written_says_so(name: str) -> None:
    with pytest.raises(SerializationError, match="generator"):
        get_serializer(name).dumps(each for each in ())


def test_json_may_be_told_how() -> None:
    serializer = JSONSerializer(
        object_encoder=lambda value: {"?": type(value).__name__},
        object_decoder=lambda found: found.get("?", found),
        dumps_kwargs={"indent": 1},
        loads_kwargs={"parse_int": str},
    )
    assert serializer.dumps({"a": 1}) == b'{\n "a": 1\n}'
    assert serializer.loads(serializer.dumps([object(), 1])) == ["object", "1"]


@pytest.mark.parametrize("library", ["zlib", "gzip", "lzma", "bz2"])
def test_compression(library: str) -> None:
    serializer = CompressedSerializer("json", compressionlib=library)
    data = serializer.dumps("a" * 10_000)
    assert len(data) < 1000
    assert serializer.loads(data) == "a" * 10_000


def test_names_and_instances_and_nothing_else() -> None:
    own = Reversed()
    assert isinstance(own, Serializer)
    assert get_serializer(own) is own
    with pytest.raises(ValueError, match="compressed/json"):
        get_serializer("xml")
    with pytest.raises(TypeError, match="dumps and loads"):
        get_serializer(Reversed)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'zip' cannot be imported"):
        CompressedSerializer(compressionlib="zip")
    with pytest.raises(ValueError, match="json' has no compress and no decompress"):
        CompressedSerializer(compressionlib="json")


def test_options_of_json() -> None:
    with pytest.raises(ValueError, match="object_encoder"):
        JSONSerializer(dumps_kwargs={"default": str})
    with pytest.raises(ValueError, match="object_decoder"):
        JSONSerializer(loads_kwargs={"object_hook": str})
    for option in ("object_encoder", "object_decoder", "jsonlib"):
        with pytest.raises(ValueError, match="cannot be imported"):
            JSONSerializer(**{option: "no.such"})
    assert JSONSerializer(object_encoder="builtins.str").dumps(1j) == b'"1j"'
    with pytest.raises(SerializationError):
        JSONSerializer(object_encoder=None).dumps(1j)


def test_another_library_for_json(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bytes:
        """A JSON library that writes bytes and has no `object_hook`, like orjson."""

        @staticmethod
        def dumps(value: Any) -> bytes:
            return json.dumps(value).encode()

        @staticmethod
        def loads(data: bytes) -> Any:
            return json.loads(data)

    monkeypatch.setitem(sys.modules, "bytes_json", Bytes)
    serializer = JSONSerializer(jsonlib="bytes_json")
    value = {"day": date(2026, 1, 2), "more": [{1, 2}]}
    assert serializer.loads(serializer.dumps(value)) == value
    plain = JSONSerializer(jsonlib="bytes_json", object_decoder=None)
    assert plain.loads(b'{"a": 1}') == {"a": 1}


def test_own_serializers_are_read_with_their_options(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, serializer=Shifted(by=3))
    store.write(1, "k")
    assert ResultStore(tmp_path).read("k").result == 1
    assert ResultStore(tmp_path, serializer="shifted-by").read("k").result == 1
    assert Serializer(type="shifted-by", by=2) == Shifted(by=2)
    with pytest.raises(ValueError, match="there is no serializer 'none-such'"):
        Serializer(type="none-such")


@pytest.mark.parametrize(
    "serializer",
    [
        PickleSerializer("pickle"),
        JSONSerializer(),
        CompressedSerializer(CompressedSerializer("json", "lzma"), "gzip"),
        Reversed(),
    ],
    ids=["pickle", "json", "compressed", "own"],
)
def test_a_serializer_is_found_by_its_description(serializer: Serializer) -> None:
    description = serializers.describe(serializer)
    found = serializers.from_description(description)
    assert type(found) is type(serializer)
    assert found.loads(serializer.dumps("abc")) == "abc"
    assert serializers.from_description(description, serializer) is serializer


def test_a_serializer_that_is_not_there() -> None:
    with pytest.raises(SerializationError, match="make its class importable"):
        serializers.from_description({"type": "nowhere:Serializer"})


class SilentError(Exception):
    """An error without a message, like a bare `raise KeyError`."""


class Refusing:
    """A value and serializer that raise an error without a message."""

    def __init__(self) -> None:
        raise SilentError

    def __reduce__(self) -> Any:
        raise SilentError


def test_an_error_without_text_is_named_in_messages() -> None:
    here = f"{__name__}:Refusing"
    with pytest.raises(SerializationError, match=r"\([\w.]*SilentError\)"):
        serializers.from_description({"type": here})
    with pytest.raises(SerializationError, match=r"\([\w.]*SilentError\)\. Return"):
        PickleSerializer().dumps(object.__new__(Refusing))
    with pytest.raises(HashError, match=r"\([\w.]*SilentError\)"):
        stable_hash(object.__new__(Refusing))
