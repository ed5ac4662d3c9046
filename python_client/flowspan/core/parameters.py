"""The parameters of a function: binding, validating and coercing what it is called with.

Each annotated parameter is checked on its own, by pydantic, so that an error names it. pydantic is
only imported when a value is not already of the type it should have: the import would be a good
part of the start of a small program.
"""

from __future__ import annotations

import inspect
import sys
import typing
from typing import TYPE_CHECKING, Any

from flowspan.core.functions import called_function
from flowspan.core.portable import loaded_function, portable_function
from flowspan.exceptions import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import TypeAdapter

_EXACT = frozenset(map(id, (int, str, float, bool, bytes, complex, type(None))))
"""Types whose own instances need no validation; by identity, for a class may have no hash."""

_MAX_SHOWN = 120


class Parameters:
    """The parameters of a flow's or task's function.

    Args:
        fn: The function.
        who: What to call it in errors: "Flow 'census'".
        checks: How values are validated and coerced; None if they are not.
    """

    def __init__(self, fn: Callable[..., Any], who: str, checks: Checks | None) -> None:
        self._who = who
        self._checks = checks
        self._signature = _signature_of(fn)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by parameter, defaults included, validated and coerced.

        Args:
            args: The positional arguments; gathered in a tuple under a variadic parameter's name.
            kwargs: The keyword arguments; gathered in a dictionary likewise.

        Raises:
            ParameterError: They do not fit; the message says which parameter and why.
        """
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ParameterError(f"{self._who}: {error}.") from None
        if self._checks is not None:
            self._validate_in(bound.arguments, self._checks)
        bound.apply_defaults()
        arguments = bound.arguments
        for name, value in arguments.items():
            if type(value).__name__ == "FieldInfo" and hasattr(value, "get_default"):
                arguments[name] = value.get_default(
                    call_default_factory=True, validated_data=dict(arguments)
                )
        return arguments

    def positional_names(self, count: int) -> list[str]:
        """The parameters that take so many positional arguments, in order.

        A variadic parameter stands for all that it takes; what no parameter takes has no name.
        """
        names: list[str] = []
        for name, parameter in self._signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                return names[:count] + [name] * (count - len(names))
            if parameter.kind in {
                inspect.Parameter.POSITIONAL_ONLY,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
            }:
                names.append(name)
        return names[:count]

    def call_arguments(
        self, arguments: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """How to call the function with the arguments: the reverse of `bind`."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self._signature.parameters.items():
            kind = parameter.kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                args.extend(arguments[name])
            elif kind is inspect.Parameter.VAR_KEYWORD:
                kwargs.update(arguments[name])
            elif kind is inspect.Parameter.KEYWORD_ONLY:
                kwargs[name] = arguments[name]
            else:
                args.append(arguments[name])
        return tuple(args), kwargs

    def _validate_in(self, arguments: dict[str, Any], checks: Checks) -> None:
        problems: list[str] = []
        for name, value in arguments.items():
            check = checks.get(name)
            if check is None:
                continue
            kind = self._signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                arguments[name] = tuple(
                    check(f"{name}[{i}]", v, problems) for i, v in enumerate(value)
                )
            elif kind is inspect.Parameter.VAR_KEYWORD:
                arguments[name] = {key: check(key, v, problems) for key, v in value.items()}
            else:
                arguments[name] = check(name, value, problems)
        if problems:
            raise ParameterError(f"{self._who}: " + "; ".join(problems))


class Checks:
    """How the values of a function's parameters are validated: for it and for methods bound of it.

    Args:
        fn: The function; its annotations are only looked at when a value is to be checked.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._checks: dict[str, _Check] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_fn": portable_function(self._fn)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._fn = loaded_function(state["_fn"])
        self._checks = None

    def get(self, name: str) -> _Check | None:
        """The check of a parameter; None if anything will do."""
        if self._checks is None:
            self._checks = self._make()
        return self._checks.get(name)

    def _make(self) -> dict[str, _Check]:
        hints = _type_hints(self._fn)
        for name, parameter in _signature_of(called_function(self._fn)).parameters.items():
            if type(parameter.default).__name__ == "FieldInfo":
                hints[name] = typing.Annotated[hints.get(name, Any), parameter.default]
        return {
            name: _Check(hint)
            for name, hint in hints.items()
            if hint is not Any
            and hint is not object
            and not isinstance(hint, (str, typing.TypeVar))
        }


class _Check:
    """Validates the values of one parameter."""

    def __init__(self, hint: Any) -> None:
        self._hint = hint
        self._exact = hint if id(hint) in _EXACT else None
        self._adapter: TypeAdapter[Any] | None = None

    def __call__(self, name: str, value: Any, problems: list[str]) -> Any:
        """The value, coerced; adds to the problems if it does not fit."""
        if self._exact is not None and type(value) is self._exact:
            return value
        from pydantic import ValidationError  # noqa: PLC0415 - start-up cost, see the module

        if self._adapter is None:
            self._adapter = _make_adapter(self._hint)
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_context=False, include_input=False):
                inside = "".join(f"[{part!r}]" for part in item["loc"])
                problems.append(f"parameter {name!r}{inside}: {item['msg']} (got {_shown(value)})")
            return value


def _make_adapter(hint: Any) -> TypeAdapter[Any]:
    from pydantic import (  # noqa: PLC0415 - start-up cost, see the module
        ConfigDict,
        PydanticSchemaGenerationError,
        PydanticUserError,
        TypeAdapter,
    )

    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError as refused:
        # Types with a configuration of their own (models, dataclasses) take no other.
        if isinstance(refused, PydanticSchemaGenerationError):
            return TypeAdapter(Any)
    try:
        return TypeAdapter(hint)
    except PydanticUserError:
        # A dataclass of things that pydantic does not know: its instances are good as they are.
        from pydantic import InstanceOf  # noqa: PLC0415 - start-up cost, see the module

        return TypeAdapter(InstanceOf[hint] if isinstance(hint, type) else Any)


def _signature_of(fn: Callable[..., Any]) -> inspect.Signature:
    try:
        if sys.version_info >= (3, 14):
            from annotationlib import Format  # noqa: PLC0415 - only there

            # An annotation may name what is only imported for type checkers.
            return inspect.signature(fn, annotation_format=Format.FORWARDREF)
        return inspect.signature(fn)
    except ValueError:  # some functions of C code have none
        return inspect.signature(_anything)


def _anything(*args: Any, **kwargs: Any) -> None:
    """Takes what it is given."""


def _type_hints(fn: Callable[..., Any]) -> dict[str, Any]:
    """The annotations, those that are texts evaluated.

    One that cannot be evaluated is left out: the values of its parameter are not checked.
    """
    target = called_function(inspect.unwrap(called_function(fn)))
    closure = inspect.getclosurevars(target).nonlocals if inspect.isfunction(target) else {}
    try:
        return typing.get_type_hints(target, localns=closure or None, include_extras=True)
    except Exception:  # noqa: BLE001, S110 - evaluates user code; each for itself below
        pass
    hints = {}
    names = getattr(target, "__globals__", {})
    for name, hint in getattr(target, "__annotations__", {}).items():
        try:
            hints[name] = eval(hint, names, closure) if isinstance(hint, str) else hint  # noqa: S307 - the function's own annotation
        except Exception:  # noqa: BLE001, S112 - see the docstring
            continue
    return hints


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - __repr__ is user code
        text = "a value without a repr"
    if len(text) > _MAX_SHOWN:
        text = f"{text[:_MAX_SHOWN]}…"
    return f"{text} of type {type(value).__name__}"
