"""Facts of a flow or task that each of its runs reports, in one object for all of them.

The object is the same for every run of a definition, so the encoder writes its bytes only once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flowspan.core.functions import attribute_of, wrapped_function
from flowspan.core.limits import MAX_FILE_PATH_BYTES, MAX_NAME_BYTES, MAX_RUN_DESCRIPTION_BYTES
from flowspan.core.values.inspection import encodable, is_instance

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.retries import RetryPolicy

_MAX_ATTEMPTS = (1 << 31) - 1


class RunDetails:
    """Description, place in the source code, and largest number of attempts. Immutable.

    Args:
        fn: The function of the flow or task.
        given_description: The description as the flow or task has it.
        retry: The retry policy; None if failed runs are never retried.

    Attributes:
        given_description: As the argument, to notice that it was changed.
        retry: As the argument.
        description: A text for people; may be empty.
        max_attempts: The largest number of attempts of a run, at least 1.
        file_path: The file of the function as its code names it; empty if unknown.
        line: The first line of the function in the file, from 1; 0 if unknown.
        function: The full name of the function with its module; empty if unknown.
    """

    __slots__ = (
        "description",
        "file_path",
        "function",
        "given_description",
        "line",
        "max_attempts",
        "retry",
    )

    def __init__(
        self, fn: Callable[..., Any], given_description: str | None, retry: RetryPolicy | None
    ) -> None:
        self.given_description, self.retry = given_description, retry
        self.description = _text(given_description, MAX_RUN_DESCRIPTION_BYTES)
        self.max_attempts = 1 if retry is None else min(retry.retries + 1, _MAX_ATTEMPTS)
        self.file_path, self.line, self.function = _location(fn)

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process sends it with each run. It needs neither the policy nor its functions.
        facts = self.description, self.max_attempts, self.file_path, self.line, self.function
        return _restored, facts


@lru_cache(maxsize=256)  # the same object again, for which the encoder knows the bytes
def _restored(
    description: str, max_attempts: int, file_path: str, line: int, function: str
) -> RunDetails:
    details = RunDetails.__new__(RunDetails)
    details.given_description, details.retry = description, None
    details.description, details.max_attempts = description, max_attempts
    details.file_path, details.line, details.function = file_path, line, function
    return details


def _location(fn: Callable[..., Any]) -> tuple[str, int, str]:
    """Return file, line and full name of the innermost function: a wrapper says little."""
    function = wrapped_function(fn)
    code = attribute_of(function, "__code__")
    file_path, line = attribute_of(code, "co_filename"), attribute_of(code, "co_firstlineno")
    name = attribute_of(code, "co_qualname") or attribute_of(function, "__qualname__")
    module = _text(attribute_of(function, "__module__"), MAX_NAME_BYTES)
    name = _text(name, MAX_NAME_BYTES)
    return (
        _text(file_path, MAX_FILE_PATH_BYTES),
        line if type(line) is int and line > 0 else 0,
        _text(f"{module}.{name}" if module and name else name, MAX_NAME_BYTES),
    )


def _text(value: Any, limit_bytes: int) -> str:
    """Return the beginning of a text as the service accepts it; empty for another value."""
    if not is_instance(value, str):
        return ""
    text = encodable(value).replace("\0", "␀")
    return text.encode()[:limit_bytes].decode(errors="ignore")
