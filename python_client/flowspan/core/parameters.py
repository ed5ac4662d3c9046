"""The parameters of a function: binding, validating and coercing what it is called with."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flowspan.core.argument_validation import Checks
from flowspan.core.functions import is_field, is_wrapper
from flowspan.core.type_hints import signature_of
from flowspan.exceptions import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]

__all__ = ["Checks", "Parameters"]

_EMPTY = inspect.Parameter.empty
_BY_POSITION = frozenset(
    {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
)
_BY_KEYWORD = frozenset({inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY})


class _OfWrapper(dict[str, Any]):
    """The arguments of a call by the parameters of a wrapper, not of what it wraps."""


class Parameters:
    """The parameters of a flow's or task's function.

    Args:
        fn: The function.
        who: What to call it in errors: "Flow 'census'".
        checks: How values are validated and coerced; None if they are not.
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
        # The fields of pydantic among the defaults (`n: int = Field(4, gt=0)`).
        self._fields = {name: default for name, default in defaults.items() if is_field(default)}
        # Defaults that the function may have to be given otherwise: those, and coerced ones.
        self._defaults = self._taken(self._fields if checks is None else defaults)

    def bind(self, args: Args, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by parameter, defaults included, validated and coerced.

        Args:
            args: The positional arguments; gathered in a tuple under a variadic parameter's name.
            kwargs: The keyword arguments; gathered in a dictionary likewise. Those that only a
                wrapper takes are there under their own names, as they are.

        Raises:
            ParameterError: They do not fit; the message says which parameter and why.
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
        if self._checks is not None and self._defaults:
            self._validate_defaults(arguments, given, self._checks)
        if self._fields:
            self._fill_fields(arguments, given)
        arguments.update(others)
        return arguments

    def call_arguments(
        self, arguments: Mapping[str, Any], args: Args, kwargs: Mapping[str, Any]
    ) -> tuple[Args, Kwargs]:
        """Return how to call the function: as the caller did, with the values of `bind`.

        What came by position goes on by position, and what came by keyword by keyword, in the same
        order; defaults are left to the function, but for those that were coerced. (A pydantic field
        as a default is no value: the function gets what the field stands for.)

        Args:
            arguments: What `bind` returned for the call.
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
        """Return what has not been told yet of annotations that cannot be checked."""
        return [] if self._checks is None else self._checks.take_warnings()

    def positional_names(self, count: int) -> list[str]:
        """The parameters that take so many positional arguments, in order.

        A variadic parameter stands for all that it takes; what no parameter takes has no name.
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
            return None  # the wrapper may have keywords of its own
        return frozenset(self._by_keyword)

    def _bound_to_wrapper(self, args: Args, kwargs: Mapping[str, Any]) -> _OfWrapper | None:
        """Return the arguments of a wrapper that is called otherwise than what it wraps.

        A decorator may add arguments of its own, or take some away (`unittest.mock.patch`): only
        the wrapper (`functools.wraps`) knows.
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
        """Return the keyword arguments that a wrapper takes, and what it wraps does not."""
        if self._others is not None:
            return {}
        return {name: kwargs[name] for name in kwargs if name not in self._by_keyword}

    def _bound_but_for_keywords(
        self, args: Args, kwargs: Mapping[str, Any]
    ) -> inspect.BoundArguments | None:
        """Return the arguments of a call in which a wrapper is to fill in some; None if unclear.

        Which parameters the others are for is only known if they came by keyword, or if those that
        are left out are taken by keyword alone.
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
        """Validate and coerce the defaults that count, as if they had been given."""
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
        """Replace pydantic fields that stand for defaults by the defaults, coerced."""
        for name, field in self._fields.items():
            if name in given or name not in arguments:
                continue
            value = field.get_default(call_default_factory=True, validated_data=dict(arguments))
            check = None if self._checks is None else self._checks.get(name)
            problems: list[str] = []
            coerced = value if check is None else check(name, value, problems)
            # A default outside of the limits that its own field sets is taken, as in Prefect.
            arguments[name] = value if problems else coerced

    def _taken(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults of parameters for which a value can be given.

        A wrapper (`functools.wraps`) may not take all that the function takes.
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
        """Give the function the defaults that were coerced, or that pydantic fields stand for."""
        positional = self._positional
        for name, default in self._defaults.items():
            if name not in arguments or arguments[name] is default:
                continue
            if name in named or name in positional[: len(values)]:
                continue
            if name in self._by_keyword:
                named[name] = arguments[name]
            else:  # by position alone, so those before it as well
                count = positional.index(name) + 1
                values += [arguments[each] for each in positional[len(values) : count]]


def _named(parameters: Mapping[str, inspect.Parameter], kind: object) -> str | None:
    return next((name for name, each in parameters.items() if each.kind is kind), None)
