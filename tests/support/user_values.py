"""Hostile values that misbehave on any access, and real objects that do so.

Worker processes can import everything here. Each call of a maker creates a new value.
"""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, computed_field
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Touched(Exception):  # noqa: N818 - not an error
    """A value was accessed although no code may do that."""


class _UnhashableType(type):
    """The metaclass of classes that cannot be hashed or compared."""

    def __eq__(cls, other: object) -> bool:
        raise Touched("the class was compared")

    __hash__ = None  # type: ignore[assignment] # on purpose


def _refuse(name: str) -> Any:
    def method(self: object, *_: object, **__: object) -> Any:
        touched.append(name)
        raise Touched(name)

    method.__name__ = name
    return method


touched: list[str] = []
"""The accesses to instances of `Hostile`, in this process."""

_METHODS = (
    *("__bool__", "__len__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"),
    *("__iter__", "__next__", "__contains__", "__getitem__", "__length_hint__", "__reversed__"),
    *("__getattr__", "__dir__", "__repr__", "__str__", "__format__", "__call__", "__await__"),
    *("__int__", "__float__", "__index__", "__copy__", "__deepcopy__", "__enter__", "__exit__"),
)


class Hostile(metaclass=_UnhashableType):
    """Raises on any access; its class is unhashable, and it lies about its class."""

    __hash__ = None  # type: ignore[assignment] # on purpose

    @property
    def __class__(self) -> Any:
        touched.append("__class__")
        raise Touched("__class__")

    def __reduce__(self) -> Any:
        return Hostile, ()


for _name in _METHODS:
    setattr(Hostile, _name, _refuse(_name))


class Unpicklable(Hostile):
    """A hostile value that cannot be pickled either."""

    def __reduce__(self) -> Any:
        touched.append("__reduce__")
        raise Touched("__reduce__")


class HostileDict(dict[Any, Any]):
    """A dictionary whose own methods for iteration raise."""


class HostileList(list[Any]):
    """A list whose own methods for iteration raise."""


class HostileTuple(tuple[Any, ...]):
    """A tuple whose own methods for iteration raise."""

    __slots__ = ()


class HostileSet(set[Any]):
    """A set whose own methods for iteration raise."""


for _kind in (HostileDict, HostileList, HostileTuple, HostileSet):
    for _name in (*_METHODS, "values", "items", "keys", "copy", "get", "update", "__setitem__"):
        if _name not in {"__getattr__", "__call__", "__await__", "__enter__", "__exit__"}:
            setattr(_kind, _name, _refuse(_name))
    _kind.__reduce_ex__ = lambda self, _: (_raw, (type(self), _content(self)))  # type: ignore[method-assign]


def _content(value: Any) -> Any:
    if isinstance(value, dict):
        return list(zip(dict.__iter__(value), dict.values(value), strict=True))
    base: Any = next(kind for kind in (list, tuple, set) if isinstance(value, kind))
    return [*base.__iter__(value)]


def _raw(kind: type, content: Any) -> Any:
    return kind(content)


class HostileError(Exception):
    """An error that raises on any access, and is false."""

    __hash__ = None  # type: ignore[assignment] # on purpose

    @property
    def __class__(self) -> Any:
        raise Touched("__class__")

    def __getattribute__(self, name: str) -> Any:
        raise Touched(name)

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


for _name in ("__str__", "__repr__", "__eq__", "__ne__", "__reduce__", "__reduce_ex__", "__iter__"):
    setattr(HostileError, _name, _refuse(_name))


class FalseError(Exception):
    """An exception that is false, like errors that are empty collections."""

    def __len__(self) -> int:
        return 0


class ExitingError(Exception):
    """An exception whose text asks the interpreter to exit."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class NamelessError(Exception):
    """An exception whose class has no usable name."""

    __module__ = None  # type: ignore[assignment] # on purpose
    __notes__ = 5


class _Text(str):
    """A string whose methods raise."""

    __slots__ = ()


for _name in (
    "__len__",
    "encode",
    "__str__",
    "__format__",
    "__eq__",
    "__add__",
    "split",
    "__iter__",
):
    setattr(_Text, _name, _refuse(_name))
_Text.__hash__ = None  # type: ignore[assignment,method-assign] # on purpose


class TextError(Exception):
    """An exception whose text is a string with raising methods."""

    def __str__(self) -> str:
        return _Text("bad text")


def chained_error() -> BaseException:
    """Return an error caused by a hostile one, in a group."""
    error = ExceptionGroup("several", [HostileError(), ValueError(Hostile())])
    error.__cause__ = HostileError()
    return error


def circular_error() -> BaseException:
    """Return two errors that cause each other."""
    error, other = FalseError("one"), KeyError("two")
    error.__cause__, other.__cause__ = other, error
    return error


def false_error() -> BaseException:
    return FalseError("nothing in it")


def nameless_error() -> BaseException:
    return NamelessError("no name")


def surrogate_error() -> BaseException:
    return ValueError("half \ud800")


def error_of_hostile_arguments() -> BaseException:
    return ValueError(Hostile(), HostileDict(a=1))


ERRORS: dict[str, Callable[[], BaseException]] = {
    "hostile": HostileError,
    "false": false_error,
    "exiting": ExitingError,
    "nameless": nameless_error,
    "text": TextError,
    "surrogate": surrogate_error,
    "hostile arguments": error_of_hostile_arguments,
    "chained": chained_error,
    "circular": circular_error,
}
"""Makers of exceptions that are hard to report, by name."""


@dataclass
class Lazy:
    """A dataclass with a field behind a property that must not be read."""

    name: str
    rows: Any = None


def _load(_: Lazy) -> Any:
    touched.append("rows")
    raise Touched("rows")


Lazy.rows = property(_load, lambda self, value: None)


class HostilePath:
    """A path to a remote file, which is downloaded on access to its local path."""

    def __init__(self) -> None:
        self.url = "s3://bucket/1"

    def __fspath__(self) -> str:
        touched.append("__fspath__")
        raise KeyboardInterrupt("__fspath__")

    __str__ = __repr__ = _refuse("text of a path")


class HostileModel(BaseModel):
    """A model with side effects when it computes or serializes."""

    x: int = 1

    @computed_field  # type: ignore[prop-decorator] # pydantic style
    @property
    def rows(self) -> int:
        touched.append("computed_field")
        raise Touched("computed_field")

    def model_dump(self, **_: Any) -> Any:
        touched.append("model_dump")
        raise Touched("model_dump")

    def __repr__(self) -> str:
        touched.append("__repr__")
        raise Touched("__repr__")


class HostileDate(dt.datetime):
    """A date whose text conversion runs a query."""

    isoformat = __str__ = __repr__ = utcoffset = _refuse("text of a date")


class Proxy:
    """A lazy proxy: claims the class of its target, and loads the target to do so."""

    def __init__(self, load: Callable[[], Any]) -> None:
        object.__setattr__(self, "load", load)

    @property
    def __class__(self) -> Any:
        touched.append("__class__")
        return type(object.__getattribute__(self, "load")())

    def __getattr__(self, name: str) -> Any:
        touched.append(name)
        raise Touched(name)

    def __reduce__(self) -> Any:
        return Proxy, (object.__getattribute__(self, "load"),)


def load_list() -> list[int]:
    """Load the target of a `Proxy`."""
    return [1]


class Tensor:
    """An array like torch's tensors: without a truth value, compared element by element."""

    def __init__(self, *items: float, dim: int = 1) -> None:
        self.items = items
        self.dim = dim

    def __bool__(self) -> bool:
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")

    def __eq__(self, other: object) -> Any:
        return Tensor(*self.items)

    __hash__ = object.__hash__

    def __len__(self) -> int:
        if not self.dim:
            raise TypeError("len() of a 0-d tensor")
        return len(self.items)

    def __iter__(self) -> Iterator[float]:
        if not self.dim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.items)

    def item(self) -> float:
        return self.items[0]


class LazyRows:
    """A collection that loads on access, such as the result of a query."""

    def __init__(self) -> None:
        self.loads = 0

    def _loaded(self) -> list[int]:
        touched.append("load")
        self.loads += 1
        return [1, 2]

    def __iter__(self) -> Iterator[int]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def __bool__(self) -> bool:
        return bool(self._loaded())

    def __repr__(self) -> str:
        return repr(self._loaded())


def orm_instance() -> Any:
    """Return a mapped instance with a closed session: reading a field raises."""
    return _orm(is_dataclass=False)


def orm_dataclass() -> Any:
    """Return an instance of a mapped dataclass with a closed session."""
    return _orm(is_dataclass=True)


_orm_lock = threading.Lock()
_orm_classes: dict[bool, Any] = {}


def _orm(*, is_dataclass: bool) -> Any:
    with _orm_lock:
        kind = _orm_classes.get(is_dataclass)
        if kind is None:
            kind = _orm_classes[is_dataclass] = _mapped(is_dataclass=is_dataclass)
    engine = create_engine("sqlite://")
    kind.metadata.create_all(engine)
    with Session(engine) as session:
        row = kind(name="x")
        session.add(row)
        session.commit()  # This expires the fields.
    engine.dispose()
    return row


def _mapped(*, is_dataclass: bool) -> Any:
    bases = (MappedAsDataclass, DeclarativeBase) if is_dataclass else (DeclarativeBase,)
    base = type("Base", bases, {})
    options: dict[str, Any] = {"init": False} if is_dataclass else {}
    return type(
        f"Row{int(is_dataclass)}",
        (base,),
        {
            "__module__": __name__,
            "__tablename__": "rows",
            "__annotations__": {"id": Mapped[int], "name": Mapped[str]},
            "id": mapped_column(primary_key=True, **options),
            "name": mapped_column(),
            "__reduce__": lambda self: (orm_dataclass if is_dataclass else orm_instance, ()),
        },
    )


def frame() -> Any:
    return import_module("pandas").DataFrame({"a": [1, 2]})


def series() -> Any:
    return import_module("pandas").Series([1, 2], name="a")


def array() -> Any:
    return import_module("numpy").array([[1, 2], [3, 4]])


def empty_array() -> Any:
    return import_module("numpy").array([])


def scalar() -> Any:
    return import_module("numpy").float64("nan")


def polars_frame() -> Any:
    return import_module("polars").DataFrame({"a": [1, 2]})


def polars_lazy() -> Any:
    return polars_frame().lazy()


REAL: dict[str, Callable[[], Any]] = {
    "pandas.DataFrame": frame,
    "pandas.Series": series,
    "numpy.array": array,
    "numpy.array, empty": empty_array,
    "numpy.float64": scalar,
    "polars.DataFrame": polars_frame,
    "polars.LazyFrame": polars_lazy,
    "tensor": lambda: Tensor(1.0, 2.0),
    "ORM instance": orm_instance,
    "ORM dataclass": orm_dataclass,
}
"""Makers of real-world values, by name."""

HOSTILE: dict[str, Callable[[], Any]] = {
    "hostile": Hostile,
    "hostile dict": lambda: HostileDict(a=1, b=[2]),
    "hostile list": lambda: HostileList([1, [2]]),
    "hostile tuple": lambda: HostileTuple((1, [2])),
    "hostile set": lambda: HostileSet({1, (2,)}),
    "lazy field": lambda: Lazy("x"),
    "lazy proxy": lambda: Proxy(load_list),
    "lazy rows": LazyRows,
    "hostile path": HostilePath,
    "hostile model": HostileModel,
    "hostile date": lambda: HostileDate(2026, 1, 2, tzinfo=dt.UTC),
}
"""Makers of values that must not be accessed, by name."""

VALUES = {**REAL, **HOSTILE}
