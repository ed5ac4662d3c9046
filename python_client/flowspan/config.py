"""The client's settings: read from the environment, frozen, and passed on.

They are read again when the environment has changed; see `get_config`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from flowspan.core.result_options import SERIALIZER_NAMES
from flowspan.exceptions import ConfigError
from flowspan.home import find_home

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/\s]+)):(\d{1,5})")
_MAX_PORT = 65535
_MAX_SECONDS = 1e8  # three years; the system's waits take little more
_MAX_DIGITS = 10
_SHOWN_CHARACTERS = 200
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What can be set, each by the environment variable FLOWSPAN_<NAME>.

    Attributes:
        address: ``host:port`` or ``unix:/path`` of the service; None stands for the local one, that
            is started when needed.
        home: The folder for the local service's database, its socket and the spool.
        logging_level: The level from which log records of runs are reported: DEBUG, INFO, ….
        logging_log_prints: Whether prints in runs are logged where neither flow nor task says.
        logging_to_console: Whether log records of runs are shown on standard error, where the
            program has no logging of its own that shows them.
        logging_colors: False never colours them; else they are on a terminal, by NO_COLOR,
            FORCE_COLOR and TERM.
        logging_extra_loggers: Names of loggers, of libraries mostly, whose records in runs are
            reported from the log level on, whatever level they have and whether they propagate.
        persist_results: Whether results are stored where neither flow nor task says.
        results_url: The folder for results: a path, or a URL that fsspec knows (s3://…); by default
            the folder "results" in `home`.
        results_trusted_storages: Further folders, paths or URLs, whose results are read where a run
            of another program says that its result is there; see docs/results-and-caching.md.
        results_serializer: How they are written: pickle, json, compressed/pickle or
            compressed/json.
        tracing: False never makes spans; None (auto) makes them where it is known where they go.
        otlp_endpoint: An OTLP/gRPC endpoint for spans; the standard OTEL_* variables win over it.
        spool_max_bytes: How large the spool may grow while the service is away.
        flush_timeout_s: How long the service may say nothing at the end of a top-level flow before
            what is not acked is put into the spool and the flow returns.
        task_runner_thread_pool_max_workers: How many tasks a ThreadPoolTaskRunner runs at the same
            time that does not say so itself; also where a flow names no task runner.
        task_runner_process_pool_max_workers: The same for a ProcessPoolTaskRunner.
        skip_retry_delays: For tests (docs/testing.md): whether retries begin at once. Their delays
            are reported all the same.
        local_idle_timeout_s: After how long without clients the local service ends itself.
    """

    address: str | None = None
    home: Path
    logging_level: str = "INFO"
    logging_log_prints: bool = False
    logging_to_console: bool = True
    logging_colors: bool = True
    logging_extra_loggers: tuple[str, ...] = ()
    persist_results: bool = False
    results_url: str | None = None
    results_trusted_storages: tuple[str, ...] = ()
    results_serializer: str = "pickle"
    tracing: bool | None = None
    otlp_endpoint: str | None = None
    spool_max_bytes: int = 1 << 30
    flush_timeout_s: float = 10.0
    task_runner_thread_pool_max_workers: int | None = None
    task_runner_process_pool_max_workers: int | None = None
    skip_retry_delays: bool = False
    local_idle_timeout_s: float = 300.0


def load(environ: Mapping[str, str]) -> Config:
    """Reads the settings.

    Raises:
        ConfigError: A variable has a value that it may not have; the message names it.
    """
    _text(environ, "FLOWSPAN_HOME")
    values: dict[str, object] = {"home": find_home(environ)}
    for name, convert in _CONVERTERS.items():
        variable, text = _find(environ, name)
        if not text:
            continue
        try:
            values[name] = convert(text)
        except ValueError as error:
            msg = f"{variable}={_shown(text)}: {error}"
            raise ConfigError(msg) from None
    return Config(**values)  # type: ignore[arg-type] # the converters give the types


def variables_of(name: str) -> tuple[str, ...]:
    """Return the environment variables of a setting, the one that counts first first."""
    older = _OLDER_NAMES.get(name)
    return (f"FLOWSPAN_{name.upper()}", *([older] if older is not None else []))


def _find(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    for variable in variables_of(name):
        text = _text(environ, variable)
        if text:
            return variable, text
    return "", ""


def get_config() -> Config:
    """Return the settings that the environment gives now.

    It is the same object as long as none of the variables has changed. Whoever works for a run uses
    the settings with which its outermost run began (`flowspan.drivers.process`).

    Raises:
        ConfigError: A variable has a value that it may not have.
    """
    global _read  # noqa: PLW0603 - one per process
    # Tests may put another mapping in the place of os.environ.
    text_of = _text_of if os.environ is _environ else lambda key: os.environ.get(os.fsdecode(key))
    texts = tuple(map(text_of, _variables()))
    if _read is None or _read[0] != texts:
        _read = texts, load(os.environ)
    return _read[1]


def split_address(text: str) -> tuple[str, int, str]:
    """Reads ``host:port``, ``[ip6]:port`` or ``unix:/path``.

    Returns:
        Host, port and path; for a Unix socket the path alone (else it is empty).

    Raises:
        ValueError: It is none of these; the message says why, and what would be right.
    """
    if text.startswith("unix:"):
        # unix:///path is the form of RFC 3986 that gRPC takes as well.
        path = text[7:] if text.startswith("unix:///") else text[5:]
        if path.startswith("/") and len(path) > 1:
            return "", 0, path
        why = "the path of a Unix socket must be absolute"
    elif "://" in text:
        why = "it is a gRPC address and not a URL"
    else:
        match = _HOST_PORT.fullmatch(text)
        if match is not None and 0 < int(match[3]) <= _MAX_PORT:
            return match[1] or match[2], int(match[3]), ""
        why = "it has no port" if ":" not in text else "the host or the port is malformed"
    raise ValueError(
        f"{why}; expected host:port, as in 127.0.0.1:4600, or unix:/path/to/socket "
        "(without an address, the local service is used)"
    )


def _address(text: str) -> str:
    split_address(text)
    return text


def _text(environ: Mapping[str, str], variable: str) -> str:
    """The value of a variable, without blanks around it; empty where it is not set.

    Raises:
        ConfigError: It is not UTF-8; it could not be passed on to the service.
    """
    text = environ.get(variable, "").strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise ConfigError(f"{variable}='{shown}': it is not valid UTF-8") from None
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("expected true or false")


def _tracing(text: str) -> bool | None:
    return None if text.lower() == "auto" else _boolean(text)


def _number(text: str, least: float, greatest: float, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not least <= value <= greatest:
        raise ValueError(f"expected {expected}")
    return value


def _seconds(text: str) -> float:
    return _number(
        text, 1e-6, _MAX_SECONDS, f"a number greater than 0, at most {_MAX_SECONDS:,.0f}"
    )


def _count(text: str) -> int:
    if text.isdecimal() and len(text) <= _MAX_DIGITS and int(text):
        return int(text)
    raise ValueError("expected a whole number from 1 on")


def _size(text: str) -> int:
    return int(_number(text, 1, 2**62, "a number of bytes, from 1 on"))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _serializer(text: str) -> str:
    if text not in SERIALIZER_NAMES:
        raise ValueError(f"expected one of {', '.join(SERIALIZER_NAMES)}")
    return text


def _level(text: str) -> str:
    if text.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
        raise ValueError("expected DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return text.upper()


_OLDER_NAMES = {
    "logging_level": "FLOWSPAN_LOG_LEVEL",
    "logging_log_prints": "FLOWSPAN_LOG_PRINTS",
    "logging_to_console": "FLOWSPAN_CONSOLE_LOG",
    "logging_extra_loggers": "FLOWSPAN_EXTRA_LOGGERS",
}
"""Names that are read where the variable of the setting is not set."""
_CONVERTERS: dict[str, Callable[[str], object]] = {
    "address": _address,
    "logging_level": _level,
    "logging_log_prints": _boolean,
    "logging_to_console": _boolean,
    "logging_colors": _boolean,
    "logging_extra_loggers": _names,
    "persist_results": _boolean,
    "results_url": str,
    "results_trusted_storages": _names,
    "results_serializer": _serializer,
    "tracing": _tracing,
    "otlp_endpoint": str,
    "spool_max_bytes": _size,
    "flush_timeout_s": _seconds,
    "task_runner_thread_pool_max_workers": _count,
    "task_runner_process_pool_max_workers": _count,
    "skip_retry_delays": _boolean,
    "local_idle_timeout_s": _seconds,
}

_read: tuple[tuple[object, ...], Config] | None = None
"""The last settings, and the texts that they were read from."""

# The dictionary behind os.environ, where it can be had: asking os.environ itself costs 20 times as
# much (a microsecond for each variable that is not set), and this is asked at each outermost run.
_environ = os.environ
_data: Mapping[bytes, object] | None = getattr(os.environ, "_data", None)
_text_of: Callable[[Any], object] = os.environ.get if _data is None else _data.get


@cache
def _variables() -> tuple[object, ...]:
    """The variables that decide about the settings, as keys for `_text_of`."""
    names = ["HOME", "XDG_DATA_HOME", "TMPDIR", "FLOWSPAN_HOME"]
    names += [variable for name in _CONVERTERS for variable in variables_of(name)]
    return tuple(names if _data is None else map(os.fsencode, names))
