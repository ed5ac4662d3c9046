"""Copies of results for flows with retries: later changes to a value do not affect its copy.

Copies are created by pickling. Parts that cannot be pickled (a lock, a socket, a generator), and
functions and classes, are shared between the value and its copies.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import threading
import weakref
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from flowspan.core.values.traversal import ATOMIC

_IMMUTABLE = ATOMIC - {bytearray}
_SHARED = (type, FunctionType, BuiltinFunctionType, ModuleType, weakref.finalize)

_IN_MEMORY = frozenset({io.BytesIO, io.StringIO})
"""Files that release no resource, although they have the `__del__` of all files.

A subclass may release more when it is closed.
"""

_loading = threading.local()


class Snapshot:
    """A value as it was when the snapshot was taken.

    Args:
        value: The value.
    """

    __slots__ = ("_data", "_shared", "_value")

    def __init__(self, value: Any) -> None:
        self._value: Any = value
        self._data: bytes | None = None
        self._shared: list[Any] = []
        kind = type(value)
        if kind in _IMMUTABLE or (kind is tuple and _IMMUTABLE.issuperset(map(type, value))):
            return
        buffer = io.BytesIO()
        pickler = _Pickler(buffer)
        try:
            pickler.dump(value)
        except Exception:  # noqa: BLE001 - a value may raise anything; it is then shared
            return
        self._data, self._shared = buffer.getvalue(), pickler.shared
        if not pickler.has_resources:
            self._value = None

    def load(self) -> Any:
        """Return the value, a new copy each time; the value itself if it cannot be copied.

        Raises:
            Exception: It could be pickled, but its pickle cannot be read.
        """
        if self._data is None:
            return self._value
        before = getattr(_loading, "shared", None)
        _loading.shared = self._shared
        try:
            return pickle.loads(self._data)  # noqa: S301 - pickled by this process, above
        finally:
            _loading.shared = before


class _Pickler(pickle.Pickler):
    """A pickler that leaves out the parts that the copies share with the value.

    Attributes:
        shared: These parts.
        has_resources: True if one of them is neither a function nor a class. The value is then kept
            alive, because its finalizer would release resources that its copies use.
    """

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, pickle.HIGHEST_PROTOCOL)
        self.shared: list[Any] = []
        self.has_resources = False

    def reducer_override(self, obj: Any) -> Any:
        """Return the reduction of an object that pickle does not handle natively."""
        kind: Any = type(obj)
        if obj is _shared_part or kind in copyreg.dispatch_table:
            return NotImplemented
        if kind is object or issubclass(kind, _SHARED):
            self.has_resources |= issubclass(kind, weakref.finalize)
            return self._as_it_is(obj)
        # The iterators of itertools can be pickled up to Python 3.13, which warns about it.
        is_inert = kind in _IN_MEMORY or not hasattr(kind, "__del__")
        if is_inert and kind.__module__ != "itertools":
            try:
                return kind.__reduce_ex__(obj, pickle.HIGHEST_PROTOCOL)
            except Exception:  # noqa: BLE001, S110 - a value may raise anything; it is then shared
                pass
        self.has_resources = True
        return self._as_it_is(obj)

    def _as_it_is(self, obj: Any) -> tuple[Any, ...]:
        self.shared.append(obj)
        return _shared_part, (len(self.shared) - 1,)


def _shared_part(index: int) -> Any:
    return _loading.shared[index]
