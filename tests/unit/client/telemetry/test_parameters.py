"""Parameters of runs as attributes of their spans."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.traced_runs import Traced, make_record

from flowspan.config import DEFAULT_REDACTION, Config, load
from flowspan.core.states import StateType
from flowspan.exceptions import ConfigError
from flowspan.telemetry.parameters import ShownParameters, shown_parameters


def attributes(
    parameters: Any, names: tuple[str, ...] | None = None, redact: str = DEFAULT_REDACTION
) -> dict[str, str]:
    data = parameters if type(parameters) is bytes else json.dumps(parameters).encode()
    shown = ShownParameters(names, redact).attributes_of(make_record("x", parameters=data))
    assert all(key.startswith("flowspan.parameter.") for key in shown)
    return {key.removeprefix("flowspan.parameter."): text for key, text in shown.items()}


def test_texts_are_shown_as_they_are_and_other_values_as_json() -> None:
    assert attributes({"day": "2026-01-01", "n": 3, "x": None, "rows": [1, {"é": "b"}]}) == {
        "day": "2026-01-01",
        "n": "3",
        "x": "null",
        "rows": '[1,{"é":"b"}]',
    }


def test_long_values_are_cut() -> None:
    assert attributes({"a": "x" * 256, "b": "y" * 257, "c": ["z" * 300]}) == {
        "a": "x" * 256,
        "b": "y" * 256 + "…",
        "c": '["' + "z" * 254 + "…",
    }


def test_only_some_parameters() -> None:
    assert attributes({"day": 1, "n": 2}, ("n", "other")) == {"n": "2"}


@pytest.mark.parametrize(
    "name", ["password", "API_TOKEN", "secretKey", "credentials", "authorization", "cookies"]
)
def test_what_looks_like_a_secret_is_redacted(name: str) -> None:
    assert attributes({name: "hunter2"}) == {name: "[redacted]"}
    assert attributes({name: {"a": ["hunter2"]}}) == {name: "[redacted]"}
    nested = attributes({"options": [{"url": "u", name: "hunter2"}]})["options"]
    assert json.loads(nested) == [{"url": "u", name: "[redacted]"}]


def test_another_pattern_replaces_the_default() -> None:
    assert attributes({"password": "a", "customer": "b"}, redact="^CUST") == {
        "password": "a",
        "customer": "[redacted]",
    }


def test_a_secret_is_redacted_before_it_is_cut() -> None:
    shown = attributes({"a": {"token": "s" * 300, "z": "x" * 300}})["a"]
    assert shown.startswith('{"token":"[redacted]","z":"xxx')


@pytest.mark.parametrize(
    "data",
    [b"", b"[1]", b"{", b"\xff", b"[" * 100_000],
    ids=["empty", "list", "cut", "bytes", "deep"],
)
def test_parameters_that_cannot_be_read_are_left_out(data: bytes) -> None:
    assert attributes(data) == {}


def test_the_number_of_arguments_left_out_of_a_preview_is_no_parameter() -> None:
    assert attributes({"a": 1, "…": "98 more"}) == {"a": "1"}


@pytest.mark.parametrize("is_fast", [True, False], ids=["fast", "sdk"])
def test_they_are_on_the_span_of_the_run(is_fast: bool) -> None:
    traced = Traced(is_fast=is_fast, parameters=ShownParameters(None, DEFAULT_REDACTION))
    span, _ = traced.start("fetch", parameters=b'{"day":"monday","token":"t"}')
    span.end(StateType.COMPLETED.number, "Completed", "", None, 1)
    made = traced.spans["fetch"].attributes
    assert made["flowspan.parameter.day"] == "monday"
    assert made["flowspan.parameter.token"] == "[redacted]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("false", False),
        ("true", True),
        ("1", True),
        ("day", ("day",)),
        (" day, rows ,", ("day", "rows")),
    ],
)
def test_the_setting(text: str, expected: bool | tuple[str, ...]) -> None:
    config = load({"HOME": "/nowhere", "FLOWSPAN_TRACE_PARAMETERS": text})
    assert config.trace_parameters == expected
    assert (shown_parameters(config) is None) == (expected is False)


def test_the_settings_reach_the_rules() -> None:
    environ = {"HOME": "/nowhere", "FLOWSPAN_TRACE_PARAMETERS": "day,user"}
    config: Config = load({**environ, "FLOWSPAN_TRACE_REDACT": "user"})
    shown = shown_parameters(config)
    assert shown is not None
    record = make_record("x", parameters=b'{"day":1,"user":"a","n":2}')
    assert shown.attributes_of(record) == {
        "flowspan.parameter.day": "1",
        "flowspan.parameter.user": "[redacted]",
    }


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="FLOWSPAN_TRACE_REDACT='\\(': expected a regular"):
        load({"HOME": "/nowhere", "FLOWSPAN_TRACE_REDACT": "("})
