"""Copies of results, for flows that may be tried again: what is changed later, changes no copy.

A copy is made by pickling, as far as a value can be pickled. What cannot be (a lock, a socket, a
generator), and functions and classes, are parts of the copy as they are.
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
"""Files that let go of nothing at their end, although they have the `__del__` of all files.

A subclass may do more when it is closed.
"""

_loading = threading.local()


class Snapshot:
    """A value as it was when this was made.

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
        except Exception:  # noqa: BLE001 - whatever a value raises: it is kept as it is
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
    """Pickles a value, but for the parts that its copies share with it.

    Attributes:
        shared: These parts.
        has_resources: True if one of them is no function and no class. The value is kept alive
            then: what it lets go of at its end, its copies still use.
    """

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, pickle.HIGHEST_PROTOCOL)
        self.shared: list[Any] = []
        self.has_resources = False

    def reducer_override(self, obj: Any) -> Any:
        """Return how an object is pickled; called for what pickle does not know by itself."""
        kind: Any = type(obj)
        if obj is _shared_part or kind in copyreg.dispatch_table:
            return NotImplemented
        if kind is object or issubclass(kind, _SHARED):
            self.has_resources |= issubclass(kind, weakref.finalize)
            return self._as_it_is(obj)
        # The iterators of itertools can be pickled up to Python 3.13, which warns of it.
        is_inert = kind in _IN_MEMORY or not hasattr(kind, "__del__")
        if is_inert and kind.__module__ != "itertools":
            try:
                return kind.__reduce_ex__(obj, pickle.HIGHEST_PROTOCOL)
            except Exception:  # noqa: BLE001, S110 - whatever a value raises: it cannot be pickled
                pass
        self.has_resources = True
        return self._as_it_is(obj)

    def _as_it_is(self, obj: Any) -> tuple[Any, ...]:
        self.shared.append(obj)
        return _shared_part, (len(self.shared) - 1,)


def _shared_part(index: int) -> Any:
    return _loading.shared[index]
