"""The attributes of a client's resource, with the types of OpenTelemetry's conventions."""

from __future__ import annotations

import pytest

from flowspan_service.domain.resource_attributes import resource_attributes


def test_numbers_and_lists_have_their_types_again() -> None:
    sent = {
        "service.name": "etl",
        "process.pid": "4711",
        "process.parent_pid": "1",
        "process.command_args": '["python", "etl.py", "1"]',
        "team": "5",
    }
    assert resource_attributes(sent) == {
        "service.name": "etl",
        "process.pid": 4711,
        "process.parent_pid": 1,
        "process.command_args": ["python", "etl.py", "1"],
        "team": "5",
    }


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("process.pid", ""),
        ("process.pid", "-1"),
        ("process.pid", "x"),
        ("process.pid", "²"),
        ("process.pid", "9" * 30),
        ("host.ip", "10.0.0.1"),
        ("host.ip", "[1, 2]"),
        ("host.ip", "{"),
        ("host.ip", "[" * 1000),
        ("service.name", "1"),
    ],
)
def test_a_text_that_is_not_of_its_type_stays_a_text(key: str, text: str) -> None:
    assert resource_attributes({key: text}) == {key: text}


def test_the_sdk_of_the_client_has_not_made_what_the_service_exports() -> None:
    assert resource_attributes({"telemetry.sdk.name": "x", "telemetry.distro.name": "y"}) == {
        "telemetry.distro.name": "y"
    }
