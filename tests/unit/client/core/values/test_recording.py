"""Recording parameters never runs code of the values' classes.

The values here are instances of subclasses of JSON and standard library types with every method
overridden, and of classes whose protocol methods (`__fspath__`, `model_dump`) have side effects.
"""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import importlib
import ipaddress
import json
import os
import pathlib
import re
import uuid
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar
from zoneinfo import ZoneInfo

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PlainSerializer,
    RootModel,
    SecretBytes,
    SecretStr,
    SerializeAsAny,
    computed_field,
    field_serializer,
    model_serializer,
)
from pydantic.dataclasses import dataclass as checked_dataclass
from tests.support.sync_and_async import ASYNC, PLAIN, Kind, ended
from tests.support.user_values import HostileModel, HostilePath, touched

from flowspan.core.failures import reason_of
from flowspan.core.values.payloads import encode_parameters
from flowspan.core.values.recording import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorder import Recorder

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _untouched() -> None:
    touched.clear()


class Interrupted(BaseException):
    """An interrupt that ends only the current test."""


def _refuse(name: str) -> Any:
    def method(*_: object, **__: object) -> Any:
        touched.append(name)
        raise Interrupted(name)

    return method


def subclass_of(base: Any, *bases: Any) -> Any:
    """Return a subclass that overrides every method of the base except construction."""
    kept = {"__new__", "__init__", "__class__", "__dict__", "__doc__", "__init_subclass__"}
    kept |= {"__subclasshook__", "__getattribute__", "__setattr__", "__slots__", "__weakref__"}
    # Overriding the kept names would break the class itself.
    names = {name for name in dir(base) if name not in kept and not name.startswith("_from_parsed")}
    space: dict[str, Any] = {}
    for name in names:
        found = getattr(base, name, None)
        if name.startswith("__") or callable(found) or isinstance(found, property):
            space[name] = _refuse(name)
        elif type(found).__name__ in {"getset_descriptor", "member_descriptor"}:
            space[name] = property(_refuse(name))
    return type(f"Hostile{base.__name__}", (base, *bases), {"__module__": __name__, **space})


def hostile(base: Any, *args: Any, **kwargs: Any) -> Callable[[], Any]:
    return lambda: subclass_of(base)(*args, **kwargs)


class HostileZone(dt.tzinfo):
    utcoffset = dst = tzname = fromutc = _refuse("utcoffset")


class PlainColour(enum.Enum):
    RED = "red"


class HostileColour(enum.Enum):
    RED = ("red", 1)

    @property
    def value(self) -> Any:
        return _refuse("value")()

    __str__ = __repr__ = __format__ = __hash__ = _refuse("method of an enum")  # type: ignore[assignment] # on purpose


class KeyedByHostile(dict[Any, Any]):
    """A dictionary whose keys must not be hashed again."""


class Key(str):
    __slots__ = ("is_closed",)

    def __hash__(self) -> int:
        return _refuse("__hash__")() if getattr(self, "is_closed", False) else 1

    def __eq__(self, other: object) -> bool:
        return _refuse("__eq__")() if getattr(self, "is_closed", False) else self is other


def keyed() -> Any:
    key = Key("a")
    made = KeyedByHostile({key: [1]})
    key.is_closed = True
    return made


def in_exact_dict() -> Any:
    key = Key("a")
    made = {key: HostilePathless()}
    key.is_closed = True
    return made


@dataclass
class HostilePathless:
    x: Any = 1


class HostileMeta(type):
    """The metaclass of classes that must not be compared after creation."""

    def __hash__(cls) -> int:
        return _refuse("hash of a class")() if vars(cls).get("is_closed") else 1

    def __eq__(cls, other: object) -> bool:
        return _refuse("equality of classes")() if vars(cls).get("is_closed") else cls is other


@dataclass(eq=False)
class OfHostileMeta(metaclass=HostileMeta):
    x: int = 1


OfHostileMeta.is_closed = True  # type: ignore[attr-defined] # set on purpose


_UTC_NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)

SUBCLASSES: dict[str, tuple[Callable[[], Any], Any]] = {
    "str": (hostile(str, "text"), "text"),
    "int": (hostile(int, 5), 5),
    "float": (hostile(float, 1.5), 1.5),
    "float without a number": (hostile(float, "nan"), "NaN"),
    "bytes": (hostile(bytes, b"text"), "text"),
    "bytes without text": (hostile(bytes, b"\xff"), "/w=="),
    "bytearray": (hostile(bytearray, b"text"), "text"),
    "dict": (hostile(dict, a=[1]), {"a": [1]}),
    "list": (hostile(list, [1, [2]]), [1, [2]]),
    "tuple": (hostile(tuple, (1, [2])), [1, [2]]),
    "set": (hostile(set, [1]), [1]),
    "frozenset": (hostile(frozenset, [1]), [1]),
    "date": (hostile(dt.date, 2026, 1, 2), "2026-01-02"),
    "datetime": (hostile(dt.datetime, 2026, 1, 2, 12), "2026-01-02T12:00:00"),
    "datetime in a zone": (
        hostile(dt.datetime, 2026, 1, 2, 12, tzinfo=ZoneInfo("Europe/Berlin")),
        "2026-01-02T12:00:00+01:00",
    ),
    "time": (hostile(dt.time, 12, 30), "12:30:00"),
    "timedelta": (hostile(dt.timedelta, 0, 90), 90.0),
    "zone of a datetime": (
        lambda: dt.datetime(2026, 1, 2, tzinfo=HostileZone()),
        f"2026-01-02T00:00:00[{__name__}.HostileZone]",
    ),
    "zone of a time": (
        lambda: dt.time(12, tzinfo=HostileZone()),
        f"12:00:00[{__name__}.HostileZone]",
    ),
    "Decimal": (hostile(decimal.Decimal, "1.10"), "1.10"),
    "enum": (lambda: HostileColour.RED, ["red", 1]),
    "path": (
        lambda: type(
            "P",
            (pathlib.PurePosixPath,),
            dict.fromkeys(
                ("__str__", "__fspath__", "__repr__", "as_posix", "parts", "drive", "root"),
                property(_refuse("path")),
            ),
        )("/data", "x"),
        "/data/x",
    ),
    "keys": (keyed, {"a": [1]}),
    "keys of an exact dictionary": (in_exact_dict, {"a": {"x": 1}}),
    "class of a class": (OfHostileMeta, {"x": 1}),
}


@pytest.mark.parametrize("name", SUBCLASSES)
@pytest.mark.parametrize("place", ["alone", "list", "dictionary", "dataclass", "model"])
def test_subclasses_are_recorded_by_what_they_store(name: str, place: str) -> None:
    make, expected = SUBCLASSES[name]
    places: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        "alone": (lambda value: value, lambda found: found),
        "list": (lambda value: [value], lambda found: found[0]),
        "dictionary": (lambda value: {"in": {"it": value}}, lambda found: found["in"]["it"]),
        "dataclass": (HostilePathless, lambda found: found["x"]),
        "model": (lambda value: AnyModel.model_construct(x=value), lambda found: found["x"]),
    }
    into, out = places[place]
    value = into(make())
    touched.clear()
    data, problems = encode_parameters({"v": value})
    assert touched == []
    assert problems == []
    assert out(json.loads(data)["v"]) == expected


class AnyModel(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    x: Any = None


class Pathless:
    """A class with every protocol that recording used in the past."""

    __fspath__ = model_dump = isoformat = __str__ = __repr__ = _refuse("protocol")  # type: ignore[assignment] # on purpose


class OwnUUID(uuid.UUID):
    __str__ = __int__ = __repr__ = _refuse("UUID")  # type: ignore[assignment] # on purpose
    hex = property(_refuse("hex"))


def test_a_subclass_of_uuid() -> None:
    assert json.loads(encode_parameters({"v": OwnUUID(int=5)})[0])["v"] == str(uuid.UUID(int=5))
    assert touched == []


class OwnFraction(fractions.Fraction):
    __str__ = __repr__ = _refuse("Fraction")  # type: ignore[assignment] # on purpose


class OwnAddress(ipaddress.IPv4Address):
    __str__ = __repr__ = __int__ = _refuse("IPv4Address")  # type: ignore[assignment] # on purpose


@pytest.mark.parametrize(
    "make",
    [HostilePath, Pathless, lambda: OwnFraction(1, 2), lambda: OwnAddress(5)],
    ids=["path", "protocols", "fraction", "address"],
)
@pytest.mark.parametrize(
    "wrap",
    [lambda v: v, lambda v: [{"a": v}], lambda v: AnyModel.model_construct(x=v)],
    ids=["alone", "nested", "model"],
)
def test_other_classes_are_recorded_by_name(make: Any, wrap: Any) -> None:
    data, problems = encode_parameters({"v": wrap(make()), "w": 1})
    assert touched == []
    assert [problem.name for problem in problems] == ["v"]
    assert "cannot be represented in JSON" in problems[0].reason
    assert PLACEHOLDER in json.loads(data)["v"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pathlib.PureWindowsPath("a\\b"), "a\\b"),
        (sorted(os.scandir(pathlib.Path(__file__).parent), key=os.fspath)[0], None),
        (dt.time(12, tzinfo=dt.UTC), "12:00:00+00:00"),
        (_UTC_NOON.astimezone(ZoneInfo("Europe/Berlin")), "2026-01-02T13:00:00+01:00"),
        (fractions.Fraction(1, 2), "1/2"),
        (ipaddress.ip_address("::1"), "::1"),
        (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
        (re.compile("a+"), "a+"),
        (collections.deque([1]), [1]),
        (
            {uuid.UUID(int=5): 1, dt.date(2026, 1, 2): 2, PlainColour.RED: 3},
            {
                str(uuid.UUID(int=5)): 1,
                "2026-01-02": 2,
                "red": 3,
            },
        ),
        (ZoneInfo("Europe/Berlin"), "Europe/Berlin"),
        (HttpUrl("https://example.org/x"), "https://example.org/x"),
        (1 + 2j, "(1+2j)"),
    ],
    ids=str,
)
def test_types_of_the_standard_library(value: Any, expected: Any) -> None:
    for given in (value, AnyModel(x=value)):
        data, problems = encode_parameters({"v": given})
        found = json.loads(data)["v"]
        assert problems == []
        found = found["x"] if given is not value else found
        assert found == (os.fspath(value) if expected is None else expected)


def test_two_keys_that_would_be_one_text() -> None:
    _, problems = encode_parameters({"v": {dt.date(2026, 1, 2): 1, "2026-01-02": 2}})
    assert "two keys" in problems[0].reason


def test_values_of_data_libraries() -> None:
    np, pd = (importlib.import_module(name) for name in ("numpy", "pandas"))
    own = type("Own", (np.int64,), {"item": _refuse("item"), "__int__": _refuse("__int__")})
    later = type("Later", (np.float64,), {"item": _refuse("item"), "__float__": _refuse("f")})
    values = {
        "when": pd.Timestamp("2026-01-02T00:00:00.000000001"),
        "zoned": pd.Timestamp("2026-01-02", tz="Europe/Berlin"),
        "never": pd.NaT,
        "long": pd.Timedelta(90, "s"),
        "day": np.datetime64("2026-01-02"),
        "numbers": [np.float32(1.5), np.bool_(True), np.str_("x"), np.int8(1), later(2.5)],
    }
    data, problems = encode_parameters({**values, "own": own(3)})
    found = json.loads(data)
    assert [problem.name for problem in problems] == ["own"]
    assert PLACEHOLDER in found.pop("own")
    assert touched == []
    assert found == {
        "when": "2026-01-02T00:00:00.000000001",
        "zoned": "2026-01-02T00:00:00+01:00",
        "never": None,
        "long": 90.0,
        "day": "2026-01-02",
        "numbers": [1.5, True, "x", 1, 2.5],
    }


# --- models ---------------------------------------------------------------------------------------


class Inner(BaseModel):
    model_config = ConfigDict(extra="allow")
    day: dt.date
    token: SecretStr = SecretStr("hush")
    blob: SecretBytes | None = SecretBytes(b"hush")


class Outer(BaseModel):
    inner: Inner
    many: dict[str, list[Inner]] = {}
    theirs: int = Field(default=1, alias="theX")
    hidden: str = Field(default="hush", exclude=True)
    _private: str = "hush"

    @computed_field  # type: ignore[prop-decorator] # pydantic style
    @property
    def rows(self) -> int:
        return _refuse("computed")()


class ByAlias(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)
    x: int = Field(default=1, alias="theX")
    y: int = Field(default=1, alias="inY", serialization_alias="outY")


def serialize(value: Any) -> Any:
    return _refuse("serializer")(value)


class SerialisedFields(BaseModel):
    a: str = "hush"
    b: Annotated[str, PlainSerializer(serialize)] = "hush"
    c: list[Annotated[str, PlainSerializer(serialize)]] = ["hush"]
    d: int = 1

    @field_serializer("a")
    def _a(self, value: str) -> str:
        return _refuse("serializer")()


class SerialisedWhole(BaseModel):
    a: str = "hush"

    @model_serializer
    def _all(self) -> Any:
        return _refuse("serializer")()


class Listed(RootModel[list[int]]):
    pass


class Box(BaseModel, Generic[T]):
    of: T


@checked_dataclass
class Checked:
    x: int
    hidden: str = Field(default="hush", exclude=True)


@dataclass(slots=True)
class WithField:
    secret: SecretStr
    more: list[Any] = field(default_factory=list)


class Watched:
    """A data descriptor, which instance attributes cannot shadow."""

    def __get__(self, _instance: object, _owner: object = None) -> int:
        return 1

    def __set__(self, _instance: object, _value: object) -> None:
        raise AssertionError("it must not be set")


@dataclass
class WithClassVariables:
    kind: ClassVar[str] = "row"
    watched: ClassVar[Any] = Watched()
    scale: InitVar[int] = 2
    x: int = 1


@dataclass
class MadeOf:
    x: InitVar[int]

    def __post_init__(self, x: int) -> None:
        self.made = x


MadeOf.x = property(lambda self: self.made)  # type: ignore[misc, assignment] # as in some programs


def test_a_model_is_recorded_by_its_stored_fields() -> None:
    inner = Inner(day=dt.date(2026, 1, 2), more=[_UTC_NOON])  # type: ignore[call-arg] # extra
    outer = Outer(inner=inner, many={"a": [inner]})
    data, problems = encode_parameters({"v": outer})
    assert problems == []
    shown = {
        "day": "2026-01-02",
        "token": "**********",
        "blob": "**********",
        "more": ["2026-01-02T12:00:00+00:00"],
    }
    assert json.loads(data)["v"] == {"inner": shown, "many": {"a": [shown]}, "theirs": 1}
    assert b"hush" not in data
    assert touched == []


def test_aliases_where_the_model_says_so() -> None:
    assert json.loads(encode_parameters({"v": ByAlias()})[0])["v"] == {"theX": 1, "outY": 1}


def test_what_a_serializer_may_hide_stays_hidden() -> None:
    data, problems = encode_parameters({"v": SerialisedFields(), "w": SerialisedWhole()})
    found = json.loads(data)
    assert touched == []
    assert b"hush" not in data
    assert found["v"]["d"] == 1
    assert found["v"]["a"][PLACEHOLDER]["type"] == "str"
    assert PLACEHOLDER in found["v"]["c"]
    assert [problem.name for problem in problems] == ["w"]
    assert "serializer" in problems[0].reason


class Person(BaseModel):
    name: str = "x"


class Login(Person):
    password: str = "hush"


class Group(BaseModel):
    of: Person | None = None
    many: dict[str, list[Person]] = {}
    any: SerializeAsAny[Person] | None = None
    login: Login | None = None


def test_a_derived_model_is_recorded_as_what_was_declared() -> None:
    login = Login()
    group = Group(of=login, many={"a": [login]})
    data, problems = encode_parameters({"v": group})
    assert problems == []
    assert json.loads(data)["v"] == group.model_dump(mode="json")
    assert b"hush" not in data
    for shown in (login, Group(any=login), Group(login=login)):
        found = json.loads(encode_parameters({"v": shown})[0])["v"]
        assert found == shown.model_dump(mode="json")
        assert "hush" in str(found)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Listed([1, 2]), [1, 2]),
        (Box[int](of=1), {"of": 1}),
        (Box[Box[int]](of=Box[int](of=1)), {"of": {"of": 1}}),
        (Outer.model_construct(theirs=5), {"many": {}, "theirs": 5}),
        (Checked(1), {"x": 1}),
        (WithField(SecretStr("hush"), [Listed([1])]), {"secret": "**********", "more": [[1]]}),
        (WithClassVariables(x=3), {"x": 3}),
        (MadeOf(1), {}),
    ],
    ids=[
        "root",
        "generic",
        "generic of generic",
        "not validated",
        "checked",
        "slots",
        "class variables",
        "init variables",
    ],
)
def test_models_and_dataclasses_of_all_kinds(value: Any, expected: Any) -> None:
    data, problems = encode_parameters({"v": value})
    assert problems == []
    assert json.loads(data)["v"] == expected


def test_a_model_that_refuses_everything() -> None:
    value = HostileModel(x=1)
    touched.clear()
    data, problems = encode_parameters({"v": value, "w": [value]})
    assert (problems, touched) == ([], [])
    assert json.loads(data) == {"v": {"x": 1}, "w": [{"x": 1}]}


def test_a_model_that_holds_itself() -> None:
    value = AnyModel()
    value.x = [value]
    _, problems = encode_parameters({"v": value})
    assert "Circular" in problems[0].reason


# --- flows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PLAIN, ASYNC], ids=repr)
@pytest.mark.parametrize("is_validated", [True, False])
def test_flows_and_subflows_run_no_code_of_their_arguments(
    recorder: Recorder, kind: Kind, *, is_validated: bool
) -> None:
    @kind.flow(validate_parameters=is_validated)
    async def inner(source: Any) -> int:
        return 1

    @kind.flow(validate_parameters=is_validated)
    async def outer(source: Any) -> int:
        return await ended(inner(source))

    for source in (HostilePath(), [{"a": HostilePath()}], HostilePathless(HostilePath())):
        assert kind.run(outer, source) == 1
    assert touched == []
    assert {recorder.end(run)[0] for run in recorder.runs} == {"COMPLETED"}


# --- messages -------------------------------------------------------------------------------------


class Silent(Exception):  # noqa: N818 - not an error
    def __str__(self) -> str:
        return ""


class Interrupting(Exception):  # noqa: N818 - not an error
    def __str__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize("error", [KeyError, Silent], ids=["plain", "silent"])
def test_an_error_without_text_is_named(error: type[Exception]) -> None:
    assert reason_of(Silent()).endswith(".Silent")
    assert reason_of(error("x")).endswith("'x'" if error is KeyError else ".Silent")
    assert "KeyboardInterrupt" in reason_of(Interrupting())
