"""Settings are read, and set for a block."""

from pathlib import Path

from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_LOGGING_EXTRA_LOGGERS,
    PREFECT_LOGGING_LEVEL,
    PREFECT_LOGGING_LOG_PRINTS,
    PREFECT_RESULTS_DEFAULT_SERIALIZER,
    PREFECT_RESULTS_LOCAL_STORAGE_PATH,
    PREFECT_RESULTS_PERSIST_BY_DEFAULT,
    PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS,
    get_current_settings,
    temporary_settings,
)

with temporary_settings(restore_defaults={PREFECT_LOGGING_LEVEL}):
    print(PREFECT_LOGGING_LEVEL.value(), get_current_settings().logging.level)
print(PREFECT_HOME.name, PREFECT_HOME.accessor, isinstance(PREFECT_HOME.value(), Path))
print(PREFECT_RESULTS_PERSIST_BY_DEFAULT.value(), bool(PREFECT_RESULTS_PERSIST_BY_DEFAULT))
print(PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS.value(), PREFECT_RESULTS_DEFAULT_SERIALIZER)
print(PREFECT_API_URL == PREFECT_API_URL.value(), PREFECT_API_URL.is_secret)
changes = {
    PREFECT_LOGGING_LEVEL: "debug",
    PREFECT_RESULTS_PERSIST_BY_DEFAULT: True,
    PREFECT_LOGGING_EXTRA_LOGGERS: "a,b",
    PREFECT_RESULTS_LOCAL_STORAGE_PATH: "/somewhere",
    PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS: 3,
    "logging.log_prints": True,
}
before = get_current_settings()
with temporary_settings(updates=changes) as settings:
    print(settings == get_current_settings(), settings == before)
    print(PREFECT_LOGGING_LEVEL == "DEBUG", str(PREFECT_LOGGING_LEVEL), settings.logging.level)
    print(PREFECT_RESULTS_PERSIST_BY_DEFAULT.value(), settings.results.persist_by_default)
    print(sorted(PREFECT_LOGGING_EXTRA_LOGGERS.value()), PREFECT_RESULTS_LOCAL_STORAGE_PATH.value())
    print(settings.tasks.runner.thread_pool_max_workers, PREFECT_LOGGING_LOG_PRINTS.value())
    with temporary_settings(set_defaults={PREFECT_LOGGING_LEVEL: "ERROR"}):
        print(PREFECT_LOGGING_LEVEL.value())
    with temporary_settings(restore_defaults=[PREFECT_LOGGING_LOG_PRINTS]):
        print(PREFECT_LOGGING_LOG_PRINTS.value(), PREFECT_LOGGING_LEVEL.value())
    with temporary_settings({PREFECT_LOGGING_LEVEL: "WARNING"}):
        print(PREFECT_LOGGING_LEVEL.value(), PREFECT_LOGGING_LEVEL.value_from(settings))
    with temporary_settings():
        print(PREFECT_LOGGING_LEVEL.value())
print(get_current_settings() == before, PREFECT_LOGGING_LOG_PRINTS.value())
for wrong in ({PREFECT_LOGGING_LEVEL: "loud"}, {"nonsense": 1}):
    try:
        with temporary_settings(updates=wrong):
            print("entered")
    except Exception:
        print("refused")

# prints: INFO INFO
# prints: PREFECT_HOME home True
# prints: False False
# prints: None pickle
# prints: True False
# prints: True False
# prints: True DEBUG DEBUG
# prints: True True
# prints: ['a', 'b'] /somewhere
# prints: 3 True
# prints: DEBUG
# prints: False DEBUG
# prints: WARNING DEBUG
# prints: DEBUG
# prints: True False
# prints: refused
# prints: refused
