"""Test support for flows: a service per test, mocked tasks, and inspection of recorded runs.

`flowspan_test_harness` is a context manager. In pytest, use the fixture `flowspan_harness`. See
docs/testing.md. Names are loaded on first use, because pytest imports this package in every
run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowspan.testing.harness import Harness, flowspan_test_harness
    from flowspan.testing.mocking import mock_flow, mock_task
    from flowspan.testing.recorded import RecordedRun
    from flowspan.testing.settings import temporary_settings

__all__ = [
    "Harness",
    "RecordedRun",
    "flowspan_test_harness",
    "mock_flow",
    "mock_task",
    "temporary_settings",
]

_HOMES = {
    "Harness": "harness",
    "RecordedRun": "recorded",
    "flowspan_test_harness": "harness",
    "mock_flow": "mocking",
    "mock_task": "mocking",
    "temporary_settings": "settings",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None and name != "utilities":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - lazy loading

    if home is None:
        return import_module(f"{__name__}.{name}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
