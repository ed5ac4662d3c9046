"""Argument validation with pydantic, for each parameter separately.

pydantic is imported only when a value does not already have the type of its annotation: the import
would take a large part of the startup time of a small program.

No annotation makes a function uncallable. A value that pydantic cannot check is passed on
unchanged, and a warning says so the first time.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import sys
import types
import typing
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flowspan.core.functions import wrapped_function
from flowspan.core.pickling import FunctionReference, loaded_function, portable_function
from flowspan.core.type_hints import (
    Unresolved,
    annotation_text,
    global_names,
    signature_of,
    type_hints,
)
from flowspan.core.values.inspection import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import TypeAdapter

_EXACT = (int, str, float, bool, bytes, complex, type(None))
"""Types whose exact instances need no validation."""

_EXACT_AS_FLOAT = 2**53
"""The largest integer up to which every integer has an exact float."""

_FILES = (typing.IO, typing.TextIO, typing.BinaryIO)
"""Classes that exist only for type checkers: a file from `open` is not an instance of them."""

_MAX_SHOWN = 120
_NOT_CHECKED = (
    "parameter {name!r} is not validated: its annotation {annotation} cannot be checked ({reason})."
    " Its values are passed on unchanged. {advice}"
)
_NOT_APPLIED = (
    "parameter {name!r} is not validated where it is of type {kind}: pydantic cannot apply its "
    "annotation {annotation} to such values. They are passed on unchanged. {advice}"
)
_ADVICE = (
    "To have them validated, annotate it with a type that pydantic knows; to do without, annotate "
    "it with typing.Any, or use @flow(validate_parameters=False)."
)
_ADVICE_FOR_NAMES = (
    "To have them validated, import or define its names where the function is defined, "
    "not only for type checkers."
)


_NOT_OF_FUNCTION = (
    "the arguments of a call are not validated: they fit the wrapper around the function "
    "(functools.wraps) but not the function itself, so their parameters are not known. They are "
    "passed on as they are. To have them validated, pass them by keyword."
)


class NotCheckable(Exception):  # noqa: N818 - it is not an error of the user's
    """pydantic cannot check an annotation; the message gives the reason."""


class Checks:
    """Validators for the parameters of a function and of methods bound to it.

    Args:
        fn: The function. Its annotations are evaluated only when a value has to be checked.
        names: The values of names that the annotations use, from the enclosing scopes; see
            `flowspan.core.type_hints.outer_names`.
    """

    def __init__(self, fn: Callable[..., Any], names: Mapping[str, Any] | None = None) -> None:
        self._fn = fn
        self.names = dict(names or {})
        self._checks: dict[str, Check] | None = None
        self._warnings: list[str] = []
        self._told: set[str] = set()
        """Every warning so far: two threads may meet the same annotation at the same time."""

    def __getstate__(self) -> dict[str, Any]:
        fn = portable_function(self._fn)
        is_by_name = isinstance(fn, FunctionReference)
        names = self.names if is_by_name else {**global_names(self._fn), **self.names}
        return {"_fn": fn, "names": names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(loaded_function(state["_fn"]), state["names"])  # type: ignore[misc] # as if new

    def get(self, name: str) -> Check | None:
        """Return the check of a parameter; None if it accepts any value."""
        if self._checks is None:
            self._checks = self._make()
        return self._checks.get(name)

    def warn_of_wrapper(self) -> None:
        """Warn once about a call whose arguments cannot be matched to checked parameters."""
        if self._checks is None:
            self._checks = self._make()
        if self._checks:
            self._warn(_NOT_OF_FUNCTION)

    def take_warnings(self) -> list[str]:
        """Return the pending warnings about annotations that cannot be checked, and clear them."""
        told: list[str] = []
        while self._warnings:
            with suppress(IndexError):  # another thread took it
                told.append(self._warnings.pop(0))
        return told

    def _make(self) -> dict[str, Check]:
        hints = type_hints(self._fn, self.names)
        parameters = signature_of(wrapped_function(self._fn)).parameters
        checks = {}
        for name, hint in hints.items():
            parameter = parameters.get(name)
            if hint is Any or hint is object:
                continue
            if parameter is not None and parameter.kind in _VARIADIC:
                continue  # collected arguments are passed on unchanged, as in Prefect
            annotation = hint if parameter is None else parameter.annotation
            checks[name] = Check(name, hint, annotation_text(annotation), self._warn)
        for name, parameter in parameters.items():
            if type(parameter.default).__name__ == "FieldInfo":
                hint = hints.get(name, Any)
                hint = Any if isinstance(hint, Unresolved) else hint
                constrained: Any = typing.Annotated[hint, parameter.default]
                text = annotation_text(hint)
                checks[name] = Check(name, constrained, text, self._warn)
        return checks

    def _warn(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._warnings.append(text)


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Check:
    """A validator for the values of one parameter.

    Args:
        name: The parameter.
        hint: Its evaluated annotation.
        annotation: The annotation as written, for warnings.
        warn: Receives the warning that the annotation cannot be checked.
    """

    def __init__(
        self, name: str, hint: Any, annotation: str, warn: Callable[[str], object]
    ) -> None:
        self._name = name
        self._hint = hint
        self._annotation = annotation
        self._warn = warn
        self._exact = _exact_types(hint)
        self._adapter: TypeAdapter[Any] | None = None
        self._is_off = False
        self._is_told = False

    def __call__(self, label: str, value: Any, problems: list[str]) -> Any:
        """Return the coerced value. If it does not fit, add to `problems` and return it unchanged.

        Args:
            label: The name of the value in problems.
            value: The value.
            problems: Receives the descriptions of problems.

        Raises:
            Exception: An error raised by a validator of the user.
        """
        if self._is_off or type(value) in self._exact:
            return value
        if type(value) is int and self._hint is float and abs(value) <= _EXACT_AS_FLOAT:
            return float(value)  # such defaults are common, and need no pydantic
        # Imported here for startup time: see the module docstring.
        from pydantic import PydanticUserError, ValidationError  # noqa: PLC0415 - as above

        if self._adapter is None:
            try:
                self._adapter = _made_adapter(self._hint)
            except NotCheckable as error:
                self._switch_off(str(error))
                return value
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_context=False, include_input=False):
                inside = "".join(f"[{part!r}]" for part in item["loc"])
                problems.append(f"parameter {label!r}{inside}: {item['msg']} (got {_shown(value)})")
            return value
        except PydanticUserError as error:  # the class is not fully defined
            self._switch_off(_first_line(error))
            return value
        except (TypeError, AttributeError) as error:  # depends on pydantic's version
            if not _is_of_pydantic(error):
                raise
            self._tell_of_type(type(value))
            return value

    def _tell_of_type(self, kind: type) -> None:
        """Warn once that the annotation does not apply to values of this type."""
        # pydantic's own message would show the value.
        if not self._is_told:
            self._is_told = True
            self._warn(
                _NOT_APPLIED.format(
                    name=self._name,
                    kind=type_name(kind),
                    annotation=self._annotation,
                    advice=_ADVICE,
                )
            )

    def _switch_off(self, reason: str) -> None:
        self._is_off = True
        advice = _ADVICE_FOR_NAMES if isinstance(self._hint, Unresolved) else _ADVICE
        self._warn(
            _NOT_CHECKED.format(
                name=self._name, annotation=self._annotation, reason=reason, advice=advice
            )
        )


def _exact_types(hint: Any) -> tuple[type, ...]:
    """Return the types whose exact instances an annotation accepts without validation.

    For an optional type this includes NoneType, whatever the other members are: pydantic tries
    None first.
    """
    is_union = typing.get_origin(hint) in {typing.Union, types.UnionType}
    members = typing.get_args(hint) if is_union else (hint,)
    exact = tuple(each for each in _EXACT if any(each is member for member in members))
    if len(exact) == len(members):
        return exact
    return tuple(each for each in exact if each is type(None))


def _is_of_pydantic(error: Exception) -> bool:
    """Return True if pydantic itself raised an error, not a validator or value of the user."""
    trace = error.__traceback__
    trace = None if trace is None else trace.tb_next  # the frame that called pydantic
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__")
        if type(name) is not str or name.partition(".")[0] != "pydantic":
            return False
        trace = trace.tb_next
    return True


def _made_adapter(hint: Any) -> TypeAdapter[Any]:
    """Return the pydantic adapter for an annotation.

    Raises:
        NotCheckable: pydantic cannot check any value against it.
    """
    if isinstance(hint, Unresolved):
        raise NotCheckable(hint.reason)
    if inspect.isroutine(hint):  # some versions of pydantic would call it
        raise NotCheckable("it is a function, not a type")
    try:
        for kind in _classes_in(hint):
            if _is_of_pydantic_1(kind):  # pydantic would warn about it as well
                raise NotCheckable(f"{kind.__name__} is a model of pydantic 1")
        if _has_unpacked_items(hint):  # pydantic would treat them as one item
            raise NotCheckable("it is a tuple with unpacked items")
        adapter = _any_adapter(hint)
        schema = adapter.core_schema
        if schema["type"] == "any" and not isinstance(hint, typing.TypeVar):
            raise NotCheckable("it is not a type that values can be checked against")
        for reason in _obstacles(schema):
            raise NotCheckable(reason)
    except NotCheckable:
        raise
    except Exception as error:  # schema hooks of classes are user code
        raise NotCheckable(_protocol_in(hint) or _first_line(error)) from error
    return adapter


def _any_adapter(hint: Any) -> TypeAdapter[Any]:
    from pydantic import (  # noqa: PLC0415 - startup time, see the module docstring
        ConfigDict,
        InstanceOf,
        PydanticSchemaGenerationError,
        PydanticUserError,
        TypeAdapter,
    )

    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError as refused:
        # Types with their own configuration (models, dataclasses) do not accept another one.
        if isinstance(refused, PydanticSchemaGenerationError):
            raise
    try:
        return TypeAdapter(hint)
    except PydanticSchemaGenerationError:
        if not isinstance(hint, type) or not dataclasses.is_dataclass(hint):
            raise
        # A dataclass whose fields pydantic does not know: accept its instances unchanged.
        return TypeAdapter(InstanceOf[hint])


def _classes_in(hint: Any) -> Iterator[type]:
    """Yield the classes that appear in an annotation."""
    if typing.get_origin(hint) in {typing.Literal, collections.abc.Callable}:
        return
    parts: Any = hint if isinstance(hint, list) else typing.get_args(hint)
    for part in parts:
        yield from _classes_in(part)
    for deeper in (getattr(hint, "__supertype__", None), getattr(hint, "__bound__", None)):
        if deeper is not None:
            yield from _classes_in(deeper)
    cls = typing.get_origin(hint) or hint
    if isinstance(cls, type):
        yield cls


def _has_unpacked_items(hint: Any) -> bool:
    """Return True if it contains a tuple such as `tuple[int, *tuple[str, ...]]` or `tuple[*Ts]`."""
    if typing.get_origin(hint) in {typing.Literal, collections.abc.Callable}:
        return False
    is_tuple = typing.get_origin(hint) is tuple
    return any(
        (is_tuple and _is_unpacked(part)) or _has_unpacked_items(part)
        for part in typing.get_args(hint)
    )


def _is_unpacked(part: Any) -> bool:
    return typing.get_origin(part) is typing.Unpack or getattr(part, "__unpacked__", False) is True


def _is_of_pydantic_1(cls: type) -> bool:
    module = sys.modules.get("pydantic.v1.main")
    return module is not None and issubclass(cls, module.BaseModel)


def _protocol_in(hint: Any) -> str:
    """Return the reason why a protocol makes an annotation uncheckable; empty if none does."""
    for cls in _classes_in(hint):
        is_protocol = cls.__dict__.get("_is_protocol", False)
        if is_protocol and not getattr(cls, "_is_runtime_protocol", False):
            return f"{cls.__name__} is a protocol without @typing.runtime_checkable"
    return ""


_NO_SCHEMAS = frozenset({"config", "default", "expected", "metadata", "serialization"})
"""Keys of a schema whose values are the user's, or irrelevant for validation."""


def _obstacles(schema: Any) -> Iterator[str]:
    """Yield the reasons why pydantic would reject or fail on values that match an annotation."""
    if type(schema) is dict:
        kind = schema.get("type")
        if kind in {"is-instance", "is-subclass"}:
            yield from _class_obstacle(kind, schema.get("cls"))
        elif kind == "function-plain":
            yield from _validator_obstacle(schema.get("function"))
        for name, part in schema.items():
            if name not in _NO_SCHEMAS:
                yield from _obstacles(part)
    elif type(schema) in {list, tuple}:
        for part in schema:
            yield from _obstacles(part)


def _class_obstacle(kind: str, cls: Any) -> Iterator[str]:
    if any(cls is each for each in _FILES):
        yield f"no file is an instance of typing.{cls.__name__}"
        return
    try:
        if kind == "is-instance":
            isinstance(None, cls)
        else:
            issubclass(object, cls)
    except Exception as error:  # noqa: BLE001 - metaclasses are user code
        yield _first_line(error)


def _validator_obstacle(function: Any) -> Iterator[str]:
    """Yield an obstacle if a validator has a pydantic 1 signature, which pydantic 2 cannot call."""
    if not isinstance(function, dict) or not callable(function.get("function")):
        return
    given = (None, None) if function.get("type") == "with-info" else (None,)
    try:
        inspect.signature(function["function"]).bind(*given)
    except ValueError:  # it exposes no signature
        return
    except TypeError:
        owner = getattr(function["function"], "__self__", None)
        what = f"{owner.__name__} is" if isinstance(owner, type) else "it is"
        yield f"{what} made for pydantic 1"


def _first_line(error: Exception) -> str:
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001 - __str__ is user code
        text = ""
    line = text.rpartition("SchemaError: ")[2].partition("\n")[0].rstrip(".")
    return line[:_MAX_SHOWN] or type(error).__name__


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - __repr__ is user code
        text = "a value without a repr"
    if len(text) > _MAX_SHOWN:
        text = f"{text[:_MAX_SHOWN]}…"
    return f"{text} of type {type(value).__name__}"
