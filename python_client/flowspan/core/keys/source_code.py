"""Source and bytecode of decorated functions, for cache keys."""

from __future__ import annotations

import hashlib
import inspect
import linecache
from types import FunctionType
from typing import TYPE_CHECKING, Any

from flowspan.core.functions import attribute_of, called_function
from flowspan.core.keys.closure_variables import FirstSeen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Code:
    """The code of a decorated function, shared by all copies of its task.

    The source is read when the function is decorated: the file may be edited later, while this
    process continues with the code that it has imported.

    Args:
        fn: The function.

    Attributes:
        first_seen: The first-seen tokens of captured state that the function changes.
        fixed: A cached task identity: the function (without closure), the task's name, the
            identity, and True if the identity is by name, whatever the function captures.
        named: In a worker process, a function that can be imported by name in the program.
        warned: True after the warning that its keys are valid in this process only.
        warned_of_iterating: True after the warning that the results of a generator are not stored.
    """

    __slots__ = (
        "_functions",
        "_lines",
        "_source",
        "_text",
        "first_seen",
        "fixed",
        "named",
        "warned",
        "warned_of_iterating",
    )

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.first_seen = FirstSeen()
        self.fixed: tuple[Any, str, str, bool] | None = None
        self.named: Any = None
        self.warned = False
        self.warned_of_iterating = False
        self._functions = list(_functions_in(fn))
        # The list of lines is shared by all functions of a file; cutting it up now would cost more.
        self._lines = [_lines_of(function) for function in self._functions]
        self._source: str | None = None
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The hash of the source alone, which tools that rewrite bytecode do not change."""
        if self._text is None:
            blocks = map(_block, self._lines, self._functions)
            self._text = hashlib.sha256("\0".join(blocks).encode(errors="replace")).hexdigest()
        return self._text

    @property
    def source(self) -> str:
        """The hash of source and bytecode of the function and of the functions that it wraps."""
        if self._source is None:
            # Most programs use no cache keys, so the modules for them are imported on first use.
            from flowspan.core.keys.bytecode import parts_of_code  # noqa: PLC0415 - startup time
            from flowspan.core.keys.hashing import Hasher  # noqa: PLC0415 - startup time
            from flowspan.core.keys.parts import Form  # noqa: PLC0415 - startup time

            sources = [
                [_block(lines, function), Form(["code", *parts_of_code(function.__code__)])]
                for function, lines in zip(self._functions, self._lines, strict=True)
            ]
            self._source = Hasher(self.first_seen).hash(sources)
            _ = self.text  # compute it now, as the lines are released below
            self._functions, self._lines = [], []
        return self._source

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.source, self.text)


def _restored(source: str, text: str) -> Code:
    code = Code.__new__(Code)
    code.first_seen, code.fixed, code.named, code.warned = FirstSeen(), None, None, False
    code.warned_of_iterating = False
    code._functions, code._lines = [], []  # noqa: SLF001 - in the same module
    code._source, code._text = source, text  # noqa: SLF001 - in the same module
    return code


def _functions_in(fn: Any) -> Iterator[FunctionType]:
    """Yield the function whose code runs, and the functions that it wraps (`functools.wraps`)."""
    seen: set[int] = set()
    while fn is not None and id(fn) not in seen:
        seen.add(id(fn))
        function = called_function(fn)
        if type(function) is FunctionType:
            yield function
        fn = attribute_of(function, "__dict__", {}).get("__wrapped__")


def _lines_of(function: FunctionType) -> list[str]:
    try:
        return linecache.getlines(function.__code__.co_filename, function.__globals__)
    except Exception:  # noqa: BLE001 - a module loader may raise anything
        return []


def _block(lines: list[str], function: FunctionType) -> str:
    """Return the source of a function from the lines of its file; empty if it is not there."""
    try:
        return "".join(inspect.getblock(lines[function.__code__.co_firstlineno - 1 :]))
    except Exception:  # noqa: BLE001 - the file may have changed since it was compiled
        return ""
