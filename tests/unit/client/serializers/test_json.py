"""Round trips through JSON, and values that are rejected when written."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import inspect
import math
import typing
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import KW_ONLY, InitVar, dataclass, field
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Generic, TypeVar
from uuid import UUID, SafeUUID, uuid4
from zoneinfo import TZPATH, ZoneInfo

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, SecretStr, computed_field
from pydantic.dataclasses import dataclass as checked_dataclass

from flowspan.core.keys.hashing import stable_hash
from flowspan.exceptions import SerializationError
from flowspan.serializers import JSONSerializer, get_serializer

AUTUMN = dt.datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001 - naive times are supported


class Colour(enum.Enum):
    PAIR = (1, 2)
    LIST = [1]  # noqa: RUF012 - an enum's member
    TEXT = "text"
    DAY = dt.date(2026, 1, 1)
    NAN = math.nan


class Text(enum.StrEnum):
    A = "a"


class OldText(str, enum.Enum):  # noqa: UP042 - the style before Python 3.11
    A = "a"


class Number(enum.IntEnum):
    A = 1


class Flags(enum.Flag):
    A = 1
    B = 2


class Bits(enum.IntFlag):
    A = 1


class Row(typing.NamedTuple):
    day: dt.date
    pair: tuple[int, ...]


class Aliased(BaseModel):
    x: int = Field(alias="theX")


class AliasedTwice(BaseModel):
    x: int = Field(validation_alias="inX", serialization_alias="outX")


class Outer(BaseModel):
    inner: Aliased
    colours: list[Text]


class Excluding(BaseModel):
    x: int
    y: int = Field(default=0, exclude=True)


class Required(BaseModel):
    x: int
    y: int = Field(exclude=True)


class Private(BaseModel):
    x: int
    _secret: int = PrivateAttr(default=0)


class Secret(BaseModel):
    password: SecretStr


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: int

    @computed_field  # type: ignore[prop-decorator] # pydantic's documented order
    @property
    def twice(self) -> int:
        return 2 * self.x


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")


class Defaults(BaseModel):
    a: int = 0
    b: int = 1


class Made(BaseModel):
    id: str = Field(default_factory=lambda: uuid4().hex)
    one: Defaults = Defaults()
    many: list[Defaults] = []
    keyed: dict[str, tuple[Defaults, ...]] = {}
    theirs: int = Field(default=0, alias="theX")


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    of: T
    more: int = 0


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    a: int = 0
    b: int = 1


class Group(BaseModel):
    of: frozenset[Frozen]


class OpenDefaults(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 0


class Keyed(BaseModel):
    any: dict[Any, int] = {}
    texts: dict[Text, int] = {}


class Numbers(RootModel[list[int]]):
    pass


@checked_dataclass
class Checked:
    model: Defaults
    x: int = 0


@dataclass(slots=True)
class SlottedAround:
    model: Any


class AroundDataclass(BaseModel):
    of: Checked
    day: dt.date = dt.date(2026, 1, 1)


class AnyModel(BaseModel):
    value: BaseModel


@dataclass
class Point:
    x: int
    tags: Any = None

    @functools.cached_property
    def twice(self) -> int:
        return 2 * self.x


@dataclass(frozen=True, slots=True)
class Slotted:
    x: int
    made: str = field(init=False, default="here")


@dataclass
class Totalled:
    x: int

    def __post_init__(self) -> None:
        self.total = self.x + 1


@dataclass
class Doubled:
    x: int

    def __post_init__(self) -> None:
        self.x *= 2


@dataclass
class Initialised:
    x: int
    more: InitVar[int]

    def __post_init__(self, more: int) -> None:
        self.x += more


@dataclass
class Kinds:
    """A dataclass with every kind of entry that `__dataclass_fields__` has besides fields."""

    kind: typing.ClassVar[str] = "row"
    unset: typing.ClassVar[int]
    models: typing.ClassVar[list[Any]] = [Defaults(a=1)]
    scale: InitVar[int] = 1
    x: int = 1
    _: KW_ONLY
    made: int = field(init=False, default=0)

    def __post_init__(self, scale: int) -> None:
        self.x *= scale


@dataclass
class OfKinds(Kinds):
    more: Any = None


@dataclass(frozen=True)
class FrozenKinds:
    kind: typing.ClassVar[str] = "row"
    x: int = 1
    made: int = field(init=False, default=0)


@dataclass(slots=True)
class SlottedKinds:
    kind: typing.ClassVar[str] = "row"
    x: int = 1
    made: int = field(init=False, default=0)


@dataclass(frozen=True, slots=True)
class OfSlottedKinds(Slotted):
    kind: typing.ClassVar[Any] = Defaults(b=2)


@checked_dataclass
class CheckedKinds:
    kind: typing.ClassVar[str] = "row"
    scale: InitVar[int] = 1
    x: int = 1


@dataclass
class ListOf(list[int]):
    x: int = 0


@dataclass
class Problem(Exception):  # noqa: N818 - not an error
    x: int = 0


class RowAndMore(Row):
    pass


class Zone(dt.tzinfo):
    pass


class Name(str):
    pass


class Count(int):
    pass


class Blob(bytes):
    pass


class Queue(deque[int]):
    pass


class Table(dict[str, int]):
    pass


def with_(thing: Any, **attributes: Any) -> Any:
    thing.__dict__.update(attributes)
    return thing


def listed(*items: int) -> ListOf:
    made = ListOf()
    made.extend(items)
    return made


def zone_of_file() -> ZoneInfo:
    """Return a time zone with rules from a file, which may differ from its key."""
    path = next(Path(folder, "UTC") for folder in TZPATH if Path(folder, "UTC").is_file())
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, key="Europe/Berlin")


def local_enum() -> Any:
    class Local(enum.Enum):
        A = 1

    return Local.A


def private(secret: int) -> Private:
    model = Private(x=1)
    model._secret = secret
    return model


FAITHFUL: dict[str, Any] = {
    "set of tuples": {(1, 2), (1, (2, 3))},
    "frozen set of mixed": frozenset({(1, "a"), None, "b", 1.5, dt.date(2026, 1, 1)}),
    "enums": [*Colour],
    "enums that are more": [Text.A, Number.A, Bits.A, Bits(0)],
    "flags": [Flags(0), Flags.A, Flags.A | Flags.B],
    "named tuple": [Row(dt.date(2026, 1, 1), (1, 2))],
    "aliased": Aliased(theX=1),
    "models in models": Outer(inner=Aliased(theX=1), colours=[Text.A]),
    "models in containers": {"a": [Aliased(theX=1)]},
    "excluded at its default": Excluding(x=1),
    "private at its default": Private(x=1),
    "computed": Computed(x=1),
    "extra": Extra(a=1),  # type: ignore[call-arg] # the subject of the test
    "fields set, of all": Defaults(a=0, b=1),
    "fields set, of some": Defaults(a=0),
    "fields set, of none": Defaults(),
    "fields set and unset again": Defaults.model_construct(_fields_set=set(), a=5, b=6),
    "fields set in models": Made(one=Defaults(a=0), many=[Defaults(b=5), Defaults()]),
    "fields set in keys": Made(theX=0, keyed={"a/b": (Defaults(), Defaults(a=1))}),
    "fields set by a factory": [Made(), Made()],
    "fields set in generics": [Box[int](of=1), Box[Defaults](of=Defaults(a=0))],
    "fields set in a plain generic": Box(of=1),
    "fields set of frozen ones": {"a": Frozen(b=1)},
    "fields set of sets": Group(of=frozenset({Frozen(a=0, b=1), Frozen(a=2, b=1)})),
    "fields set of extra ones": OpenDefaults(z=1),  # type: ignore[call-arg] # under test
    "fields set in dataclasses": [Checked(Defaults(a=0)), SlottedAround(Defaults(b=1))],
    "fields set in a dataclass in a model": AroundDataclass(of=Checked(Defaults(a=0))),
    "root": Numbers([1]),
    "dataclass": Point(1, {(1, 2)}),
    "dataclasses in dataclasses": Point(1, [Point(2, Slotted(3))]),
    "slots": Slotted(1),
    "made after init": Totalled(1),
    "class variables": [Kinds(), Kinds(x=3), OfKinds(more=[OfKinds()]), CheckedKinds(x=2)],
    "class variables of frozen ones": [FrozenKinds(3), with_(FrozenKinds(3), made=5)],
    "class variables of slots": [SlottedKinds(3), OfSlottedKinds(3)],
    "fields set beside class variables": OfKinds(more=Defaults(a=0)),
    "numpy": [np.float64(1.5), np.float32(0.1), np.int8(-1), np.uint64(2**63), np.bool_(1)],
    "ordered": OrderedDict([("b", 1), ("a", 2)]),
    "counter": Counter("aab"),
    "keys of a model": Keyed(any={"a": 1}, texts={Text.A: 1}),
    "keys that are kept": [Counter({Text.A: 1}), OrderedDict({Text.A: 1, np.str_("b"): 2})],
    "queue": deque([1, 2], 3),
    "looks like a tag": {"$python": "datetime.date", "value": "2026-01-01"},
    "looks like a tag of tags": {"value": {"$python": 1, "value": Text.A}, "$python": "os:system"},
    "fold": AUTUMN.replace(fold=1),
    "zone": AUTUMN.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    "offset": AUTUMN.replace(tzinfo=dt.timezone(-dt.timedelta(hours=2))),
    "offset of microseconds": [
        AUTUMN.replace(tzinfo=dt.timezone(dt.timedelta(microseconds=5))),
        dt.time(2, tzinfo=dt.timezone(-dt.timedelta(hours=1, microseconds=1))),
    ],
    "named offset": AUTUMN.replace(tzinfo=dt.timezone(dt.timedelta(hours=2), "CEST")),
    "time": dt.time(2, 30, fold=1, tzinfo=dt.UTC),
    "paths": [Path("/a"), PurePosixPath("/a"), PureWindowsPath("a\\b")],
    "numbers": [-0.0, math.inf, math.nan, 10**400, complex(math.nan, -0.0), Decimal("sNaN")],
    "texts": ["\ud800", "\x00", b"\xff", bytearray(b"x"), UUID(int=5)],
}

# pydantic before 2.11 validates such a model by one alias and dumps it by the other.
if "by_name" in inspect.signature(BaseModel.model_validate).parameters:
    FAITHFUL["aliased twice"] = AliasedTwice(inX=1)


@pytest.mark.parametrize("name", FAITHFUL)
@pytest.mark.parametrize("serializer", ["json", "compressed/json"])
def test_it_comes_back_as_what_it_was(serializer: str, name: str) -> None:
    value = FAITHFUL[name]
    found = get_serializer(serializer).loads(get_serializer(serializer).dumps(value))
    assert type(found) is type(value)
    assert stable_hash(found) == stable_hash(value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ((1, (2,)), [1, [2]]),
        (
            {1: "a", None: "b", False: "c", 1.5: "d"},
            {"1": "a", "null": "b", "false": "c", "1.5": "d"},
        ),
        (Point(1, (2,)), Point(1, [2])),
        (
            Point(1, {2: 1, None: 2, True: 3, 1.5: 4}),
            Point(1, {"2": 1, "null": 2, "true": 3, "1.5": 4}),
        ),
    ],
    ids=["tuple", "keys", "tuple in a dataclass", "keys in a dataclass"],
)
def test_tuples_come_back_as_lists_and_keys_as_texts(value: Any, found: Any) -> None:
    assert JSONSerializer().loads(JSONSerializer().dumps(value)) == found


REFUSED: dict[str, tuple[Any, str]] = {
    "excluded": (Excluding(x=1, y=2), "Excluding would not be restored"),
    "excluded and required": (Required(x=1, y=2), "Required would not be restored"),
    "private": (private(5), "Private would not be restored"),
    "secret": (Secret(password=SecretStr("x")), "Secret would not be restored"),
    "extra": (Extra(day=dt.date(2026, 1, 1)), "Extra would not"),  # type: ignore[call-arg] # under test
    "a field of any model": (AnyModel(value=Aliased(theX=1)), "AnyModel would not be restored"),
    "fields set in a set": (Group(of=frozenset({Frozen(a=0)})), "Group would not be restored"),
    "items of a dataclass": (listed(1), "ListOf has no JSON form"),
    "dataclass that is an error": (Problem(1), "Problem has no JSON form"),
    "state of a named tuple": (
        with_(RowAndMore(dt.date(2026, 1, 1), ()), more=1),
        "RowAndMore has attributes",
    ),
    "state of an ordered dictionary": (with_(OrderedDict(), more=1), "OrderedDict has attributes"),
    "state of a counter": (with_(Counter(), more=1), "Counter has attributes"),
    "zone of the user's": (AUTUMN.replace(tzinfo=Zone()), "cannot be represented"),
    "zone of a file": (AUTUMN.replace(tzinfo=zone_of_file()), "has no JSON form"),
    "exception": (ValueError(1), "ValueError has no JSON form"),
    "bytes": (Blob(b"x"), "Blob has no JSON form"),
    "queue of its own": (Queue([1]), "Queue has no JSON form"),
    "state outside of fields": (with_(Point(1), more=1), "would not be restored"),
    "state of the constructor": (with_(Totalled(1), total=9), "would not be restored"),
    "changed when it is made": (Doubled(1), "would not be restored"),
    "a class variable of its own": (with_(Kinds(), kind="other"), "would not be restored"),
    "made of more": (Initialised(1, 2), "could not be read back"),
    "text": (Name("a"), "Name has no JSON form"),
    "number": ([Count(1)], "Count has no JSON form"),
    "dictionary": ({"a": Table(a=1)}, "Table has no JSON form"),
    "default dictionary": (defaultdict(int, a=1), "defaultdict has no JSON form"),
    "keys that would be one": ({1: "a", "1": "b"}, "the same text"),
    **{
        f"{type(key).__name__} as a key": (
            {"b": 2, key: 1},
            f"is of type {type(key).__name__}, not a string",
        )
        for key in (Text.A, OldText.A, Name("a"), np.str_("a"), Number.A, Count(1), np.int64(1))
    },
    "text of its own as a key of a dataclass": (
        Point(1, {Text.A: 1}),
        "is of type Text, not a string",
    ),
    "number of its own as a key of a dataclass": (
        Point(1, {np.float64(1): 1}),
        "is of type float64",
    ),
    "text of its own as a key of a model": (Keyed(any={Text.A: 1}), "Keyed would not be restored"),
    "tuple as a key": ({(1, 2): 3}, "a key of a dictionary is of type tuple"),
    "local": (local_enum(), "defined in a function"),
    "replaced": (enum.Enum("Colour", "A", module=__name__).A, "Colour is a different class now"),
    "gone": (enum.Enum("Gone", "A", module=__name__).A, "its class cannot be imported again"),
    "range": (range(3), "range has no JSON form"),
    "numpy's own times": (np.datetime64("2026"), "datetime64 has no JSON form"),
    "array": (np.zeros(1), "ndarray has no JSON form"),
    "function": (len, "builtin_function_or_method has no JSON form"),
}
if "aliased twice" not in FAITHFUL:
    REFUSED["aliased twice"] = (AliasedTwice(inX=1), "AliasedTwice would not be restored")


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("serializer", ["json", "compressed/json"])
def test_what_would_not_come_back_is_refused(serializer: str, name: str) -> None:
    value, why = REFUSED[name]
    with pytest.raises(SerializationError, match=why):
        get_serializer(serializer).dumps(value)
    with pytest.raises(SerializationError, match=why):
        get_serializer(serializer).dumps({"in": [value]})


def test_what_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(SerializationError, match="contains itself"):
        JSONSerializer().dumps(circle)


def test_what_was_computed_is_no_state() -> None:
    point = Point(1)
    assert point.twice == 2
    assert JSONSerializer().loads(JSONSerializer().dumps(point)) == point


def test_which_fields_were_set_is_kept() -> None:
    made = Made(one=Defaults(a=0), keyed={"a": (Defaults(b=1),)})
    found = JSONSerializer().loads(JSONSerializer().dumps(made))
    assert found.model_dump(exclude_unset=True) == {"one": {"a": 0}, "keyed": {"a": ({"b": 1},)}}
    assert found.id == made.id
    sorting = JSONSerializer(dumps_kwargs={"sort_keys": True})
    assert sorting.loads(sorting.dumps(made)).model_fields_set == {"one", "keyed"}


def test_whether_a_uuid_is_safe_is_kept() -> None:
    for is_safe in SafeUUID:
        value = UUID(int=5, is_safe=is_safe)
        found = JSONSerializer().loads(JSONSerializer().dumps(value))
        assert (found, found.is_safe) == (value, is_safe)


def test_what_earlier_versions_wrote_is_read() -> None:
    read = JSONSerializer().loads
    assert read(b'{"$python": "datetime.datetime", "value": "2026-10-25T02:30:00"}') == AUTUMN
    here = __name__
    assert read(f'{{"$python": "{here}:Colour", "value": "text"}}'.encode()) is Colour.TEXT
    assert read(f'{{"$python": "{here}:Aliased", "value": {{"theX": 1}}}}'.encode()).x == 1
    both = f'{{"$python": "{here}:Defaults", "value": {{"a": 0, "b": 1}}}}'.encode()
    assert read(both) == Defaults(a=0, b=1)
    number = UUID(int=5)
    assert read(f'{{"$python": "uuid.UUID", "value": "{number}"}}'.encode()) == number
