from __future__ import annotations

import random

import pytest

from flowspan.core.run_names import made_run_name, petname


def test_petnames_are_two_words() -> None:
    names = {petname(random.Random(seed).randrange) for seed in range(200)}
    assert len(names) > 150
    assert all(name.count("-") == 1 and name.islower() for name in names)


def test_a_template_takes_parameters() -> None:
    assert made_run_name("load-{day}-{n:03d}", {"day": "mon", "n": 7}, "x") == "load-mon-007"
    assert made_run_name("{a[0]}-{b.real}", {"a": [1], "b": 2}, "x") == "1-2"


@pytest.mark.parametrize("template", ["{missing}", "{", "{day.nothing}", "{day:d}", "{0}"])
def test_a_template_that_cannot_be_filled_in_says_so(template: str) -> None:
    with pytest.raises(ValueError, match=r"flow_run_name=.* parameters: day"):
        made_run_name(template, {"day": "mon"}, "flow_run_name")


def test_a_function_makes_the_name() -> None:
    assert made_run_name(lambda: "fixed", {"a": 1}, "x") == "fixed"
    assert made_run_name(lambda parameters: f"a{parameters['a']}", {"a": 1}, "x") == "a1"


def test_a_function_that_returns_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="task_run_name"):
        made_run_name(lambda: 5, {}, "task_run_name")  # type: ignore[arg-type,return-value]


def test_long_names_are_shortened_to_256_bytes() -> None:
    name = made_run_name("{x}", {"x": "ä" * 300}, "x")
    assert name == "ä" * 128
