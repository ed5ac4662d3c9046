"""Errors for unknown options, with a suggestion or the list of valid ones."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from flowspan.core.functions import attribute_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

P = ParamSpec("P")
R = TypeVar("R")

CALL_OPTIONS = ("return_state", "wait_for")
"""The options of every call of a flow or task, in addition to the arguments of its function."""

_options_of: dict[str, tuple[str, ...]] = {}

_ALIKE = 0.75
"""Minimum similarity (0 to 1) for a name to count as a misspelling of another."""


def unknown_option(where: str, name: str, known: Collection[str], elsewhere: str = "") -> TypeError:
    """Return the error for an option that does not exist.

    Args:
        where: The place where it was given: "`@task`".
        name: The option.
        known: The options that exist there.
        elsewhere: The decorator that has an option of this name; empty if none has.
    """
    text = f"{where} has no option {name!r}"
    likely = similar(name, known)
    if likely is not None:
        return TypeError(f"{text}; did you mean {likely!r}?")
    if elsewhere:
        return TypeError(f"{text}; it is an option of {elsewhere}.")
    return TypeError(f"{text}; its options are {', '.join(known)}.")


def similar(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the name that was probably meant; None if none is similar."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for errors

    return next(iter(get_close_matches(name, list(known), 1, cutoff)), None)


def declare_options(decorator: str, function: Callable[..., Any]) -> None:
    """Register the options of a decorator.

    Args:
        decorator: "`@flow`" or "`@task`".
        function: The function that takes the options as keywords.
    """
    _options_of[decorator] = option_names(function)


def check_options(where: str, given: Iterable[str], decorator: str) -> None:
    """Check that all options exist.

    Args:
        where: The place where they were given: "`@task`", "`Task.with_options`".
        given: Their names.
        decorator: The decorator that defines them.

    Raises:
        TypeError: One does not exist; the message suggests a similar name.
    """
    known = _options_of[decorator]
    for name in given:
        if name not in known:
            others = (other for other, names in _options_of.items() if name in names)
            raise unknown_option(where, name, known, next(others, ""))


def option_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the keyword names of a function, without the decorated function itself."""
    parameters = inspect.signature(function).parameters
    return tuple(name for name in parameters if name not in {"self", "fn"})


def misplaced_option(where: str, name: str, decorator: str) -> TypeError | None:
    """Return the error for a call's keyword that was probably meant as an option.

    Args:
        where: The call: "`submit`".
        name: The keyword; not the name of a parameter.
        decorator: The decorator of the called flow or task: "`@task`".

    Returns:
        None if it looks like an argument.
    """
    likely = similar(name, CALL_OPTIONS, _ALIKE)
    if likely is not None:
        return TypeError(f"{where} has no option {name!r}; did you mean {likely!r}?")
    if name in _options_of[decorator]:
        return TypeError(
            f"{where} has no option {name!r}; it is an option of {decorator}: set it there, or for "
            f"one call by with_options({name}=…)."
        )
    return None


def names_options(where: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function reject unknown keywords with `unknown_option`.

    Args:
        where: The name of the function in the error.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        known = option_names(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name not in known and name != "fn":
                    raise unknown_option(where, name, known)
            return function(*args, **kwargs)

        return checked

    return decorate


def possible_keywords(function: Any) -> frozenset[str] | None:
    """Return a superset of the names that a function takes by keyword; None if it takes any.

    It is read from the code object, which is faster than computing the signature.
    """
    code = attribute_of(function, "__code__")
    if code is None or code.co_flags & inspect.CO_VARKEYWORDS:
        return None
    return frozenset(code.co_varnames)
