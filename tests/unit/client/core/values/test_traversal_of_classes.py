"""Traversing and copying values never calls the methods of their classes."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, PrivateAttr
from tests.support.sync_and_async import ASYNC, PLAIN, Kind, ended
from tests.support.user_values import (
    Hostile,
    HostileDict,
    HostileList,
    HostileSet,
    HostileTuple,
    Touched,
    orm_dataclass,
    touched,
)

from flowspan.core.values.traversal import find, replace

if TYPE_CHECKING:
    from tests.support.recorder import Recorder


@pytest.fixture(params=[PLAIN, ASYNC], ids=repr)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(autouse=True)
def _untouched() -> None:
    touched.clear()


class Mark:
    pass


class State2(BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    x: Any
    y: int = 0
    _secret: list[int] = PrivateAttr(default_factory=lambda: [1])


@dataclass(slots=True)
class Slots:
    x: Any
    y: Any = field(init=False)  # Never assigned.


@dataclass
class Picky:
    x: Any
    y: int = 5

    def __copy__(self) -> Any:
        raise Touched("__copy__")

    def __reduce__(self) -> Any:
        raise Touched("__reduce__")

    def __post_init__(self) -> None:
        touched.append("__post_init__")

    def __getattr__(self, name: str) -> Any:
        raise Touched(name)


@dataclass
class Late:
    x: Any
    rows: Any = None


Late.rows = property(lambda self: touched.append("rows"), lambda self, value: None)


def test_what_is_behind_methods_of_its_own_is_found_and_replaced() -> None:
    mark = Mark()
    for value in (
        HostileDict(a=mark, b=1),
        HostileList([mark, 1]),
        HostileTuple((mark, 1)),
        HostileSet({mark, 1}),
    ):
        assert find(value, (Mark,)) == [mark]
        fresh = replace(value, (Mark,), lambda _: 7)
        assert type(fresh) is type(value)
        base: Any = next(k for k in (dict, list, tuple, set) if isinstance(value, k))
        parts = base.values(fresh) if base is dict else base.__iter__(fresh)
        assert sorted(parts) == [1, 7]
    assert touched == []


def test_copies_are_made_without_code_of_their_classes() -> None:
    mark = Mark()

    def number(_: Any) -> int:
        return 7

    picky = Picky(mark)
    picky.more = 1  # type: ignore[attr-defined] # not a field
    touched.clear()
    assert replace(picky, (Mark,), number).__dict__ == {"x": 7, "y": 5, "more": 1}
    assert picky.__dict__ == {"x": mark, "y": 5, "more": 1}
    slots = replace(Slots(mark), (Mark,), number)
    assert slots.x == 7
    assert not hasattr(slots, "y")
    late = replace(Late(mark), (Mark,), number)
    assert late.__dict__ == {"x": 7}
    assert touched == []


@pytest.mark.parametrize("base", [list, tuple, set, frozenset, dict])
def test_copies_of_collections_have_their_attributes(base: type) -> None:
    kind = type("Named", (base,), {})
    mark = Mark()
    value: Any = kind({"a": mark} if base is dict else [mark])
    value.unit = "m"
    fresh = replace([value], (Mark,), lambda _: 7)[0]
    assert (type(fresh), fresh.unit) == (kind, "m")
    assert fresh is not value


def test_the_copy_of_a_model_has_private_attributes_of_its_own() -> None:
    model = State2(x=Mark())
    fresh = replace(model, (Mark,), lambda _: 7)
    assert (fresh.x, fresh.y, fresh._secret) == (7, 0, [1])
    assert fresh.model_fields_set == {"x"}
    fresh.y, fresh._secret = 1, [2]
    assert model._secret == [1]
    assert model.model_fields_set == {"x"}


def test_dictionaries_of_the_library_stay_what_they_are() -> None:
    mark = Mark()
    ordered = OrderedDict(a=1, b=mark, c=2)
    ordered.move_to_end("a")
    assert list(replace(ordered, (Mark,), lambda _: 7).items()) == [("b", 7), ("c", 2), ("a", 1)]

    class Counts(defaultdict[str, Any]):
        pass

    counts = replace(Counts(int, a=mark), (Mark,), lambda _: 7)
    assert (type(counts), counts["a"], counts["new"]) == (Counts, 7, 0)


def test_mapped_classes_are_not_looked_into() -> None:
    row = orm_dataclass()
    assert find([row], (Mark,)) == []
    assert replace({"row": row, "mark": Mark()}, (Mark,), lambda _: 7)["row"] is row


def test_a_future_beside_a_value_that_cannot_be_looked_into(recorder: Recorder, kind: Kind) -> None:
    @kind.task
    async def same(value: Any) -> Any:
        return value

    @kind.flow
    async def outer() -> Any:
        return await ended(same({"row": orm_dataclass(), "f": same.submit(1), "h": Hostile()}))

    result = kind.run(outer)
    assert result["f"] == 1
    assert touched == []
