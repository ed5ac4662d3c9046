"""Pickling of values and functions for another process."""

from __future__ import annotations

import functools
import io
import os
import pickle
import sys
import threading
from typing import Any

import cloudpickle  # type: ignore[import-untyped] # it has no types

from flowspan.core.failures import error_text, error_type
from flowspan.core.pickling import (
    EditedError,
    FunctionReference,
    loaded_function,
    portable_function,
)
from flowspan.core.sent_by_value import pickler_by_value
from flowspan.core.type_hints import signature_of
from flowspan.core.values.inspection import type_name
from flowspan.drivers.processes.exception_pickling import are_arguments, reduce_error
from flowspan.exceptions import NotPortable, RemoteError

_ADVICE = (
    "Pass something that can be pickled (plain data, a path, an id), or create it inside the "
    "task; or run the task on threads (ThreadPoolTaskRunner)."
)


_by_value = threading.Lock()
"""Held while cloudpickle is configured to pickle a module by value, for all threads."""


class _Pickler(pickler_by_value()):  # type: ignore[misc] # untyped
    """A pickler that takes functions and classes by value if necessary, and any exception."""

    def reducer_override(self, obj: Any) -> Any:
        """Pickle exceptions with their tracebacks; see `pickle.Pickler`."""
        if issubclass(type(obj), BaseException):
            return reduce_error(obj, dumps)
        if type(obj) is functools.partialmethod:
            # Python 3.14 cannot load its own pickle of a partialmethod.
            return _partialmethod, (obj.func, obj.args, obj.keywords)
        return super().reducer_override(obj)


def _partialmethod(
    func: Any, args: tuple[Any, ...], keywords: dict[str, Any]
) -> functools.partialmethod[Any]:
    return functools.partialmethod(func, *args, **keywords)


def dumps(value: Any) -> bytes:
    """Pickle a value.

    Raises:
        Exception: Any error of the value's own pickling.
    """
    with io.BytesIO() as file:
        _Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
        return file.getvalue()


def loads(data: bytes) -> Any:
    """Load a pickled value.

    Raises:
        Exception: Any error of the value's own unpickling.
    """
    return pickle.loads(data)  # noqa: S301 - from this program's own process


def dump_error(error: BaseException) -> bytes:
    """Pickle the exception of a task, or a RemoteError if its own methods fail."""
    try:
        return dumps(error)
    except BaseException:  # noqa: BLE001 - user code may raise anything
        return dumps(RemoteError(error_text(error), error_type(error)))


def dump_call(who: str, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Pickle the arguments of a call.

    Args:
        who: The task in errors, as in "Task 'load'".
        fn: The function, for the names of its parameters.
        args: The positional arguments.
        kwargs: The keyword arguments.

    Raises:
        NotPortable: An argument cannot be pickled; the message names it.
    """
    try:
        return dumps((args, kwargs))
    except Exception as error:
        names = _positional_names(fn)
        named = [
            (f"argument {names[i]!r}" if i < len(names) else f"argument {i + 1}", value)
            for i, value in enumerate(args)
        ]
        named += [(f"argument {name!r}", value) for name, value in kwargs.items()]
        for label, value in named:
            reason = _why_not(value)
            if reason is not None:
                raise NotPortable(
                    f"{who}: {label} (of type {type_name(type(value))}) cannot be sent to a worker "
                    f"process: {reason}. {_ADVICE}"
                ) from error
        raise NotPortable(
            f"{who}: its arguments cannot be sent to a worker process: {_summary(error)}. {_ADVICE}"
        ) from error


def _positional_names(fn: Any) -> list[str]:
    parameters = signature_of(fn).parameters.values()
    return [p.name for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]


def load_call(data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Load the arguments of a call.

    Raises:
        NotPortable: They cannot be loaded here.
    """
    token = are_arguments.set(True)
    try:
        args, kwargs = loads(data)
    except Exception as error:
        raise NotPortable(
            f"The arguments could not be loaded in the worker process: {_summary(error)}."
        ) from error
    finally:
        are_arguments.reset(token)
    return args, kwargs


def dump_function(who: str, fn: Any, text: str = "") -> tuple[bytes, bool]:
    """Pickle the function of a task.

    Args:
        who: The task in errors, as in "Task 'load'".
        fn: The function.
        text: The hash of its source, to verify the worker's import; empty skips the check.

    Returns:
        The pickled function, and True if it is pickled by name and therefore constant.

    Raises:
        NotPortable: It cannot be pickled.
    """
    portable = portable_function(fn)
    if isinstance(portable, FunctionReference):
        portable.text = text
    try:
        return dumps(portable), isinstance(portable, FunctionReference)
    except Exception as error:
        raise NotPortable(
            f"{who}: its function cannot be sent to a worker process: {_summary(error)}. It is "
            "pickled by value, with the globals and outer variables that it uses, because it "
            "cannot be imported (it is in __main__ or inside a function, or is a method of an "
            "object that cannot be pickled). Move it to a module, or create the objects inside it."
        ) from error


def dump_function_by_value(who: str, fn: Any, module: str) -> bytes:
    """Pickle the function of a task by value, with all parts of its module that it uses.

    Args:
        who: The task in errors, as in "Task 'load'".
        fn: The function.
        module: Its module.

    Raises:
        NotPortable: It cannot be pickled.
    """
    owner = sys.modules[module]
    with _by_value:
        is_asked_for = module in cloudpickle.list_registry_pickle_by_value()
        cloudpickle.register_pickle_by_value(owner)
        try:
            return dump_function(who, fn)[0]
        finally:
            if not is_asked_for:
                cloudpickle.unregister_pickle_by_value(owner)


def load_function(data: bytes) -> Any:
    """Load the function of a task.

    Raises:
        NotPortable: It cannot be loaded here.
        EditedError: Its module here differs from the one that the program imported.
    """
    try:
        return loaded_function(loads(data))
    except EditedError:
        raise
    except Exception as error:
        raise NotPortable(
            f"The task's function could not be loaded in the worker process: {_summary(error)}. "
            "Its module must be importable there."
        ) from error


def dump_result(who: str, value: Any) -> bytes:
    """Pickle the return value of a task.

    Raises:
        NotPortable: It cannot be pickled.
    """
    try:
        return dumps(value)
    except Exception as error:
        raise NotPortable(
            f"{who} returned a value of type {type_name(type(value))}, which cannot be sent back "
            f"from the worker process: {_summary(error)}. Return something that can be pickled "
            "(plain data, a path), or run the task on threads (ThreadPoolTaskRunner)."
        ) from error


def load_result(who: str, data: bytes) -> Any:
    """Load the return value of a task.

    Raises:
        NotPortable: It cannot be loaded here.
    """
    try:
        return loads(data)
    except Exception as error:
        raise NotPortable(
            f"What {who} returned in a worker process could not be loaded here: {_summary(error)}."
        ) from error


def only_portable(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that can be pickled."""
    return {name: value for name, value in values.items() if _why_not(value) is None}


def _why_not(value: Any) -> str | None:
    try:
        dumps(value)
    except Exception as error:  # noqa: BLE001 - user code may raise anything
        return _summary(error)
    return None


def _summary(error: BaseException) -> str:
    return error_text(error).rstrip(".") or type_name(type(error))


def _renew_lock() -> None:
    """Replace the lock in a forked child: a thread that the child does not have may hold it."""
    global _by_value  # noqa: PLW0603 - one per process
    _by_value = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
