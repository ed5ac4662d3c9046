"""Names of modules, functions and classes that are the same in every process.

The main program is always `__main__`. In cache keys it gets the name under which it would be
imported (`python -m`). If it has none, its functions and classes are identified by their code as
well, because every other program is `__main__`, too.
"""

from __future__ import annotations

import builtins
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.sent_by_value import Origin

from flowspan.core.values.inspection import is_instance

_PROGRAM = ("__main__", "__mp_main__")
"""Names of the main module: in the program, and in a process spawned by multiprocessing."""


def _made_here(_thing: Any) -> Origin | None:
    return None


_origin_of: Callable[[Any], Origin | None] = _made_here
_of_program: str | None = None
"""The name of the parent's program, in a worker process; else None."""


def program_name() -> str:
    """Return the name of the program; "__main__" if it was not started by name (`python -m`)."""
    if _of_program is not None:
        return _of_program
    module = sys.modules.get(_PROGRAM[1]) or sys.modules.get(_PROGRAM[0])
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name not in _PROGRAM:
        name = str(spec.name)
        return name.removesuffix(".__main__") if name.endswith(".__main__") else name
    return _PROGRAM[0]


def set_program_name(name: str) -> None:
    """Adopt the program name of another process: for worker processes."""
    global _of_program  # noqa: PLW0603 - once, when a worker starts
    _of_program = name


def module_name(name: object) -> str:
    """Return the name of a module that is the same in every process.

    Args:
        name: A `__module__`.
    """
    if name in _PROGRAM:
        return program_name()
    return name if isinstance(name, str) else ""


def is_of_any_program(name: object) -> bool:
    """Return True for `__main__` without a program name: it says nothing about its code."""
    return name in _PROGRAM and program_name() == _PROGRAM[0]


def know_what_was_sent(origin_of: Callable[[Any], Origin | None]) -> None:
    """Use the origins of functions and classes that another process sent by value.

    Args:
        origin_of: Returns the origin; None for a function or class that was created here.
    """
    global _origin_of  # noqa: PLW0603 - once
    _origin_of = origin_of


def has_own_namespace(function: FunctionType) -> bool:
    """Return True for a function that was created by `exec` or `runpy`.

    Its globals are not those of its module. A function that was sent by value always has copied
    globals, so its origin decides. Nor do the globals matter for the program in a process spawned
    by multiprocessing, which runs it in a separate namespace.
    """
    origin = _origin_of(function)
    if origin is not None:
        return origin.has_own_namespace
    module: object = function.__module__  # `exec` may leave it unset
    if module == _PROGRAM[1] or (_of_program is not None and module in _PROGRAM):
        return False
    owner = sys.modules.get(module) if isinstance(module, str) else None
    return owner is None or getattr(owner, "__dict__", None) is not function.__globals__


def is_found_by_name(thing: Any, module: object, qualname: object) -> bool:
    """Return True if looking a name up gives this very function or class."""
    if not isinstance(module, str) or not isinstance(qualname, str) or "<" in qualname:
        return False
    origin = _origin_of(thing)
    if origin is not None:
        return origin.is_found_by_name
    if _of_program is not None and module in _PROGRAM:
        # It was pickled by value, so it is not in this process's `__main__`. A closure may belong
        # to a wrapper, which only borrows the name of the wrapped function.
        return not (type(thing) is FunctionType and thing.__closure__)
    owner: Any = sys.modules.get(module)
    if owner is None:
        return False
    found: Any = None
    for step in qualname.split("."):
        found = static_attribute(owner, step)
        owner = _behind(found)
    return found is thing or _behind(found) is thing


def static_attribute(owner: Any, name: str) -> Any:
    """Return an attribute of a module or class without running any code; None if missing."""
    if issubclass(type(owner), type):
        for each in type.__dict__["__mro__"].__get__(owner):
            if name in vars(each):
                return vars(each)[name]
        return None
    return vars(owner).get(name) if is_instance(owner, type(sys)) else None


def is_of_library(module: object) -> bool:
    """Return True for a module of the standard library, flowspan or an installed package.

    Its functions are assumed to do the same wherever they have the same name.
    """
    if not isinstance(module, str) or module in _PROGRAM:
        return False
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names or root == __name__.partition(".")[0]:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    if not isinstance(file, str):
        return module in sys.modules
    return "site-packages" in file or "dist-packages" in file


def is_builtin(name: str) -> bool:
    """Return True for the name of a builtin function, type or constant."""
    return name in vars(builtins)


def _behind(found: Any) -> Any:
    """Return the function behind a flow, task, classmethod or staticmethod."""
    if hasattr(type(found), "is_flow"):
        found = vars(found).get("fn")
    return getattr(found, "__func__", found) if type(found) in _WRAPPERS else found


_WRAPPERS = (classmethod, staticmethod)
