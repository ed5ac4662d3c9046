from __future__ import annotations

import datetime
import enum
import functools
import subprocess
import sys
from collections.abc import Sequence  # noqa: TC003 - evaluated by the tests
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from flowspan.core.argument_validation import Check
from flowspan.core.parameters import Checks, Parameters
from flowspan.exceptions import ParameterError


class Item(BaseModel):
    name: str
    size: int = 1


@dataclass
class Point:
    x: int
    y: int = 0


class Opaque:
    """A class that pydantic does not know."""


@dataclass
class Holder:
    inside: Opaque


class Colour(enum.Enum):
    RED = "red"


def bind(function, *args, validate: bool = True, **kwargs) -> dict[str, Any]:
    return dict(
        Parameters(function, "Flow 'f'", Checks(function) if validate else None).bind(args, kwargs)
    )


def test_coerced_to_the_annotations() -> None:
    def function(
        n: int, day: datetime.date, names: list[str], item: Item, point: Point, colour: Colour
    ) -> None: ...

    bound = bind(
        function, "5", "2026-01-02", ("a", "b"), {"name": "x", "size": "3"}, {"x": "1"}, "red"
    )
    assert bound == {
        "n": 5,
        "day": datetime.date(2026, 1, 2),
        "names": ["a", "b"],
        "item": Item(name="x", size=3),
        "point": Point(1, 0),
        "colour": Colour.RED,
    }


def test_defaults_are_filled_in_validated_and_coerced() -> None:
    def function(a: int, b: int = "5", *, c: list[int] | None = None, d: float = 2) -> None: ...  # type: ignore[assignment]

    assert bind(function, 1) == {"a": 1, "b": 5, "c": None, "d": 2.0}
    assert type(bind(function, 1)["d"]) is float
    assert bind(function, 1, validate=False)["b"] == "5"

    def refused(a: int = None) -> None: ...  # type: ignore[assignment] # noqa: RUF013 - common style

    with pytest.raises(ParameterError, match=r"'a': .*, which is its default"):
        bind(refused)
    with pytest.raises(ParameterError, match=r"type NoneType\)$"):
        bind(refused, None)


def test_only_coerced_defaults_are_given_to_the_function() -> None:
    def function(a: int = 1, /, b: int = "2", *, c: str = "c", d: list[str] = ["d"]) -> None: ...  # type: ignore[assignment] # noqa: B006

    parameters = Parameters(function, "Flow 'f'", Checks(function))
    bound = parameters.bind((), {})
    assert parameters.call_arguments(bound, (), {}) == ((), {"b": 2, "d": ["d"]})
    assert bound["d"] is not function.__kwdefaults__["d"]
    bound = parameters.bind((), {"b": 3, "d": []})
    assert parameters.call_arguments(bound, (), {"b": 3, "d": []}) == ((), {"b": 3, "d": []})


def test_a_wrapper_is_given_no_defaults_that_it_does_not_take() -> None:
    def function(a: int, b: int = "2") -> None: ...  # type: ignore[assignment]

    @functools.wraps(function)
    def wrapper(a: int) -> None: ...

    parameters = Parameters(wrapper, "Flow 'f'", Checks(wrapper))
    assert parameters.call_arguments(parameters.bind((1,), {}), (1,), {}) == ((1,), {})


@pytest.mark.parametrize(
    ("hint", "value"),
    [(int | None, None), (list[int] | None, None), (str | int, 5), (float, 3)],
)
def test_common_values_need_no_pydantic(hint: Any, value: Any) -> None:
    check = Check("x", hint, "x", lambda _: None)
    assert check("x", value, []) == value
    assert check._adapter is None


def test_variadics_are_passed_on_as_they_are() -> None:
    def function(first: int, *rest: int, flag: bool = False, **more: float) -> None: ...

    parameters = Parameters(function, "Flow 'f'", Checks(function))
    args: Any = ("1", "2", 3)
    kwargs = {"flag": "true", "x": "1.5"}
    bound = parameters.bind(args, kwargs)
    assert bound == {"first": 1, "rest": ("2", 3), "flag": True, "more": {"x": "1.5"}}
    called = parameters.call_arguments(bound, args, kwargs)
    assert called == ((1, "2", 3), {"flag": True, "x": "1.5"})
    assert bind(function, 1, 2, "no", x="no")["more"] == {"x": "no"}


def test_positional_only_and_names_that_models_do_not_allow() -> None:
    def function(_hidden: int, schema: int, /, model_config: int, copy: int) -> None: ...

    bound = bind(function, "1", "2", model_config="3", copy="4")
    assert list(bound.values()) == [1, 2, 3, 4]


def test_annotations_with_constraints() -> None:
    def function(n: Annotated[int, Field(gt=0)], kind: Literal["a", "b"] = "a") -> None: ...

    assert bind(function, "3", kind="b") == {"n": 3, "kind": "b"}
    with pytest.raises(ParameterError, match="parameter 'n': Input should be greater than 0"):
        bind(function, 0)
    with pytest.raises(ParameterError, match="parameter 'kind'"):
        bind(function, 1, kind="c")


def test_a_pydantic_field_as_the_default() -> None:
    several = Field(default_factory=list)

    def function(n: int = Field(default=4, gt=0), m: list[int] = several) -> None: ...

    assert bind(function) == {"n": 4, "m": []}
    with pytest.raises(ParameterError, match="parameter 'n'"):
        bind(function, 0)


def test_instances_of_types_that_pydantic_does_not_know() -> None:
    def function(a: Opaque, b: list[Opaque], c: Holder) -> None: ...

    opaque = Opaque()
    holder = Holder(opaque)
    bound = bind(function, opaque, [opaque], holder)
    assert bound == {"a": opaque, "b": [opaque], "c": holder}
    with pytest.raises(ParameterError, match="parameter 'a'"):
        bind(function, 1, [], holder)


def test_models_and_dataclasses_are_passed_as_they_are() -> None:
    def function(item: Item, point: Point) -> None: ...

    item, point = Item(name="x"), Point(1)
    bound = bind(function, item, point)
    assert bound["item"] is item
    assert bound["point"] is point


def test_a_class_of_the_defining_function_in_an_annotation() -> None:
    class Local(BaseModel):
        n: int

    def function(local: Local, items: Sequence[Local]) -> object:
        return Local  # This makes it a closure variable.

    assert bind(function, {"n": "1"}, [{"n": 2}])["local"] == Local(n=1)


def test_an_annotation_that_cannot_be_evaluated_is_not_checked() -> None:
    def function(a: Missing, b: int) -> None: ...  # type: ignore[name-defined] # noqa: F821

    assert bind(function, "x", "5") == {"a": "x", "b": 5}


def test_the_message_names_each_parameter_and_what_it_got() -> None:
    def function(n: int, item: Item, text: str) -> None: ...

    with pytest.raises(ParameterError) as caught:
        bind(function, "x", {"name": "y", "size": "z"}, "fine")
    message = str(caught.value)
    assert message.startswith("Flow 'f': parameter 'n': Input should be a valid integer")
    assert "(got 'x' of type str)" in message
    assert "parameter 'item'['size']" in message
    assert "text" not in message


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"c": 1}, "unexpected keyword argument 'c'"),
        ((1,), {"a": 1}, "multiple values for argument 'a'"),
    ],
)
def test_arguments_that_do_not_fit_the_signature(args, kwargs, words: str) -> None:
    def function(a: int, b: int = 0) -> None: ...

    with pytest.raises(ParameterError, match=f"Flow 'f': .*{words}"):
        bind(function, *args, **kwargs)


def test_a_misfit_is_found_without_validating() -> None:
    def function(a: int, b: int = 0) -> None: ...

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> None: ...

    for fn, found in ((function, True), (wrapper, False)):
        parameters = Parameters(fn, "Task 't'", Checks(fn))
        assert parameters.misfit(("x",), {"b": "y"}) is None
        misfit = parameters.misfit((1, 2, 3), {})
        assert (misfit is not None) is found
        assert not found or str(misfit) == "Task 't': too many positional arguments."


def test_defaults_are_left_alone_on_request() -> None:
    def function(a: int, b: int = "1", c: int = "no") -> None: ...  # type: ignore[assignment]

    parameters = Parameters(function, "Flow 'f'", Checks(function))
    arguments = parameters.bind((), {"a": "2"}, validates_defaults=False)
    assert arguments == {"a": 2, "b": "1", "c": "no"}
    with pytest.raises(ParameterError, match="parameter 'c'"):
        parameters.bind((), {"a": "2"})


def test_no_validation_on_request() -> None:
    def function(n: int) -> None: ...

    assert bind(function, "x", validate=False) == {"n": "x"}


def test_a_value_with_a_broken_repr() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    def function(n: int) -> None: ...

    with pytest.raises(ParameterError, match="a value without a repr of type Broken"):
        bind(function, Broken())


def test_values_of_the_right_type_do_not_import_pydantic() -> None:
    code = (
        "import sys\n"
        "from flowspan.core.parameters import Checks, Parameters\n"
        "def f(name: str, n: int = 3, x=None): ...\n"
        "Parameters(f, 'Flow', Checks(f)).bind(('ada', 5), {})\n"
        "assert 'pydantic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
