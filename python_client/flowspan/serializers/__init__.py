"""How results become bytes: `PickleSerializer`, `JSONSerializer`, `CompressedSerializer`.

Wherever a serializer is asked for, an instance or a short name will do: "pickle", "json",
"compressed/pickle", "compressed/json", or the `type` of a subclass of `Serializer`.
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


class _OfOptions:
    """A serializer that is equal to another one of its class with the same options."""

    def __init_subclass__(cls) -> None:
        """Note a class of the user's under the name that it gives itself as its `type`."""
        name = cls.__dict__.get("type")
        if cls.__module__ != __name__ and isinstance(name, str) and name not in BY_TYPE:
            OWN_SERIALIZERS[name] = cls

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment] # its options may have none


class PickleSerializer(_OfOptions):
    """Pickles, which can hold nearly every Python value.

    Reading a pickle runs code of whoever wrote it: keep results where only you can write.

    Args:
        picklelib: The module whose `dumps` and `loads` are used. cloudpickle can also write
            functions and classes of the program itself.
        picklelib_version: Is kept, and has no effect.

    Raises:
        ValueError: There is no such module, or it has no `dumps` and `loads`.
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


class JSONSerializer(_OfOptions):
    """JSON, which people and other languages can read.

    Beside what JSON has: dates and times, UUIDs, Decimals, paths, enums, bytes, sets, named tuples,
    dataclasses, pydantic models and numpy's scalars come back as what they were. Tuples come back
    as lists, and keys as texts. Which fields of a model were set is kept. What else would not come
    back as what it was is refused: instances of subclasses (of `str`, of `dict`), models with
    fields that are left out, objects with state of their own outside of fields.

    Args:
        object_encoder: Called with each value that JSON does not know, instead of the above: a
            function, or its name ("builtins.str"). None refuses such values.
        object_decoder: Called with each object (a dictionary) that is read, instead of the above:
            a function or its name. None leaves dictionaries as they are.
        dumps_kwargs: Further arguments of `json.dumps`; no `default`.
        loads_kwargs: Further arguments of `json.loads`; no `object_hook`.
        jsonlib: The module whose `dumps` and `loads` are used.

    Raises:
        ValueError: An option has a value that it may not have.
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
            raise ValueError("dumps_kwargs may have no 'default': give object_encoder instead")
        if "object_hook" in self.loads_kwargs:
            raise ValueError("loads_kwargs may have no 'object_hook': give object_decoder instead")
        for name in ("object_encoder", "object_decoder"):
            _function(getattr(self, name), name)

    def dumps(self, obj: Any) -> bytes:
        """JSON in UTF-8.

        Raises:
            SerializationError: JSON cannot hold the value; the message says which type.
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
        """The value."""
        decoder = _function(self.object_decoder, "object_decoder")
        if decoder is NotSet:
            decoder = tagged_json.decode
        library = importlib.import_module(self.jsonlib)
        return tagged_json.loads(blob, decoder, self.loads_kwargs, library)

    def __repr__(self) -> str:
        return "JSONSerializer()"


class CompressedSerializer(_OfOptions):
    """Compresses what another serializer writes.

    Args:
        serializer: The other one, or its short name.
        compressionlib: "zlib", "gzip", "lzma", "bz2", or another module with `compress` and
            `decompress`.

    Raises:
        ValueError: There is no such module or serializer.
    """

    type = "compressed"

    def __init__(
        self, serializer: SerializerLike | str = "pickle", compressionlib: str = "zlib"
    ) -> None:
        _checked_library(compressionlib, "compressionlib", ("compress", "decompress"))
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
"""The serializers by what they are called; those of `Serializer`'s subclasses are elsewhere."""


def __getattr__(name: str) -> Any:
    if name == "Serializer":  # pydantic is slow to import, and few programs derive from it
        from flowspan.serializers.base import Serializer  # noqa: PLC0415 - see above

        return Serializer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def get_serializer(serializer: SerializerLike | str) -> SerializerLike:
    """The serializer that an option names.

    Args:
        serializer: An instance, or one of the short names.

    Raises:
        ValueError: There is none of that name.
        TypeError: It is no serializer.
    """
    if isinstance(serializer, str):
        return class_of_type(serializer)()
    if isinstance(serializer, type) or not isinstance(serializer, SerializerLike):
        raise TypeError(
            f"a serializer must be a name or an object with dumps and loads, not {serializer!r}"
        )
    return serializer


def class_of_type(name: str) -> Callable[..., SerializerLike]:
    """Return the class of serializers that is called by a name.

    Raises:
        ValueError: There is none.
    """
    found: Callable[..., SerializerLike] | None = BY_TYPE.get(name) or OWN_SERIALIZERS.get(name)
    if found is None:
        known = ", ".join(map(repr, (*BY_TYPE, *OWN_SERIALIZERS)))
        raise ValueError(f"there is no serializer {name!r}; there are {known}")
    return found


def describe(serializer: SerializerLike) -> dict[str, Any]:
    """What is written beside a result, so that `from_description` can find the serializer."""
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
        return get_serializer(found(**dict(description.get("options") or {})))
    except Exception as error:
        raise SerializationError(
            f"The serializer {name!r}, with which it was written, cannot be had here "
            f"({summary(error)}); make its class importable."
        ) from error


def short_name(serializer: SerializerLike) -> str:
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


def _checked_library(name: str, option: str, functions: tuple[str, ...]) -> None:
    """Check that a module can be imported and has functions.

    Raises:
        ValueError: It cannot be, or it has not.
    """
    try:
        library = importlib.import_module(name)
    except (ImportError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{option}={name!r} cannot be imported ({summary(error)})") from error
    missing = [each for each in functions if not callable(getattr(library, each, None))]
    if missing:
        raise ValueError(f"{option}={name!r} has no {' and no '.join(missing)}")


def _function(given: Any, option: str) -> Any:
    """Return the function that an option gives, by itself or by its name; else what it is.

    Raises:
        ValueError: There is no function of this name.
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
