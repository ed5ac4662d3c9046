"""Every annotation leaves a flow callable: unsupported ones are skipped with a warning."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import sys
import threading
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import (
    IO,
    TYPE_CHECKING,
    Annotated,
    Any,
    BinaryIO,
    NamedTuple,
    NewType,
    ParamSpec,
    Protocol,
    Self,
    TextIO,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    Unpack,
    runtime_checkable,
)

import pytest
import typing_extensions
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter

from flowspan import Flow, flow
from flowspan.exceptions import ParameterError

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

if sys.version_info < (3, 14):  # pydantic.v1 does not support that version.
    import pydantic.v1

    class Old(pydantic.v1.BaseModel):
        n: int

    OLD: dict[str, tuple[Any, Any]] = {
        "pydantic.v1": (Old, Old(n=1)),
        "list of pydantic.v1": (list[Old], [Old(n=1)]),
        "pydantic.v1 or None": (Old | None, Old(n=1)),
        "Annotated pydantic.v1": (Annotated[Old, "old"], Old(n=1)),
    }
else:
    OLD = {}


class Reader(Protocol):
    def read(self) -> str: ...


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Source(Protocol[T_co]):
    def get(self) -> T_co: ...


class Books:
    def read(self) -> str:
        return "books"

    def get(self) -> int:
        return 1


class Refuses:
    """Mimics a class of a half-ported library."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        raise RuntimeError("not today")


class OldStyle:
    """A pydantic 1 style type, whose validator takes one argument."""

    @classmethod
    def __get_validators__(cls) -> Iterator[Callable[..., Any]]:
        yield cls.validate

    @classmethod
    def validate(cls, value: Any) -> Any:
        raise AssertionError("pydantic 1 validators are not supported")


class Unaskable(type):
    def __instancecheck__(cls, value: object) -> bool:
        raise RuntimeError("do not ask")


class Guarded(metaclass=Unaskable):
    pass


class Unfinished(BaseModel):
    next: Nowhere  # type: ignore[name-defined] # noqa: F821 - never defined


@dataclass
class Holder:
    reader: Reader


class Row(NamedTuple):
    reader: Reader


class Options(TypedDict):
    reader: Reader


class OptionsOfExtensions(typing_extensions.TypedDict):
    reader: Reader


P = ParamSpec("P")
Ts = TypeVarTuple("Ts")
Bound = TypeVar("Bound", bound=Reader)
BoundToNothing = TypeVar("BoundToNothing", bound="Nowhere")  # type: ignore[name-defined] # noqa: F821 - never defined
Shelf = NewType("Shelf", Reader)  # type: ignore[valid-newtype] # works at run time
BOOKS = Books()
FILE = object()
"""Placeholder for an open file, which each test opens itself."""

UNPACKED: dict[str, tuple[Any, Any]] = {
    "tuple with unpacked items": (tuple[int, *tuple[str, ...]], (1, "a", "b")),
    "tuple with items of any types": (tuple[*Ts], (1, "a")),
    "list of such tuples, or None": (list[tuple[int, *Ts]] | None, [(1, "a", "b")]),
}

NOT_CHECKED: dict[str, tuple[Any, Any]] = {
    "protocol": (Reader, BOOKS),
    "list of a protocol": (list[Reader], [BOOKS]),
    "sequence of a protocol": (Sequence[Reader], [BOOKS]),
    "mapping to a protocol": (Mapping[str, Reader], {"a": BOOKS}),
    "tuple of a protocol": (tuple[Reader, ...], (BOOKS,)),
    "Annotated protocol": (Annotated[Reader, "of books"], BOOKS),
    "protocol or None": (Reader | None, BOOKS),
    "union with a protocol": (int | Reader, BOOKS),
    "generic protocol": (Source[int], BOOKS),
    "class of a protocol": (type[Reader], Books),
    "deep in a list": (list[dict[str, Reader | None]], [{"a": BOOKS}]),
    "TextIO": (TextIO, FILE),
    "IO": (IO, FILE),
    "IO[str]": (IO[str], FILE),
    "BinaryIO": (BinaryIO, FILE),
    "list of files": (list[TextIO], [FILE]),
    "file or None": (TextIO | None, FILE),
    "class that refuses": (Refuses, Refuses()),
    "list of a class that refuses": (list[Refuses], [Refuses()]),
    "type of pydantic 1": (OldStyle, OldStyle()),
    "class that is not to be asked": (Guarded, Guarded()),
    "model with a name that nobody knows": (Unfinished, "next"),
    "list of a dataclass with a protocol": (list[Holder], [Holder(BOOKS)]),
    "named tuple with a protocol": (Row, Row(BOOKS)),
    "typed dictionary with a protocol": (Options, {"reader": BOOKS}),
    "one of typing_extensions": (OptionsOfExtensions, {"reader": BOOKS}),
    "type variable with a protocol": (Bound, BOOKS),
    "type variable with an unknown name": (BoundToNothing, BOOKS),
    "new type of a protocol": (Shelf, BOOKS),
    "forward reference": ("Nowhere", BOOKS),
    "forward reference in a list": ("list[Nowhere]", [BOOKS]),
    "quoted forward reference in a list": (list["Nowhere"], [BOOKS]),  # type: ignore[name-defined] # noqa: F821 - never defined
    "import for type checkers": ("OnlyForTypes", 1),
    "text": ("the number of days", 1),
    "number": (5, 1),
    "list of types": ([int], [1]),
    "tuple of types": ((int, str), (1, "a")),
    "dictionary": ({"a": int}, {"a": 1}),
    "function": (any, 1),
    "module": (typing, 1),
    **UNPACKED,
    "Self": (Self, 1),
    "ClassVar": (typing.ClassVar[int], 1),
    "Required": (typing.Required[int], 1),
    "NoReturn": (typing.NoReturn, 1),
    "InitVar": (dataclasses.InitVar[int], 1),
    **OLD,
}


def flow_of(annotation: Any, **options: Any) -> Flow[..., Any]:
    """Return a flow with one parameter of this annotation and one that can be validated."""

    def reads(it, n): ...

    def call(it: Any, n: Any) -> Any:
        return it, n

    call.__annotations__ = {"it": annotation, "n": int}
    return flow(name="reads", **options)(call)


def opened(value: Any, path: Path) -> Any:
    """Return the value with FILE replaced by an open file."""
    if value is FILE:
        return path.open()
    return [opened(FILE, path)] if value == [FILE] else value


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "file"
    file.write_text("text")
    return file


def told(recorder: Recorder, name: str = "reads") -> list[str]:
    """Return the warnings about annotations."""
    runs = [run for run in recorder.runs if run.function_name == name]
    return [line for run in runs for line in recorder.logs(run) if "is not validated" in line]


@pytest.mark.parametrize("case", NOT_CHECKED.values(), ids=NOT_CHECKED)
def test_what_cannot_be_checked_is_passed_on_and_told_once(
    recorder: Recorder, path: Path, case: Any
) -> None:
    annotation, value = case
    reads = flow_of(annotation)
    given = opened(value, path)
    for _ in range(2):
        found, n = reads(given, "5")
        assert found is given
        assert n == 5, "the other parameter must be validated"
    (line,) = told(recorder)
    assert line.startswith("Flow 'reads': parameter 'it' is not validated: its annotation ")
    assert "cannot be checked (" in line
    with pytest.raises(ParameterError, match="'n'"):
        reads(given, "many")
    for each in given if isinstance(given, list) else [given]:
        if hasattr(each, "close"):
            each.close()


@pytest.mark.filterwarnings("ignore")
def test_where_warnings_are_no_errors_it_is_the_same(recorder: Recorder) -> None:
    for annotation, value in (OLD | UNPACKED).values():
        assert flow_of(annotation)(value, "5") == (value, 5)
    assert flow_of(5)(1, "5") == (1, 5)
    assert len(told(recorder)) == len(OLD) + len(UNPACKED) + 1


CHECKED: dict[str, tuple[Any, Any, Any]] = {
    "type variable": (T, BOOKS, BOOKS),
    "bound type variable": (TypeVar("Number", bound=int), "5", 5),
    "list of a type variable": (list[T], (1, "a"), [1, "a"]),
    "new type": (NewType("Day", int), "5", 5),
    "callable with a protocol": (Callable[[Reader], int], len, len),
    "callable with a parameter specification": (Callable[P, int], len, len),
    "class": (Books, BOOKS, BOOKS),
    "dataclass with a protocol": (Holder, Holder(BOOKS), None),
    "Any": (Any, BOOKS, BOOKS),
    "object": (object, BOOKS, BOOKS),
    "Final": (typing.Final[int], "5", 5),
    "path": (Path, "/", Path("/")),
    "text": ("int", "5", 5),
}


@pytest.mark.parametrize("case", CHECKED.values(), ids=CHECKED)
def test_what_can_be_checked_is(recorder: Recorder, case: Any) -> None:
    annotation, given, expected = case
    found, _ = flow_of(annotation)(given, 5)
    assert found == (given if expected is None else expected)
    assert not told(recorder)


@runtime_checkable
class Checked(Protocol):
    def read(self) -> str: ...


def test_a_protocol_that_can_be_checked_is(recorder: Recorder) -> None:
    checked = flow_of(Checked)
    assert checked(BOOKS, 1)[0] is BOOKS
    with pytest.raises(ParameterError, match="'it'"):
        checked(5, 1)


def test_variadic_parameters(recorder: Recorder) -> None:
    @flow(name="reads")
    def specified(*args: P.args, **kwargs: P.kwargs) -> Any:
        return args, kwargs

    @flow(name="reads")
    def unpacked(*args: *Ts) -> Any:
        return args

    @flow(name="reads")
    def pair(*args: *tuple[int, str]) -> Any:
        return args

    assert specified(1, a=2) == ((1,), {"a": 2})
    assert unpacked(1, "a") == (1, "a")
    assert pair("1", "a") == ("1", "a")
    assert not told(recorder)

    @flow(name="reads")
    def several(*readers: Reader, **named: TextIO) -> Any:
        return readers, named

    assert several(BOOKS, BOOKS, a=1) == ((BOOKS, BOOKS), {"a": 1})
    assert not told(recorder)

    class Limits(typing_extensions.TypedDict):
        low: int

    @flow(name="limited")
    def limited(**limits: Unpack[Limits]) -> Any:
        return limits

    assert limited(low="1") == {"low": "1"}


class Sized:
    def __len__(self) -> int:
        raise TypeError("not loaded")


CONSTRAINTS: dict[str, tuple[Any, Any]] = {
    "length": (Annotated[object, Field(max_length=3)], BOOKS),
    "limit": (Annotated[object, Field(gt=3)], "a"),
    "multiple": (Annotated[Any, Field(multiple_of=3)], BOOKS),
    "digits": (Annotated[object, Field(max_digits=3)], BOOKS),
    "of a class": (Annotated[Books, Field(min_length=1)], BOOKS),
    "in a list": (list[Annotated[object, Field(max_length=3)]], [BOOKS]),
    "or None": (Annotated[object, Field(max_length=3)] | None, BOOKS),
}


@pytest.mark.parametrize("case", CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_a_constraint_that_does_not_apply_to_a_value(recorder: Recorder, case: Any) -> None:
    annotation, value = case
    reads = flow_of(annotation)
    for _ in range(2):
        assert reads(value, "5") == (value, 5)
    (line,) = told(recorder)
    assert line.startswith("Flow 'reads': parameter 'it' is not validated where it is of type ")
    assert "0x" not in line, "the warning must not show the value"


def test_a_constraint_holds_for_the_values_that_it_applies_to(recorder: Recorder) -> None:
    reads = flow_of(Annotated[object, Field(max_length=3)])
    reads(BOOKS, 5)
    with pytest.raises(ParameterError, match=r"'it'.* at most 3 items"):
        reads([1, 2, 3, 4], 5)


def test_an_error_of_the_users_own_is_none_of_pydantics(recorder: Recorder) -> None:
    def validate(value: Any) -> Any:
        return TypeAdapter(Annotated[object, Field(max_length=3)]).validate_python(value)

    for annotation, value in [
        (Annotated[object, AfterValidator(validate)], BOOKS),
        (Annotated[object, AfterValidator(len)], Sized()),
    ]:
        with pytest.raises(TypeError):
            flow_of(annotation)(value, 5)
    assert not told(recorder)


class Here(BaseModel):
    n: int


def local_flows() -> tuple[Any, ...]:
    """Return flows whose annotations refer to names local to this function."""

    class Local(BaseModel):
        n: int

    @flow(name="reads")
    def plain(it: Local, others: list[Local], here: Here, n: int = 1) -> Any:
        return it, others, n

    @flow(name="reads")
    async def later(it: Local, others: list[Local], here: Here, n: int = 1) -> Any:
        return it, others, n

    class Store:
        Alias = Local

        @flow(name="reads")
        def method(self, it: Alias, others: list[Local], here: Here, n: int = 1) -> Any:
            return it, others, n

    return plain, later, Store().method


@pytest.mark.parametrize("number", range(3), ids=["plain", "async", "method"])
@pytest.mark.parametrize("how", ["itself", "copy", "pickled", "validated again", "in a thread"])
def test_a_model_of_the_defining_function(recorder: Recorder, number: int, how: str) -> None:
    it = local_flows()[number]
    if how == "copy":
        it = it.with_options(name="reads", retries=1)
    elif how == "pickled":
        it = pickle.loads(pickle.dumps(it))  # noqa: S301 - our own pickle
    elif how == "validated again":
        it = it.with_options(validate_parameters=False).with_options(validate_parameters=True)

    def call(*args: Any) -> Any:
        value = it(*args)
        return asyncio.run(value) if asyncio.iscoroutine(value) else value

    found: list[Any] = []
    args = {"n": "1"}, [{"n": 2}], {"n": 3}, "4"
    if how == "in a thread":
        thread = threading.Thread(target=lambda: found.append(call(*args)))
        thread.start()
        thread.join()
    else:
        found.append(call(*args))
    one, others, n = found[0]
    assert [one.n, others[0].n, n] == [1, 2, 4]
    assert {type(one).__name__, type(others[0]).__name__} == {"Local"}
    assert not told(recorder)
    with pytest.raises(ParameterError, match=r"'it'.*'n'"):
        call({"n": "x"}, [], {"n": 3})


def test_a_model_that_the_code_of_the_function_uses_as_well(recorder: Recorder) -> None:
    """The model's name is then a closure variable, which may be assigned after the decorator."""

    class Early(BaseModel):
        n: int

    @flow
    def it(early: Early, late: Late) -> tuple[bool, bool, int]:
        return isinstance(early, Early), isinstance(late, Late), early.n + late.n

    class Late(BaseModel):
        n: int

    given: Any = {"n": "5"}
    assert it(given, given) == (True, True, 10)
    assert not told(recorder, "it")


def test_a_model_that_comes_later_is_told_of(recorder: Recorder) -> None:
    @flow(name="reads")
    def reads(it: Later, n: int) -> Any:
        return it, n

    class Later(BaseModel):
        pass

    assert reads({}, "5") == ({}, 5)
    (line,) = told(recorder)
    assert "parameter 'it'" in line
    assert "annotation Later" in line
    assert "name 'Later' is not defined" in line
    assert "import or define its names" in line


def test_in_copies_of_a_flow_it_is_told_once(recorder: Recorder) -> None:
    class Store:
        @flow(name="reads")
        def read(self, it: Reader) -> Any:
            return it

    store = Store()
    for _ in range(2):
        store.read(BOOKS)
        store.read.with_options(name="reads", retries=1)(BOOKS)
    assert len(told(recorder)) == 1


def test_a_pydantic_field_of_what_cannot_be_checked(recorder: Recorder) -> None:
    described: Any = Field(default=None, description="which")

    @flow(name="reads")
    def reads(it: Reader = described, n: int = 1) -> Any:
        return it, n

    assert reads(BOOKS, n="5") == (BOOKS, 5)
    assert reads() == (None, 1)
    assert len(told(recorder)) == 1


@pytest.mark.filterwarnings("ignore:`__get_validators__` is deprecated")
def test_a_validator_that_raises_is_no_obstacle(recorder: Recorder) -> None:
    class Picky:
        @classmethod
        def __get_validators__(cls) -> Iterator[Callable[..., Any]]:
            yield cls.validate

        @classmethod
        def validate(cls, value: Any, _: Any) -> Any:
            raise TypeError("picky")

    with pytest.raises(TypeError, match="picky"):
        flow_of(Picky)(1, 1)
    assert recorder.end("reads") == ("FAILED", "Failed")


def test_arrays_and_frames(recorder: Recorder) -> None:
    numpy = pytest.importorskip("numpy")
    pandas = pytest.importorskip("pandas")
    array, frame = numpy.zeros(2), pandas.DataFrame({"a": [1]})
    for annotation, value in (
        (numpy.ndarray, array),
        (numpy.typing.NDArray[numpy.float64], array),
        (pandas.DataFrame, frame),
        (pandas.Series, frame["a"]),
        (list[pandas.DataFrame], [frame]),
        (pandas.DataFrame | None, frame),
        (numpy.array, [1]),
    ):
        found, n = flow_of(annotation)(value, "5")
        assert n == 5
        assert found is value or found[0] is value[0]
