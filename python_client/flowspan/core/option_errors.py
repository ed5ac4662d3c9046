"""Errors for options that there are not: what was meant, or what there is."""

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
"""The options of every call of a flow or task, beside the arguments of its function."""

_options_of: dict[str, tuple[str, ...]] = {}

_ALIKE = 0.75
"""Minimum similarity (0 to 1) for a name to count as a misspelling of another."""


def unknown_option(where: str, name: str, known: Collection[str], elsewhere: str = "") -> TypeError:
    """Return the error for an option that does not exist.

    Args:
        where: Whose option it was given as: "`@task`".
        name: The option.
        known: The options that there are.
        elsewhere: What has an option of this name; empty if nothing has.
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
    """Note which options a decorator has.

    Args:
        decorator: "`@flow`" or "`@task`".
        function: What takes the options as keywords.
    """
    _options_of[decorator] = option_names(function)


def check_options(where: str, given: Iterable[str], decorator: str) -> None:
    """Check that all options exist.

    Args:
        where: What they were given to: "`@task`", "`Task.with_options`".
        given: Their names.
        decorator: The decorator that has them.

    Raises:
        TypeError: One does not exist; the message names what was probably meant.
    """
    known = _options_of[decorator]
    for name in given:
        if name not in known:
            others = (other for other, names in _options_of.items() if name in names)
            raise unknown_option(where, name, known, next(others, ""))


def option_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a function's keywords, without the function that is decorated."""
    parameters = inspect.signature(function).parameters
    return tuple(name for name in parameters if name not in {"self", "fn"})


def misplaced_option(where: str, name: str, decorator: str) -> TypeError | None:
    """Return the error for a keyword of a call that is no argument, but was meant as an option.

    Args:
        where: What was called: "`submit`".
        name: The keyword; no parameter of the function has this name.
        decorator: The decorator of what was called: "`@task`".

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
    """Let a function refuse keywords that it does not have with `unknown_option`.

    Args:
        where: What the function is called in the error.
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
    """Return names among which are all that a function takes by keyword; None if it may take any.

    It is what its code object tells at once: working out the signature takes longer.
    """
    code = attribute_of(function, "__code__")
    if code is None or code.co_flags & inspect.CO_VARKEYWORDS:
        return None
    return frozenset(code.co_varnames)
