"""Serializers of results: `PickleSerializer`, `JSONSerializer`, `CompressedSerializer`.

Every serializer option accepts an instance or a short name: "pickle", "json", "compressed/pickle",
"compressed/json", or the `type` of a subclass of `Serializer`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from flowspan.core.failures import summary
from flowspan.core.result_options import OWN_SERIALIZERS
from flowspan.core.values import tagged_json
from flowspan.core.values.annotations import NotSet
from flowspan.exceptions import SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from flowspan.serializers.base import Serializer

_Unset: TypeAlias = type[NotSet]

__all__ = [
    "CompressedJSONSerializer",
    "CompressedPickleSerializer",
    "CompressedSerializer",
    "JSONSerializer",
    "PickleSerializer",
    "Serializer",
    "SerializerLike",
]


@runtime_checkable
class SerializerLike(Protocol):
    """The protocol of serializers: any class with these two methods.

    To read results without the flow that wrote them, the class should be importable and need no
    arguments.
    """

    def dumps(self, obj: Any) -> bytes:
        """Serialize a value.

        Raises:
            Exception: The value cannot be serialized.
        """

    def loads(self, blob: bytes) -> Any:
        """Deserialize a value that `dumps` serialized."""


class _OfOptions:
    """A serializer that equals another one of its class with the same options."""

    def __init_subclass__(cls) -> None:
        """Register a user's class under the name in its `type`."""
        name = cls.__dict__.get("type")
        if cls.__module__ != __name__ and isinstance(name, str) and name not in BY_TYPE:
            OWN_SERIALIZERS[name] = cls

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment] # its options may be unhashable


class PickleSerializer(_OfOptions):
    """A serializer for pickles, which support nearly every Python value.

    Reading a pickle runs code of its author: store results where only you can write.

    Args:
        picklelib: The module with `dumps` and `loads`. cloudpickle can also pickle functions and
            classes that are defined in the program itself.
        picklelib_version: Stored, but without effect.

    Raises:
        ValueError: The module does not exist, or has no `dumps` and `loads`.
    """

    type = "pickle"

    def __init__(
        self, picklelib: str = "cloudpickle", picklelib_version: str | None = None
    ) -> None:
        if picklelib not in {"cloudpickle", "pickle"}:
            _checked_library(picklelib, "picklelib", ("dumps", "loads"))
        self.picklelib = picklelib
        self.picklelib_version = picklelib_version

    def dumps(self, obj: Any) -> bytes:
        """Pickle a value.

        Raises:
            SerializationError: The value cannot be pickled; the message names its type.
        """
        library = pickle_module(self.picklelib)
        try:
            data: bytes = library.dumps(obj)
        except Exception as error:
            raise _refused(obj, self.type, error) from error
        return data

    def loads(self, blob: bytes) -> Any:
        """Unpickle a value."""
        return pickle_module(self.picklelib).loads(blob)

    def __repr__(self) -> str:
        return f"PickleSerializer({self.picklelib!r})"


class JSONSerializer(_OfOptions):
    """A serializer for JSON, which people and other languages can read.

    Besides JSON's own types, these are restored as they were: dates and times, UUIDs, Decimals,
    paths, enums, bytes, sets, named tuples, dataclasses, pydantic models and numpy scalars. Tuples
    become lists, and keys become strings. Models keep the record of which fields were set. Values
    that could not be restored faithfully are refused: instances of subclasses (of `str`, of
    `dict`), models with excluded fields, objects with state outside of their fields.

    Args:
        object_encoder: Called with each value that JSON does not support, instead of the above: a
            function, or its name ("builtins.str"). None refuses such values.
        object_decoder: Called with each object (a dictionary) that is read, instead of the above:
            a function or its name. None leaves dictionaries unchanged.
        dumps_kwargs: Further arguments of `json.dumps`, except `default`.
        loads_kwargs: Further arguments of `json.loads`, except `object_hook`.
        jsonlib: The module with `dumps` and `loads`.

    Raises:
        ValueError: An option has an invalid value.
    """

    type = "json"

    def __init__(
        self,
        object_encoder: Callable[[Any], Any] | str | _Unset | None = NotSet,
        object_decoder: Callable[[dict[str, Any]], Any] | str | _Unset | None = NotSet,
        dumps_kwargs: Mapping[str, Any] | None = None,
        loads_kwargs: Mapping[str, Any] | None = None,
        jsonlib: str = "json",
    ) -> None:
        _checked_library(jsonlib, "jsonlib", ("dumps", "loads"))
        self.jsonlib = jsonlib
        self.object_encoder = object_encoder
        self.object_decoder = object_decoder
        self.dumps_kwargs = {} if dumps_kwargs is None else dict(dumps_kwargs)
        self.loads_kwargs = {} if loads_kwargs is None else dict(loads_kwargs)
        if "default" in self.dumps_kwargs:
            raise ValueError("dumps_kwargs must not contain 'default': use object_encoder instead")
        if "object_hook" in self.loads_kwargs:
            raise ValueError(
                "loads_kwargs must not contain 'object_hook': use object_decoder instead"
            )
        for name in ("object_encoder", "object_decoder"):
            _function(getattr(self, name), name)

    def dumps(self, obj: Any) -> bytes:
        """Serialize a value as JSON in UTF-8.

        Raises:
            SerializationError: JSON cannot represent the value; the message names its type.
        """
        library = importlib.import_module(self.jsonlib)
        try:
            if self.object_encoder is NotSet:
                return tagged_json.dumps(obj, self.dumps_kwargs, library)
            options = dict(self.dumps_kwargs)
            if self.object_encoder is not None:
                options["default"] = _function(self.object_encoder, "object_encoder")
            data: str | bytes = library.dumps(obj, **options)
            return data.encode() if isinstance(data, str) else data
        except Exception as error:
            raise _refused(obj, self.type, error) from error

    def loads(self, blob: bytes) -> Any:
        """Deserialize a value."""
        decoder = _function(self.object_decoder, "object_decoder")
        if decoder is NotSet:
            decoder = tagged_json.decode
        library = importlib.import_module(self.jsonlib)
        return tagged_json.loads(blob, decoder, self.loads_kwargs, library)

    def __repr__(self) -> str:
        return "JSONSerializer()"


class CompressedSerializer(_OfOptions):
    """A serializer that compresses the output of another one.

    Args:
        serializer: The other serializer, or its short name.
        compressionlib: "zlib", "gzip", "lzma", "bz2", or another module with `compress` and
            `decompress`.

    Raises:
        ValueError: The module or serializer does not exist.
    """

    type = "compressed"

    def __init__(
        self, serializer: SerializerLike | str = "pickle", compressionlib: str = "zlib"
    ) -> None:
        _checked_library(compressionlib, "compressionlib", ("compress", "decompress"))
        self.serializer = get_serializer(serializer)
        self.compressionlib = compressionlib

    def dumps(self, obj: Any) -> bytes:
        """Serialize and compress a value.

        Raises:
            SerializationError: The other serializer cannot serialize the value.
        """
        data: bytes = importlib.import_module(self.compressionlib).compress(
            self.serializer.dumps(obj)
        )
        return data

    def loads(self, blob: bytes) -> Any:
        """Decompress and deserialize a value."""
        library = importlib.import_module(self.compressionlib)
        return self.serializer.loads(library.decompress(blob))

    def __repr__(self) -> str:
        return f"CompressedSerializer({self.serializer!r}, {self.compressionlib!r})"


class CompressedPickleSerializer(CompressedSerializer):
    """Compressed pickles; see `CompressedSerializer`."""

    type = "compressed/pickle"


class CompressedJSONSerializer(CompressedSerializer):
    """Compressed JSON; see `CompressedSerializer`."""

    type = "compressed/json"

    def __init__(
        self, serializer: SerializerLike | str = "json", compressionlib: str = "zlib"
    ) -> None:
        super().__init__(serializer, compressionlib)


BY_TYPE: dict[str, Callable[..., SerializerLike]] = {
    "pickle": PickleSerializer,
    "json": JSONSerializer,
    "compressed": CompressedSerializer,
    "compressed/pickle": CompressedPickleSerializer,
    "compressed/json": CompressedJSONSerializer,
}
"""The built-in serializers by name; those of `Serializer`'s subclasses are registered elsewhere."""


def __getattr__(name: str) -> Any:
    if name == "Serializer":  # pydantic is slow to import, and few programs need the class
        from flowspan.serializers.base import Serializer  # noqa: PLC0415 - see above

        return Serializer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def get_serializer(serializer: SerializerLike | str) -> SerializerLike:
    """Return the serializer for an option.

    Args:
        serializer: An instance, or one of the short names.

    Raises:
        ValueError: The name is unknown.
        TypeError: It is not a serializer.
    """
    if isinstance(serializer, str):
        return class_of_type(serializer)()
    if isinstance(serializer, type) or not isinstance(serializer, SerializerLike):
        raise TypeError(
            f"a serializer must be a name or an object with dumps and loads, not {serializer!r}"
        )
    return serializer


def class_of_type(name: str) -> Callable[..., SerializerLike]:
    """Return the serializer class with this name.

    Raises:
        ValueError: The name is unknown.
    """
    found: Callable[..., SerializerLike] | None = BY_TYPE.get(name) or OWN_SERIALIZERS.get(name)
    if found is None:
        known = ", ".join(map(repr, (*BY_TYPE, *OWN_SERIALIZERS)))
        raise ValueError(f"there is no serializer {name!r}; there are {known}")
    return found


def describe(serializer: SerializerLike) -> dict[str, Any]:
    """Return the description stored with a result, from which `from_description` restores it."""
    if type(serializer) is PickleSerializer:
        return {"type": "pickle", "picklelib": serializer.picklelib}
    if isinstance(serializer, CompressedSerializer) and type(serializer).__module__ == __name__:
        inner = describe(serializer.serializer)
        return {"type": "compressed", "compressionlib": serializer.compressionlib, "of": inner}
    if type(serializer) is JSONSerializer:
        return {"type": "json"}
    kind = type(serializer)
    described: dict[str, Any] = {"type": f"{kind.__module__}:{kind.__qualname__}"}
    if kind in OWN_SERIALIZERS.values() and hasattr(serializer, "model_dump"):
        own: Any = serializer
        options = own.model_dump(mode="json", exclude={"type"})
        if options:
            described["options"] = options
    return described


def from_description(
    description: Mapping[str, Any], known: SerializerLike | None = None
) -> SerializerLike:
    """Return the serializer that wrote a result.

    Args:
        description: The result of `describe`.
        known: The caller's serializer; used if its description is the same, because it may have
            options that are not part of the description.

    Raises:
        SerializationError: The serializer is not available here.
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
        return get_serializer(found(**dict(description.get("options") or {})))
    except Exception as error:
        raise SerializationError(
            f"The serializer {name!r}, which wrote the result, is not available here "
            f"({summary(error)}); make its class importable."
        ) from error


def short_name(serializer: SerializerLike) -> str:
    """Return the serializer's name for people, such as "compressed/json"."""
    if isinstance(serializer, CompressedSerializer):
        return f"compressed/{short_name(serializer.serializer)}"
    return str(describe(serializer)["type"])


def described_name(description: Mapping[str, Any]) -> str:
    """Return the `short_name` for a description, without loading the serializer."""
    kind = str(description.get("type"))
    of = description.get("of")
    return f"{kind}/{described_name(of)}" if kind == "compressed" and of else kind


def pickle_module(name: str) -> ModuleType:
    """Return the module for pickling; pickle if cloudpickle is not installed.

    Raises:
        ImportError: The module does not exist.
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


def _checked_library(name: str, option: str, functions: tuple[str, ...]) -> None:
    """Check that a module can be imported and has certain functions.

    Raises:
        ValueError: It cannot be imported, or lacks one of them.
    """
    try:
        library = importlib.import_module(name)
    except (ImportError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{option}={name!r} cannot be imported ({summary(error)})") from error
    missing = [each for each in functions if not callable(getattr(library, each, None))]
    if missing:
        raise ValueError(f"{option}={name!r} has no {' and no '.join(missing)}")


def _function(given: Any, option: str) -> Any:
    """Return the function for an option that is a function or its name; other values unchanged.

    Raises:
        ValueError: The function does not exist.
    """
    if not isinstance(given, str):
        if given is not None and given is not NotSet and not callable(given):
            raise ValueError(f"{option} must be a function or the name of one, not {given!r}")
        return given
    module, _, name = given.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{option}={given!r} cannot be imported ({summary(error)})") from error


def _refused(value: Any, name: str, error: Exception) -> SerializationError:
    kind = type(value)
    return SerializationError(
        f"The value of type {kind.__module__}.{kind.__qualname__} cannot be written as {name} "
        f"({summary(error)}). Return something else, or choose another "
        "result_serializer."
    )
