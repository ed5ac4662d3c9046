"""Binding, validation and coercion of the arguments of a call."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flowspan.core.argument_validation import Checks
from flowspan.core.functions import attribute_of, is_field, is_wrapper
from flowspan.core.pickling import MADE
from flowspan.core.type_hints import signature_of
from flowspan.core.values.inspection import exact_text
from flowspan.exceptions import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]

__all__ = ["Checks", "Parameters"]

_EMPTY = inspect.Parameter.empty
_BY_POSITION = frozenset(
    {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
)
_BY_KEYWORD = frozenset({inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY})


class _OfWrapper(dict[str, Any]):
    """The arguments of a call by the parameters of a wrapper, not of the wrapped function."""


class Parameters:
    """The parameters of the function of a flow or task.

    Args:
        fn: The function.
        who: Its name in errors: "Flow 'census'".
        checks: The validators; None if arguments are not validated.
    """

    def __init__(self, fn: Callable[..., Any], who: str, checks: Checks | None) -> None:
        self._fn = fn
        self._who = who
        self._checks = checks
        self._signature = signature_of(fn)
        parameters = self._signature.parameters
        self._positional = [n for n, each in parameters.items() if each.kind in _BY_POSITION]
        self._by_keyword = {n for n, each in parameters.items() if each.kind in _BY_KEYWORD}
        self._rest = _named(parameters, inspect.Parameter.VAR_POSITIONAL)
        self._others = _named(parameters, inspect.Parameter.VAR_KEYWORD)
        defaults = {n: each.default for n, each in parameters.items() if each.default is not _EMPTY}
        # pydantic fields among the defaults (`n: int = Field(4, gt=0)`).
        self._fields = {name: default for name, default in defaults.items() if is_field(default)}
        # Defaults that may have to be passed explicitly: fields, and values that need coercion.
        self._defaults = self._taken(self._fields if checks is None else defaults)

    def bind(
        self, args: Args, kwargs: Mapping[str, Any], *, validates_defaults: bool = True
    ) -> dict[str, Any]:
        """Return the arguments of a call by parameter, validated, with defaults.

        Args:
            args: The positional arguments. Those of a variadic parameter are collected in a tuple.
            kwargs: The keyword arguments. Those of a variadic parameter are collected in a
                dictionary. Keywords that only a wrapper takes keep their own names and values.
            validates_defaults: False to return defaults as they are.

        Raises:
            ParameterError: They do not fit; the message names the parameter and the reason.
        """
        others: dict[str, Any] = {}
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            own = self._bound_to_wrapper(args, kwargs)
            if own is None:
                raise ParameterError(f"{self._who}: {error}.") from None
            others = self._of_wrapper_alone(kwargs)
            inner = {name: kwargs[name] for name in kwargs if name not in others}
            partial = self._bound_but_for_keywords(args, inner)
            if partial is None or not others.keys().isdisjoint(self._signature.parameters):
                if self._checks is not None:
                    self._checks.warn_of_wrapper()
                return own
            bound = partial
        if self._checks is not None:
            self._validate_in(bound.arguments, self._checks)
        given = frozenset(bound.arguments) if self._defaults or self._fields else ()
        bound.apply_defaults()
        arguments = bound.arguments
        if self._checks is not None and self._defaults and validates_defaults:
            self._validate_defaults(arguments, given, self._checks)
        if self._fields:
            self._fill_fields(arguments, given)
        arguments.update(others)
        return arguments

    def misfit(self, args: Args, kwargs: Mapping[str, Any]) -> ParameterError | None:
        """Return the error of a call whose arguments do not fit the parameters, or None.

        Values are not validated, and no code of the user is called.
        """
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            # A wrapper of flowspan's own passes all arguments on.
            is_own = MADE in (attribute_of(self._fn, "__dict__") or ())
            if is_own or self._bound_to_wrapper(args, kwargs) is None:
                return ParameterError(f"{self._who}: {error}.")
        return None

    def call_arguments(
        self, arguments: Mapping[str, Any], args: Args, kwargs: Mapping[str, Any]
    ) -> tuple[Args, Kwargs]:
        """Return how to call the function: in the form of the original call, with bound values.

        Positional arguments stay positional and keywords stay keywords, in the same order. Defaults
        are left to the function unless they were coerced. (A pydantic field as a default is not a
        value: the function gets the default that the field defines.)

        Args:
            arguments: The result of `bind` for the call.
            args: The positional arguments of the call.
            kwargs: The keyword arguments of the call.
        """
        if isinstance(arguments, _OfWrapper):
            return args, dict(kwargs)
        positional = self._positional
        values = [arguments[name] for name in positional[: len(args)]]
        if len(args) > len(positional) and self._rest is not None:
            values += arguments[self._rest]
        named = {}
        for name in kwargs:
            if self._others is None or name in self._by_keyword:
                named[name] = arguments[name]
            else:
                named[name] = arguments[self._others][name]
        if self._defaults:
            self._add_defaults(arguments, values, named)
        return tuple(values), named

    def take_warnings(self) -> list[str]:
        """Return the pending warnings about annotations that cannot be checked, and clear them."""
        return [] if self._checks is None else self._checks.take_warnings()

    def given(self, args: Args, kwargs: Mapping[str, Any]) -> tuple[list[str], Sequence[Any]]:
        """Return names and values of the arguments of a call as they are given, unchecked.

        The arguments of a variadic positional parameter are one list. Defaults are left out. A
        surplus argument, with which the call will fail, has its position as its name.
        """
        values: Sequence[Any] = args
        count = len(self._positional)
        if len(args) <= count:
            names = self._positional[: len(args)]
        elif self._rest is not None:
            names, values = [*self._positional, self._rest], [*args[:count], list(args[count:])]
        else:
            names = [*self._positional, *map(str, range(count, len(args)))]
        if not kwargs:
            return names, values
        return [*names, *map(exact_text, kwargs)], [*values, *kwargs.values()]

    def positional_names(self, count: int) -> list[str]:
        """Return the parameters that take the given number of positional arguments, in order.

        A variadic parameter is repeated for each of its arguments; surplus arguments have no name.
        """
        names: list[str] = []
        for name, parameter in self._signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                return names[:count] + [name] * (count - len(names))
            if parameter.kind in _BY_POSITION:
                names.append(name)
        return names[:count]

    @cached_property
    def keywords(self) -> frozenset[str] | None:
        """The names that the function takes by keyword; None if it takes any."""
        own = signature_of(self._fn, follow_wrapped=False).parameters.values()
        if self._others is not None:
            return None
        if is_wrapper(self._fn) and any(each.kind is each.VAR_KEYWORD for each in own):
            return None  # the wrapper may take additional keywords
        return frozenset(self._by_keyword)

    def _bound_to_wrapper(self, args: Args, kwargs: Mapping[str, Any]) -> _OfWrapper | None:
        """Return the arguments as bound to a wrapper that has another signature.

        A decorator may add arguments or supply some itself (`unittest.mock.patch`): only the
        wrapper (`functools.wraps`) knows its signature.
        """
        if not is_wrapper(self._fn):
            return None
        own = signature_of(self._fn, follow_wrapped=False)
        try:
            bound = own.bind(*args, **kwargs)
        except TypeError:
            return None
        bound.apply_defaults()
        return _OfWrapper(bound.arguments)

    def _of_wrapper_alone(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments that only the wrapper takes."""
        if self._others is not None:
            return {}
        return {name: kwargs[name] for name in kwargs if name not in self._by_keyword}

    def _bound_but_for_keywords(
        self, args: Args, kwargs: Mapping[str, Any]
    ) -> inspect.BoundArguments | None:
        """Return the arguments of a call to which a wrapper adds some; None if that is ambiguous.

        It is unambiguous only if all arguments came by keyword, or if the missing parameters are
        keyword-only.
        """
        try:
            bound = self._signature.bind_partial(*args, **kwargs)
        except TypeError:
            return None
        missing = [
            each
            for name, each in self._signature.parameters.items()
            if name not in bound.arguments and each.default is each.empty
        ]
        others = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
        by_keyword = {inspect.Parameter.KEYWORD_ONLY, *others}
        return bound if not args or all(each.kind in by_keyword for each in missing) else None

    def _validate_in(self, arguments: dict[str, Any], checks: Checks) -> None:
        problems: list[str] = []
        for name, value in arguments.items():
            check = checks.get(name)
            if check is None:
                continue
            arguments[name] = check(name, value, problems)
        if problems:
            raise ParameterError(f"{self._who}: " + "; ".join(problems))

    def _validate_defaults(
        self, arguments: dict[str, Any], given: Collection[str], checks: Checks
    ) -> None:
        """Validate and coerce the relevant defaults, as if they had been passed."""
        problems: list[str] = []
        for name, default in self._defaults.items():
            if name in given or name in self._fields:
                continue
            check = checks.get(name)
            if check is not None:
                arguments[name] = check(name, default, problems)
        if problems:
            told = "; ".join(f"{problem}, which is its default" for problem in problems)
            raise ParameterError(f"{self._who}: {told}")

    def _fill_fields(self, arguments: dict[str, Any], given: Collection[str]) -> None:
        """Replace pydantic fields that serve as defaults with their coerced default values."""
        for name, field in self._fields.items():
            if name in given or name not in arguments:
                continue
            value = field.get_default(call_default_factory=True, validated_data=dict(arguments))
            check = None if self._checks is None else self._checks.get(name)
            problems: list[str] = []
            coerced = value if check is None else check(name, value, problems)
            # A default that violates the limits of its own field is accepted, as in Prefect.
            arguments[name] = value if problems else coerced

    def _taken(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults of parameters for which a value can be passed.

        A wrapper (`functools.wraps`) may not accept all parameters of the function.
        """
        if not defaults or not is_wrapper(self._fn):
            return dict(defaults)
        own = signature_of(self._fn, follow_wrapped=False).parameters
        if any(each.kind is each.VAR_KEYWORD for each in own.values()):
            return dict(defaults)
        return {name: default for name, default in defaults.items() if name in own}

    def _add_defaults(
        self, arguments: Mapping[str, Any], values: list[Any], named: dict[str, Any]
    ) -> None:
        """Add the defaults that were coerced, or that come from pydantic fields."""
        positional = self._positional
        for name, default in self._defaults.items():
            if name not in arguments or arguments[name] is default:
                continue
            if name in named or name in positional[: len(values)]:
                continue
            if name in self._by_keyword:
                named[name] = arguments[name]
            else:  # positional-only, so the preceding ones are needed as well
                count = positional.index(name) + 1
                values += [arguments[each] for each in positional[len(values) : count]]


def _named(parameters: Mapping[str, inspect.Parameter], kind: object) -> str | None:
    return next((name for name, each in parameters.items() if each.kind is kind), None)
