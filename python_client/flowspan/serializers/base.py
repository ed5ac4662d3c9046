"""`Serializer`, the base class of serializers that are registered by name."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from flowspan.core.result_options import OWN_SERIALIZERS
from flowspan.serializers import BY_TYPE, SerializerLike, class_of_type

_ModelMeta: Any = type(BaseModel)
_OWN: frozenset[Any] = frozenset(BY_TYPE.values())


class _Meta(_ModelMeta):  # type: ignore[misc] # pydantic's metaclass is internal
    def __instancecheck__(cls, instance: object) -> bool:  # noqa: N805 - in a metaclass
        if cls.__dict__.get("is_base"):
            return not isinstance(instance, type) and isinstance(instance, SerializerLike)
        return bool(super().__instancecheck__(instance))

    def __subclasscheck__(cls, kind: type) -> bool:  # noqa: N805 - in a metaclass
        if cls.__dict__.get("is_base") and not _OWN.isdisjoint(type.mro(kind)):
            return True
        return bool(super().__subclasscheck__(kind))


class Serializer(BaseModel, metaclass=_Meta):
    """Base class of serializers with options, registered under the name `type`.

    ::

        class Upper(Serializer):
            type: str = "upper"

            def dumps(self, obj): return str(obj).upper().encode()
            def loads(self, blob): return blob.decode().lower()

        @task(result_serializer="upper")
        def shout(): ...

    The options are pydantic fields, and are stored with each result. `Serializer(type=…)` creates
    any serializer by its name.

    Any object with `dumps` and `loads` is an instance of it.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    is_base: ClassVar[bool] = True

    type: str = "__base__"

    def __new__(cls, **options: Any) -> Any:
        """Return a serializer of the class that `type` names.

        Raises:
            ValueError: The name is unknown.
        """
        name = options.get("type")
        if cls is not Serializer or name is None:
            return super().__new__(cls)
        rest = {key: value for key, value in options.items() if key != "type"}
        made: Any = class_of_type(name)
        return made(**rest)

    def __init__(self, **options: Any) -> None:
        # Python calls it again for the instance of a subclass that `__new__` returned.
        if "type" not in self.__dict__:
            super().__init__(**options)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        name = cls.model_fields["type"].default
        if isinstance(name, str) and name not in BY_TYPE and name != "__base__":
            OWN_SERIALIZERS[name] = cls

    def dumps(self, obj: Any) -> bytes:
        """Serialize a value; subclasses must override it."""
        raise NotImplementedError

    def loads(self, blob: bytes) -> Any:
        """Deserialize a value; subclasses must override it."""
        raise NotImplementedError
