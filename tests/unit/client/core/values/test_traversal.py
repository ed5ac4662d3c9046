from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from flowspan.core.values.traversal import find, is_plain, replace


class Mark:
    def __init__(self, value: object) -> None:
        self.value = value


@dataclass
class Plain:
    x: object
    y: object = 0


@dataclass(frozen=True, slots=True)
class Frozen:
    x: object


class Model(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)
    x: object


Pair = namedtuple("Pair", "a b")


def unmark(mark: Mark) -> object:
    return mark.value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Mark(1), 1),
        ([1, Mark(2)], [1, 2]),
        ((Mark(1), (Mark(2),)), (1, (2,))),
        ({"a": {"b": [Mark(1)]}}, {"a": {"b": [1]}}),
        (Pair(1, Mark(2)), Pair(1, 2)),
        (Plain([Mark(1)], 5), Plain([1], 5)),
        (Frozen(Mark(1)), Frozen(1)),
        (Model(x=Mark(1)), Model(x=1)),
        (OrderedDict(a=Mark(1)), OrderedDict(a=1)),
    ],
)
def test_replaced_at_any_depth(value: object, expected: object) -> None:
    replaced = replace(value, (Mark,), unmark)
    assert replaced == expected
    assert type(replaced) is type(expected)


def test_sets_and_default_dictionaries() -> None:
    mark = Mark(1)
    assert replace({mark, 2}, (Mark,), unmark) == {1, 2}
    assert replace(frozenset({mark}), (Mark,), unmark) == frozenset({1})
    value = defaultdict(list, a=mark)
    replaced = replace(value, (Mark,), unmark)
    assert replaced["a"] == 1
    assert replaced["new"] == []
    assert value["a"] is mark


def test_the_original_is_not_changed() -> None:
    mark = Mark(1)
    value = {"a": [mark], "b": Plain(mark)}
    replace(value, (Mark,), unmark)
    assert value["a"] == [mark]
    assert value["b"].x is mark


def test_values_without_a_find_are_the_same_objects() -> None:
    for value in ([1, [2]], {"a": (1,)}, Plain([1]), object(), "x", Plain):
        assert replace(value, (Mark,), unmark) is value


def test_what_holds_itself_does_not_hang() -> None:
    value: list[object] = [Mark(1)]
    value.append(value)
    assert [item.value for item in find(value, (Mark,))] == [1]
    assert replace(value, (Mark,), unmark)[0] == 1


def test_deep_nesting_is_found_without_recursion() -> None:
    value: object = Mark(1)
    for _ in range(5_000):
        value = [value]
    assert len(find(value, (Mark,))) == 1


def test_deep_nesting_is_replaced_without_recursion() -> None:
    value: object = Mark(1)
    for _ in range(5_000):
        value = [value]
    replaced: object = replace(value, (Mark,), unmark)
    for _ in range(5_000):
        assert isinstance(replaced, list)
        (replaced,) = replaced
    assert replaced == 1


def test_what_is_in_a_value_twice_is_copied_once() -> None:
    value: list[object] = [Mark(1)]
    for _ in range(60):  # Traversing it each time would take exponential time.
        value = [value, value]
    left, right = replace(value, (Mark,), unmark)
    assert left is right
    assert left is not value[0]


def test_each_is_found_once_and_in_order() -> None:
    one, two = Mark(1), Mark(2)
    assert find([one, {"a": two, "b": one}], (Mark,)) == [one, two]


def test_plain() -> None:
    assert is_plain([1, "a", None, 2.0, b"x", True])
    assert not is_plain([1, []])
    assert not is_plain([object()])


nested = st.recursive(
    st.integers() | st.text(max_size=3) | st.builds(Mark, st.integers()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(nested)
def test_nothing_is_left_and_nothing_else_changed(value: object) -> None:
    def plainly(item: object) -> object:
        if isinstance(item, Mark):
            return item.value
        if isinstance(item, dict):
            return {key: plainly(part) for key, part in item.items()}
        if isinstance(item, (list, tuple)):
            return type(item)(plainly(part) for part in item)
        return item

    replaced = replace(value, (Mark,), unmark)
    assert replaced == plainly(value)
    assert find(replaced, (Mark,)) == []
