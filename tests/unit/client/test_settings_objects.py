"""`flowspan.settings`: Prefect's setting objects over flowspan's variables."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from flowspan import settings
from flowspan.config import Config
from flowspan.exceptions import ConfigError
from flowspan.settings import (
    PREFECT_API_URL,
    PREFECT_LOCAL_STORAGE_PATH,
    PREFECT_LOGGING_LEVEL,
    Setting,
    get_current_settings,
    temporary_settings,
)

ALL = {name: value for name, value in vars(settings).items() if isinstance(value, Setting)}


@pytest.mark.parametrize("setting", dict.fromkeys(ALL.values()), ids=lambda setting: setting.name)
def test_each_setting_is_one_of_flowspans(setting: Setting) -> None:
    assert setting.field in {field.name for field in fields(Config)}
    value = get_current_settings()
    for name in setting.accessor.split("."):
        assert name in dir(value)
        value = getattr(value, name)
    assert setting.value() == value
    assert setting == value
    assert bool(setting) is bool(value)
    assert repr(setting) == f"<{setting.name}: FLOWSPAN_{setting.field.upper()}>"
    assert {setting: 1}[setting] == 1


def test_a_default_gives_way_to_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWSPAN_LOGGING_LEVEL", raising=False)
    with temporary_settings(set_defaults={PREFECT_LOGGING_LEVEL: "ERROR"}):
        assert PREFECT_LOGGING_LEVEL.value() == "ERROR"
    for variable in ("FLOWSPAN_LOG_LEVEL", "FLOWSPAN_LOGGING_LEVEL"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, "DEBUG")
            with temporary_settings(set_defaults={PREFECT_LOGGING_LEVEL: "ERROR"}):
                assert PREFECT_LOGGING_LEVEL.value() == "DEBUG"
            with temporary_settings(
                set_defaults={PREFECT_LOGGING_LEVEL: "ERROR"},
                restore_defaults=[PREFECT_LOGGING_LEVEL],
            ):
                assert PREFECT_LOGGING_LEVEL.value() == "ERROR"


@pytest.mark.parametrize(
    ("url", "value"), [("s3://bucket/x", "s3://bucket/x"), ("/folder", Path("/folder"))]
)
def test_a_storage_is_a_path_or_a_url(url: str, value: object) -> None:
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: url}) as changed:
        assert changed.results.local_storage_path == value


@pytest.mark.parametrize("key", ["api", "logging", "nonsense", "api.key", "PREFECT_API_KEY"])
def test_a_setting_that_is_not_there_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="no setting"), temporary_settings({key: 1}):
        pass


@pytest.mark.parametrize("key", ["PREFECT_LOGGING_LEVEL", "PREFECT_LOCAL_STORAGE_PATH"])
def test_the_name_of_a_setting_stands_for_it(key: str) -> None:
    with temporary_settings({key: "DEBUG"}):
        assert str(ALL[key].value()) == "DEBUG"


def test_what_has_no_counterpart_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"no setting api\.key"):
        get_current_settings().api.key  # noqa: B018 - as in programs
    assert not hasattr(get_current_settings(), "server")


def test_a_url_is_no_address() -> None:
    with (
        pytest.raises(ConfigError, match="it is a gRPC address and not a URL"),
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api"}),
    ):
        pass
