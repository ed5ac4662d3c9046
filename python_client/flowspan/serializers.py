"""How results become bytes: `PickleSerializer`, `JSONSerializer`, `CompressedSerializer`.

Wherever a serializer is asked for, an instance or a short name will do: "pickle", "json",
"compressed/pickle", "compressed/json".
"""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from flowspan.core import tagged_json
from flowspan.core.failures import summary
from flowspan.exceptions import SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

__all__ = ["CompressedSerializer", "JSONSerializer", "PickleSerializer", "Serializer"]

_COMPRESSIONS = ("zlib", "gzip", "lzma", "bz2")


@runtime_checkable
class Serializer(Protocol):
    """What turns values into bytes and back. Any class with these two methods is one.

    So that results can be read without the flow that wrote them, such a class should be importable
    and need no arguments.
    """

    def dumps(self, obj: Any) -> bytes:
        """The value as bytes.

        Raises:
            Exception: It cannot be written so.
        """

    def loads(self, blob: bytes) -> Any:
        """The value of bytes that `dumps` gave."""


class PickleSerializer:
    """Pickles, which can hold nearly every Python value.

    Reading a pickle runs code of whoever wrote it: keep results where only you can write.

    Args:
        picklelib: The module whose `dumps` and `loads` are used. cloudpickle can also write
            functions and classes of the program itself.
    """

    type = "pickle"

    def __init__(self, picklelib: str = "cloudpickle") -> None:
        self.picklelib = picklelib

    def dumps(self, obj: Any) -> bytes:
        """The pickle.

        Raises:
            SerializationError: The value cannot be pickled; the message says which type.
        """
        library = pickle_module(self.picklelib)
        try:
            data: bytes = library.dumps(obj)
        except Exception as error:
            raise _refused(obj, self.type, error) from error
        return data

    def loads(self, blob: bytes) -> Any:
        """The value."""
        return pickle_module(self.picklelib).loads(blob)

    def __repr__(self) -> str:
        return f"PickleSerializer({self.picklelib!r})"


class JSONSerializer:
    """JSON, which people and other languages can read.

    Beside what JSON has: dates and times, UUIDs, Decimals, paths, enums, bytes, sets, named tuples,
    dataclasses, pydantic models and numpy's scalars come back as what they were. Tuples come back
    as lists, and keys as texts. Which fields of a model were set is kept. What else would not come
    back as what it was is refused: instances of subclasses (of `str`, of `dict`), models with
    fields that are left out, objects with state of their own outside of fields.

    Args:
        object_encoder: Called with each value that JSON does not know, instead of the above.
        object_decoder: Called with each object (a dictionary) that is read, instead of the above.
        dumps_kwargs: Further arguments of `json.dumps`.
        loads_kwargs: Further arguments of `json.loads`.
    """

    type = "json"

    def __init__(
        self,
        object_encoder: Callable[[Any], Any] | None = None,
        object_decoder: Callable[[dict[str, Any]], Any] | None = None,
        dumps_kwargs: Mapping[str, Any] | None = None,
        loads_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.object_encoder = object_encoder
        self.object_decoder = tagged_json.decode if object_decoder is None else object_decoder
        self.dumps_kwargs = {} if dumps_kwargs is None else dict(dumps_kwargs)
        self.loads_kwargs = {} if loads_kwargs is None else dict(loads_kwargs)

    def dumps(self, obj: Any) -> bytes:
        """JSON in UTF-8.

        Raises:
            SerializationError: JSON cannot hold the value; the message says which type.
        """
        try:
            if self.object_encoder is None:
                return tagged_json.dumps(obj, self.dumps_kwargs)
            return json.dumps(obj, **{"default": self.object_encoder, **self.dumps_kwargs}).encode()
        except Exception as error:
            raise _refused(obj, self.type, error) from error

    def loads(self, blob: bytes) -> Any:
        """The value."""
        return tagged_json.loads(blob, self.object_decoder, self.loads_kwargs)

    def __repr__(self) -> str:
        return "JSONSerializer()"


class CompressedSerializer:
    """Compresses what another serializer writes.

    Args:
        serializer: The other one, or its short name.
        compressionlib: "zlib", "gzip", "lzma" or "bz2".

    Raises:
        ValueError: The compression or the serializer is none of these.
    """

    type = "compressed"

    def __init__(
        self, serializer: Serializer | str = "pickle", compressionlib: str = "zlib"
    ) -> None:
        if compressionlib not in _COMPRESSIONS:
            known = ", ".join(_COMPRESSIONS)
            raise ValueError(f"compressionlib must be one of {known}, not {compressionlib!r}")
        self.serializer = get_serializer(serializer)
        self.compressionlib = compressionlib

    def dumps(self, obj: Any) -> bytes:
        """The compressed bytes.

        Raises:
            SerializationError: The other serializer cannot write the value.
        """
        data: bytes = importlib.import_module(self.compressionlib).compress(
            self.serializer.dumps(obj)
        )
        return data

    def loads(self, blob: bytes) -> Any:
        """The value."""
        library = importlib.import_module(self.compressionlib)
        return self.serializer.loads(library.decompress(blob))

    def __repr__(self) -> str:
        return f"CompressedSerializer({self.serializer!r}, {self.compressionlib!r})"


_BY_NAME: dict[str, Callable[[], Serializer]] = {
    "pickle": PickleSerializer,
    "json": JSONSerializer,
    "compressed/pickle": lambda: CompressedSerializer("pickle"),
    "compressed/json": lambda: CompressedSerializer("json"),
}


def get_serializer(serializer: Serializer | str) -> Serializer:
    """The serializer that an option names.

    Args:
        serializer: An instance, or one of the short names.

    Raises:
        ValueError: There is none of that name.
        TypeError: It is no serializer.
    """
    if isinstance(serializer, str):
        make = _BY_NAME.get(serializer)
        if make is None:
            known = ", ".join(map(repr, _BY_NAME))
            raise ValueError(f"there is no serializer {serializer!r}; there are {known}")
        return make()
    if isinstance(serializer, type) or not isinstance(serializer, Serializer):
        raise TypeError(
            f"a serializer must be a name or an object with dumps and loads, not {serializer!r}"
        )
    return serializer


def describe(serializer: Serializer) -> dict[str, Any]:
    """What is written beside a result, so that `from_description` can find the serializer."""
    if isinstance(serializer, PickleSerializer):
        return {"type": "pickle", "picklelib": serializer.picklelib}
    if isinstance(serializer, CompressedSerializer):
        inner = describe(serializer.serializer)
        return {"type": "compressed", "compressionlib": serializer.compressionlib, "of": inner}
    if type(serializer) is JSONSerializer:
        return {"type": "json"}
    kind = type(serializer)
    return {"type": f"{kind.__module__}:{kind.__qualname__}"}


def from_description(description: Mapping[str, Any], known: Serializer | None = None) -> Serializer:
    """The serializer that a result was written with.

    Args:
        description: What `describe` gave.
        known: The one that is at hand; taken if it is described alike, for it may have options
            that are not written down.

    Raises:
        SerializationError: There is no such serializer here.
    """
    if known is not None and describe(known) == dict(description):
        return known
    name = str(description.get("type"))
    if name == "pickle":
        return PickleSerializer(str(description.get("picklelib", "pickle")))
    if name == "json":
        return JSONSerializer()
    if name == "compressed":
        inner = from_description(description.get("of") or {})
        return CompressedSerializer(inner, str(description.get("compressionlib")))
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
        return get_serializer(found())
    except Exception as error:
        raise SerializationError(
            f"The serializer {name!r}, with which it was written, cannot be had here "
            f"({summary(error)}); make its class importable."
        ) from error


def short_name(serializer: Serializer) -> str:
    """The serializer's name for people: "compressed/json"."""
    if isinstance(serializer, CompressedSerializer):
        return f"compressed/{short_name(serializer.serializer)}"
    return str(describe(serializer)["type"])


def described_name(description: Mapping[str, Any]) -> str:
    """The `short_name` of the serializer that a description is of, without loading it."""
    kind = str(description.get("type"))
    of = description.get("of")
    return f"{kind}/{described_name(of)}" if kind == "compressed" and of else kind


def pickle_module(name: str) -> ModuleType:
    """The module for pickles; pickle where cloudpickle is not installed.

    Raises:
        ImportError: There is no such module.
        SerializationError: It has no `dumps` and `loads`.
    """
    try:
        library = importlib.import_module(name)
    except ImportError:
        if name != "cloudpickle":
            raise
        library = importlib.import_module("pickle")
    missing = [item for item in ("dumps", "loads") if not hasattr(library, item)]
    if missing:
        raise SerializationError(f"The module {name!r} has no {' and no '.join(missing)}.")
    return library


def _refused(value: Any, name: str, error: Exception) -> SerializationError:
    kind = type(value)
    return SerializationError(
        f"The value of type {kind.__module__}.{kind.__qualname__} cannot be written as {name} "
        f"({summary(error)}). Return something else, or choose another "
        "result_serializer."
    )
