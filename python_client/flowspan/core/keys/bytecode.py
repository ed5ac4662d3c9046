"""Static analysis of bytecode: the names that a function refers to, and those that it changes.

No code is executed. Nested functions and comprehensions count as parts of the function.
"""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_MUTATORS = frozenset(
    {
        *("add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert"),
        *("put", "put_nowait", "remove", "reverse", "sort", "update", "write", "writelines"),
    }
)
"""Methods that mutate their object and return none of its contents."""

_KINDS = {
    "STORE_ATTR": "set attribute",
    "DELETE_ATTR": "set attribute",
    "STORE_SUBSCR": "set item",
    "DELETE_SUBSCR": "set item",
    "STORE_SLICE": "set item",
    "BUILD_SLICE": "constant",
    "LOAD_ATTR": "attribute",
    "LOAD_METHOD": "attribute",
    "LOAD_NAME": "global",
    "BINARY_SUBSCR": "item",
}

_REBINDS = frozenset({"STORE_DEREF", "DELETE_DEREF", "STORE_GLOBAL", "DELETE_GLOBAL"})


_KEYS = frozenset({"constant", "variable"})


class _Step(NamedTuple):
    """One bytecode instruction, normalized across Python versions."""

    op: str
    arg: Any


def parts_of_code(code: CodeType) -> tuple[Any, ...]:
    """Return the parts of a code object that define its behaviour, without its location."""
    return (
        code.co_code,
        code.co_consts,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
        code.co_exceptiontable,
    )


@lru_cache(maxsize=1024)
def global_names(code: CodeType) -> tuple[tuple[str, ...], ...]:
    """Return the global names that a function refers to, each with its chain of attributes.

    `a.b(c)` gives ("a", "b") and ("c",), in order of appearance and without duplicates.
    """
    found: dict[tuple[str, ...], None] = {}
    for each in _codes(code):
        steps = _steps(each)
        for index, step in enumerate(steps):
            if step.op == "global":
                chain = [step.arg]
                for after in steps[index + 1 :]:
                    if after.op != "attribute":
                        break
                    chain.append(after.arg)
                found[tuple(chain)] = None
    return tuple(found)


@lru_cache(maxsize=1024)
def changed_names(code: CodeType) -> frozenset[str]:
    """Return the variables that a function itself rebinds, or whose contents it changes.

    Detected are assignments (`nonlocal n; n += 1`, `d[k] = v`, `x.y = v`) and calls of mutating
    methods of lists, sets, dictionaries and the like (`calls.append(x)`), also through attributes
    or items (`self.calls.append(x)`). Other changes are not detected.
    """
    found = set()
    for each in _codes(code):
        steps = _steps(each)
        own = set(each.co_varnames) - set(code.co_varnames) if each is not code else set()
        for index, step in enumerate(steps):
            is_loaded = step.op in {"variable", "global"}
            if step.op == "rebind" or (is_loaded and _is_changed(steps, index + 1)):
                found.add(step.arg)
        found -= own
    return frozenset(found)


@lru_cache(maxsize=1024)
def changed_attributes(code: CodeType) -> frozenset[tuple[str, str]]:
    """Return the attributes that a function changes, as pairs of variable and attribute.

    The detected forms are the same as in `changed_names`; global variables are included.
    """
    found = set()
    for each in _codes(code):
        steps = _steps(each)
        for index, step in enumerate(steps):
            if step.op in {"variable", "global"} and _is_changed(steps, index + 1):
                after = steps[index + (2 if steps[index + 1].op == "copy" else 1)]
                found.add((step.arg, str(after.arg)))
    return frozenset(found)


def _is_changed(steps: list[_Step], index: int) -> bool:
    """Return True if the steps from `index` on change the object that was just loaded."""
    last = None
    while True:
        step, after = steps[index], steps[index + 1]
        if step.op == "attribute":
            last, index = step.arg, index + 1
        elif step.op in _KEYS and after.op == "item":
            last, index = None, index + 2
        else:
            break
    if last in _MUTATORS or step.op == "set attribute":
        return True
    if step.op == "copy":  # x.y += 1
        return after.op == "attribute"
    while step.op in _KEYS:  # the key, or the bounds of a slice
        index += 1
        step = steps[index]
        if step.op in {"set item", "copy"}:
            return True
    return False


@lru_cache(maxsize=1024)
def _steps(code: CodeType) -> list[_Step]:
    steps = [step for each in dis.get_instructions(code) for step in _read(each)]
    return [*steps, _Step("end", None), _Step("end", None)]


def _read(instruction: dis.Instruction) -> Iterator[_Step]:
    name, arg = instruction.opname, instruction.argval
    if name in _REBINDS:
        yield _Step("rebind", arg)
    elif name.startswith("LOAD_GLOBAL"):
        yield _Step("global", arg)
    elif name.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF")):
        # From Python 3.13 on, one instruction may load two variables.
        for each in arg if isinstance(arg, tuple) else (arg,):
            yield _Step("variable", each)
    elif name.startswith(("LOAD_CONST", "LOAD_SMALL_INT")):
        yield _Step("constant", arg)
    elif name == "BINARY_OP" and instruction.argrepr.startswith("["):  # from Python 3.14 on
        yield _Step("item", None)
    elif name == "COPY":
        yield _Step("copy", None)
    elif name not in {"CACHE", "EXTENDED_ARG", "NOP", "PUSH_NULL"}:
        yield _Step(_KINDS.get(name, "other"), arg)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)
