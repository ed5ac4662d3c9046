"""Identity of a task in keys, so that no two tasks find each other's results.

That is its name, and its function: by module and name where it can be found by these, else by its
code, its defaults and what it closes over. A method has its object, or its class, besides. See
`docs/decisions/keys.md`.
"""

from __future__ import annotations

import functools
import inspect
import linecache
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from flowspan.core.bytecode import parts_of_code
from flowspan.core.first_seen import FirstSeen
from flowspan.core.functions import called_function
from flowspan.core.hash_functions import defaults_held, held, held_owner
from flowspan.core.hash_parts import Form
from flowspan.core.hashing import Hasher
from flowspan.core.names import (
    is_found_by_name,
    is_of_any_program,
    module_name,
    static_attribute,
)
from flowspan.core.portable import MADE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from flowspan.core.definitions import Definition


class Code:
    """The function that was decorated, as keys know it: shared by all copies of its task.

    Its source is that of the moment when it was decorated: the file may be edited later, while this
    process goes on with what it has imported.

    Args:
        fn: The function.

    Attributes:
        first_seen: What its function closes over and changes, as it was at first.
        fixed: A function that closes over nothing, the name of its task, and its identity.
        warned: True if the log says that its key is of this process only.
    """

    __slots__ = ("_functions", "_lines", "_source", "first_seen", "fixed", "warned")

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.first_seen = FirstSeen()
        self.fixed: tuple[Any, str, str] | None = None
        self.warned = False
        self._functions = list(_functions_in(fn))
        # The lines of a whole file, shared by its functions: cutting them out costs more.
        self._lines = [_lines_of(function) for function in self._functions]
        self._source: str | None = None

    @property
    def source(self) -> str:
        """The hash of the source and of the bytecode of the function, and of those it wraps."""
        if self._source is None:
            sources = [
                [_block(lines, function), Form(["code", *parts_of_code(function.__code__)])]
                for function, lines in zip(self._functions, self._lines, strict=True)
            ]
            self._source = Hasher(self.first_seen).hash(sources)
            self._functions, self._lines = [], []
        return self._source

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.source,)


def _restored(source: str) -> Code:
    code = Code.__new__(Code)
    code.first_seen, code.fixed, code.warned = FirstSeen(), None, False
    code._functions, code._lines, code._source = [], [], source  # noqa: SLF001 - of this module
    return code


def identity_of(
    definition: Definition, first_seen: FirstSeen | None = None, without: Collection[str] = ()
) -> str:
    """Return what stands for a task in keys.

    Args:
        definition: The task.
        first_seen: What its function changes itself, as it was at first; by default as in this
            process.
        without: Names of parameters whose defaults are left out; "self" leaves out the object of a
            method.
    """
    code, fn, name = definition.code, definition.fn, definition.name
    fixed = code.fixed
    if fixed is not None and fixed[0] is fn and fixed[1] == name:
        return fixed[2]
    hasher = Hasher(code.first_seen if first_seen is None else first_seen)
    identity = hasher.hash(Form(["task", name, *_parts_of(fn, hasher, without)]))
    if type(fn) is FunctionType and not (fn.__closure__ or fn.__defaults__ or fn.__kwdefaults__):
        code.fixed = fn, name, identity
    return identity


def _parts_of(fn: Any, hasher: Hasher, without: Collection[str]) -> list[Any]:
    if isinstance(fn, (classmethod, staticmethod)):
        return [type(fn).__name__, *_parts_of(fn.__func__, hasher, without)]
    if type(fn) is MethodType:
        owner: Any = fn.__self__
        if isinstance(owner, type):
            return ["method", owner, *_parts_of(fn.__func__, hasher, without)]
        token = b"" if "self" in without else held_owner(fn.__func__, owner, hasher)
        return ["method", token, *_parts_of(fn.__func__, hasher, without)]
    if type(fn) is functools.partial:
        given: dict[Any, Any] = {**dict(enumerate(fn.args)), **fn.keywords}
        kept = [
            (name, held(str(name), item, hasher, is_changed=False))
            for name, item in given.items()
            if name not in without
        ]
        return ["partial", kept, *_parts_of(fn.func, hasher, without)]
    if type(fn) is FunctionType:
        made_of = vars(fn).get(MADE)
        if made_of is not None:
            return ["made", *_parts_of(made_of[1], hasher, without)]
        return _parts_of_function(fn, hasher, without)
    method = static_attribute(type(fn), "__call__")
    if type(method) is FunctionType and not isinstance(fn, type):
        return ["object", held_owner(method, fn, hasher)]
    return [type(fn).__name__, held("fn", fn, hasher, is_changed=False)]


def _parts_of_function(fn: FunctionType, hasher: Hasher, without: Collection[str]) -> list[Any]:
    module, qualname = fn.__module__, fn.__qualname__
    if is_found_by_name(fn, module, qualname) and not is_of_any_program(module):
        return ["function", module_name(module), qualname]
    if not without:
        return ["function", fn]
    copied = FunctionType(fn.__code__, {}, fn.__name__, None, fn.__closure__)
    copied.__module__, copied.__qualname__ = module, qualname
    return ["function", defaults_held(fn, hasher, without), copied]


def _functions_in(fn: Any) -> Iterator[FunctionType]:
    """Yield the function whose code runs, and those that it wraps (`functools.wraps`)."""
    seen: set[int] = set()
    while fn is not None and id(fn) not in seen:
        seen.add(id(fn))
        function = called_function(fn)
        if type(function) is FunctionType:
            yield function
        fn = getattr(function, "__dict__", {}).get("__wrapped__")


def _lines_of(function: FunctionType) -> list[str]:
    try:
        return linecache.getlines(function.__code__.co_filename, function.__globals__)
    except Exception:  # noqa: BLE001 - a loader of modules may raise anything
        return []


def _block(lines: list[str], function: FunctionType) -> str:
    """Return the source of a function out of the lines of its file; empty if it is not there."""
    try:
        return "".join(inspect.getblock(lines[function.__code__.co_firstlineno - 1 :]))
    except Exception:  # noqa: BLE001 - not the lines that it was compiled of: anything may be there
        return ""
