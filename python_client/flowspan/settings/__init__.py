"""Prefect's setting objects, for the settings that flowspan has as well.

`PREFECT_LOGGING_LEVEL.value()` returns the value of `FLOWSPAN_LOGGING_LEVEL`. Settings come from
the environment; Prefect's own variables are not read. New code reads `flowspan config`, and tests
use `flowspan.testing.temporary_settings`.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from flowspan.config import Config, get_config, variables_of
from flowspan.exceptions import ConfigError
from flowspan.prefect_names import refusing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "PREFECT_API_URL",
    "PREFECT_HOME",
    "PREFECT_LOCAL_STORAGE_PATH",
    "PREFECT_LOGGING_COLORS",
    "PREFECT_LOGGING_EXTRA_LOGGERS",
    "PREFECT_LOGGING_LEVEL",
    "PREFECT_LOGGING_LOG_PRINTS",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER",
    "PREFECT_RESULTS_LOCAL_STORAGE_PATH",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT",
    "PREFECT_TASKS_RUNNER_PROCESS_POOL_MAX_WORKERS",
    "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS",
    "PREFECT_TASK_RUNNER_PROCESS_POOL_MAX_WORKERS",
    "PREFECT_TASK_RUNNER_THREAD_POOL_MAX_WORKERS",
    "Setting",
    "Settings",
    "get_current_settings",
    "temporary_settings",
]


class Setting:
    """A setting by its Prefect name. It equals its value, and has the truth of its value.

    Attributes:
        name: Prefect's name ("PREFECT_LOGGING_LEVEL").
        accessor: Its path in `Settings` ("logging.level").
        field: The name of the setting in flowspan ("logging_level").
    """

    def __init__(self, name: str, accessor: str, field: str) -> None:
        self.name = name
        self.accessor = accessor
        self.field = field

    is_secret = False

    def value(self) -> Any:
        """Return the current value from the environment.

        Raises:
            ConfigError: The variable has an invalid value.
        """
        return self.value_from(get_current_settings())

    def value_from(self, settings: Settings) -> Any:
        """Return the value in other settings.

        Args:
            settings: The settings, from `get_current_settings`.
        """
        return settings._read(self.accessor)  # noqa: SLF001 - belongs to this module

    def __bool__(self) -> bool:
        return bool(self.value())

    def __eq__(self, other: object) -> bool:
        return other is self or bool(self.value() == other)

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return str(self.value())

    def __repr__(self) -> str:
        return f"<{self.name}: FLOWSPAN_{self.field.upper()}>"


PREFECT_API_URL = Setting("PREFECT_API_URL", "api.url", "address")
PREFECT_HOME = Setting("PREFECT_HOME", "home", "home")
PREFECT_LOGGING_COLORS = Setting("PREFECT_LOGGING_COLORS", "logging.colors", "logging_colors")
PREFECT_LOGGING_EXTRA_LOGGERS = Setting(
    "PREFECT_LOGGING_EXTRA_LOGGERS", "logging.extra_loggers", "logging_extra_loggers"
)
PREFECT_LOGGING_LEVEL = Setting("PREFECT_LOGGING_LEVEL", "logging.level", "logging_level")
PREFECT_LOGGING_LOG_PRINTS = Setting(
    "PREFECT_LOGGING_LOG_PRINTS", "logging.log_prints", "logging_log_prints"
)
PREFECT_RESULTS_DEFAULT_SERIALIZER = Setting(
    "PREFECT_RESULTS_DEFAULT_SERIALIZER", "results.default_serializer", "results_serializer"
)
PREFECT_RESULTS_LOCAL_STORAGE_PATH = Setting(
    "PREFECT_RESULTS_LOCAL_STORAGE_PATH", "results.local_storage_path", "results_url"
)
PREFECT_RESULTS_PERSIST_BY_DEFAULT = Setting(
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT", "results.persist_by_default", "persist_results"
)
PREFECT_TASKS_RUNNER_PROCESS_POOL_MAX_WORKERS = Setting(
    "PREFECT_TASKS_RUNNER_PROCESS_POOL_MAX_WORKERS",
    "tasks.runner.process_pool_max_workers",
    "task_runner_process_pool_max_workers",
)
PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS = Setting(
    "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS",
    "tasks.runner.thread_pool_max_workers",
    "task_runner_thread_pool_max_workers",
)
# Prefect's older names.
PREFECT_LOCAL_STORAGE_PATH = PREFECT_RESULTS_LOCAL_STORAGE_PATH
PREFECT_TASK_RUNNER_PROCESS_POOL_MAX_WORKERS = PREFECT_TASKS_RUNNER_PROCESS_POOL_MAX_WORKERS
PREFECT_TASK_RUNNER_THREAD_POOL_MAX_WORKERS = PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS

_BY_ACCESSOR = {value.accessor: value for value in globals().values() if type(value) is Setting}


class Settings:
    """The settings at one moment: `settings.logging.level`, `settings.home`.

    Created by `get_current_settings`. It has an attribute for each `Setting`.
    """

    def __init__(self, config: Config, group: str = "") -> None:
        self._config = config
        self._group = group

    def _read(self, accessor: str) -> Any:
        value = getattr(self._config, _BY_ACCESSOR[accessor].field)
        if accessor == "results.local_storage_path":
            return _as_place(value or self._config.home / "results")
        return list(value) if type(value) is tuple else value

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            accessor = f"{self._group}{name}"
            if accessor in _BY_ACCESSOR:
                return self._read(accessor)
            if any(each.startswith(f"{accessor}.") for each in _BY_ACCESSOR):
                return Settings(self._config, f"{accessor}.")
        raise AttributeError(
            f"flowspan has no setting {self._group}{name}. `flowspan config` shows those it has."
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and (self._config, self._group) == (
            other._config,
            other._group,
        )

    def __hash__(self) -> int:
        return hash((self._config, self._group))

    def __dir__(self) -> list[str]:
        names = (name for name in _BY_ACCESSOR if name.startswith(self._group))
        return sorted({name[len(self._group) :].partition(".")[0] for name in names})


_Key: TypeAlias = Setting | str


def get_current_settings() -> Settings:
    """Return the current settings from the environment.

    Raises:
        ConfigError: A variable has an invalid value.
    """
    return Settings(get_config())


@contextmanager
def temporary_settings(
    updates: Mapping[_Key, Any] | None = None,
    set_defaults: Mapping[_Key, Any] | None = None,
    restore_defaults: Iterable[_Key] | None = None,
) -> Iterator[Settings]:
    """Run a block with other settings: `flowspan.testing.temporary_settings` with Prefect's names.

    Runs in progress keep their settings.

    Args:
        updates: Values by setting, or by its path ("logging.level").
        set_defaults: Values for settings that are not set.
        restore_defaults: Settings to reset to their defaults, unless `updates` has them.

    Yields:
        The settings in the block.

    Raises:
        ConfigError: There is no such setting, or the value is invalid.
    """
    import os  # noqa: PLC0415 - rare

    from flowspan.testing.settings import environment, text_of, variable_of  # noqa: PLC0415 - rare

    layer: dict[str, str | None] = {
        name: None for key in restore_defaults or () for name in variables_of(_field_of(key))
    }
    for key, value in (set_defaults or {}).items():
        field = _field_of(key)
        is_set = any(name in os.environ and name not in layer for name in variables_of(field))
        if not is_set:
            layer[variable_of(field)] = text_of(value)
    for key, value in (updates or {}).items():
        layer[variable_of(_field_of(key))] = text_of(value)
    with environment(layer):
        yield get_current_settings()


def _field_of(key: _Key) -> str:
    if isinstance(key, Setting):
        return key.field
    known = _BY_ACCESSOR.get(key, globals().get(key))  # not `or`: a setting may be false
    if not isinstance(known, Setting):
        raise ConfigError(f"flowspan has no setting {key!r}; there are {', '.join(_BY_ACCESSOR)}")
    return known.field


def _as_place(value: object) -> object:
    """Return a folder as a Path, and a URL as text."""
    return value if "://" in str(value) else Path(str(value))


__getattr__ = refusing(__name__)
