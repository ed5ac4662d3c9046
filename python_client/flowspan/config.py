"""The client's settings: read from the environment, frozen, and passed on.

They are read again if the environment has changed; see `get_config`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from flowspan.core.limits import MAX_PREVIEW_BYTES
from flowspan.core.result_options import SERIALIZER_NAMES
from flowspan.core.run_context import VARIABLE, member_of
from flowspan.core.trace_urls import check_trace_url
from flowspan.exceptions import ConfigError
from flowspan.home import expand, find_home
from flowspan.profiles import read_profiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/\s]+)):(\d{1,5})")
_MAX_PORT = 65535
_MAX_SECONDS = 1e8  # three years, which is near the maximum of the system's waits
_MAX_DIGITS = 10
MIN_PREVIEW_BYTES = 64
DEFAULT_PREVIEW_BYTES = 2048
DEFAULT_REDACTION = "passw|secret|token|key|credential|auth|cookie"
_SHOWN_CHARACTERS = 200
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings, each set by the environment variable FLOWSPAN_<NAME>.

    Attributes:
        address: ``host:port`` or ``unix:/path`` of the service; None stands for the local one,
            which is started on demand.
        profile: The name of the profile that gave the address; empty if none did. Only then do the
            token file and the TLS settings of the profile apply, too.
        token: The access token for the service. Unix sockets need none.
        token_file: A file with the access token, which is read anew for each connection.
        tls: True to reach the service over TLS; None (auto) does so if another setting of TLS is
            given. Unix sockets never use it.
        tls_ca: The certificates of the authorities, in PEM, that may have issued the service's; by
            default those of the system.
        tls_client_cert: The certificate of this client, in PEM, for services that require one.
        tls_client_key: Its private key; by default in the same file.
        tls_server_name: The name in the service's certificate, if it is not the host of the
            address.
        home: The folder for the local service's database, its socket and the spool.
        logging_level: The minimum level of reported log records of runs: DEBUG, INFO, ….
        logging_log_prints: True if prints in runs are logged, unless the flow or task overrides it.
        logging_to_console: True if log records of runs are shown on standard error, unless the
            program's own logging shows them.
        logging_colors: False disables colours; otherwise they are used on a terminal, by NO_COLOR,
            FORCE_COLOR and TERM.
        logging_extra_loggers: Names of loggers, mostly of libraries, whose records in runs are
            reported from the log level on, whatever their own level and propagation.
        persist_results: True if results are stored, unless the flow or task overrides it.
        results_url: The folder for results: a path, or a URL that fsspec supports (s3://…); by
            default the folder "results" in `home`.
        results_trusted_storages: Further folders, paths or URLs, from which results of other
            programs' runs are read; see docs/results-and-caching.md.
        results_serializer: The serializer for results: pickle, json, compressed/pickle or
            compressed/json.
        tracing: False disables spans; None (auto) enables them if their receiver is known.
        otlp_endpoint: An OTLP endpoint for spans and, if they are exported, logs and metrics, over
            gRPC unless OTEL_EXPORTER_OTLP_PROTOCOL says otherwise; the endpoints of the standard
            OTEL_* variables override it.
        trace_url: The address of a trace in the page of a trace viewer, with ``{trace_id}`` in
            place of the id; by default what the service says.
        trace_parameters: True if the parameters of runs are attributes of their spans; or the names
            of those that are.
        trace_redact: A regular expression: parameters whose names contain a match, without regard
            to case, are "[redacted]" in spans.
        spool_max_bytes: Maximum size of the spool while the service is unreachable.
        flush_timeout_s: Time without an answer from the service, at the end of a top-level flow,
            after which unacknowledged events are spooled and the flow returns.
        task_runner_thread_pool_max_workers: Maximum number of concurrent tasks in a
            ThreadPoolTaskRunner without a limit of its own, and in flows without a task runner.
        task_runner_process_pool_max_workers: The same for a ProcessPoolTaskRunner.
        task_parameters_preview: Maximum size of the preview of its arguments that is stored with a
            task run, in bytes; 0 for none. ``true`` stands for 2048, ``false`` for 0.
        skip_retry_delays: For tests (docs/testing.md): True if retries begin at once. Their delays
            are still reported.
        local_idle_timeout_s: Time without clients after which the local service stops.
    """

    address: str | None = None
    profile: str = ""
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    tls: bool | None = None
    tls_ca: Path | None = None
    tls_client_cert: Path | None = None
    tls_client_key: Path | None = None
    tls_server_name: str | None = None
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
    trace_url: str | None = None
    trace_parameters: bool | tuple[str, ...] = False
    trace_redact: str = DEFAULT_REDACTION
    spool_max_bytes: int = 1 << 30
    flush_timeout_s: float = 10.0
    task_runner_thread_pool_max_workers: int | None = None
    task_runner_process_pool_max_workers: int | None = None
    task_parameters_preview: int = DEFAULT_PREVIEW_BYTES
    skip_retry_delays: bool = False
    local_idle_timeout_s: float = 300.0


def load(environ: Mapping[str, str], *, uses_profile: bool = True) -> Config:
    """Read the settings.

    Args:
        environ: The environment.
        uses_profile: False to ignore the profiles of the home.

    Raises:
        ConfigError: A variable has an invalid value; the message names it.
    """
    _text(environ, "FLOWSPAN_HOME")
    home = find_home(environ)
    texts = {name: found for name in _CONVERTERS if (found := _find(environ, name))[1]}
    profile = ""
    if uses_profile and "address" not in texts:
        profile, of_profile = _of_profile(environ, home)
        if "token" in texts:
            of_profile.pop("token_file", None)
        texts = {**of_profile, **texts}
    values: dict[str, object] = {"home": home, "profile": profile}
    for name, (source, text) in texts.items():
        try:
            values[name] = _CONVERTERS[name](text)
        except ValueError as error:
            shown = "…" if name == "token" else _shown(text)
            raise ConfigError(f"{source}={shown}: {error}") from None
    if values.get("token") and values.get("token_file"):
        raise ConfigError("FLOWSPAN_TOKEN and FLOWSPAN_TOKEN_FILE exclude each other: unset one")
    return Config(**values)  # type: ignore[arg-type] # the converters give the types


def config_for(address: str) -> Config:
    """Return the settings for an address that was given explicitly.

    If it is not the address of the current profile, the token and the certificates of that profile
    are left out: they are for the service of the profile only.

    Raises:
        ConfigError: A variable has an invalid value.
    """
    config = get_config()
    if config.profile and config.address != address:
        config = load(os.environ, uses_profile=False)
    return replace(config, address=address)


def _of_profile(environ: Mapping[str, str], home: Path) -> tuple[str, dict[str, tuple[str, str]]]:
    """Return the current profile: its name, and its settings with their origins.

    The name is empty if the profile has no address, and so concerns the local service.
    """
    profiles = read_profiles(home)
    given = _text(environ, "FLOWSPAN_PROFILE")
    name = given or profiles.current
    source = f"FLOWSPAN_PROFILE={given}" if given else "the current profile"
    settings = profiles.settings_of(name, source=source)
    if "address" not in settings:
        return "", {}
    return name, {key: (f"profile {name}: {key}", text) for key, text in settings.items()}


def variables_of(name: str) -> tuple[str, ...]:
    """Return the environment variables of a setting, in order of precedence."""
    older = _OLDER_NAMES.get(name)
    return (f"FLOWSPAN_{name.upper()}", *([older] if older is not None else []))


def _find(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    for variable in variables_of(name):
        text = _text(environ, variable)
        if text:
            return variable, text
    return "", ""


def get_config() -> Config:
    """Return the current settings from the environment.

    It is the same object as long as none of the variables has changed. Code that works for a run
    uses the settings with which its outermost run began (`flowspan.drivers.process`).

    Raises:
        ConfigError: A variable has an invalid value.
    """
    global _read  # noqa: PLW0603 - one per process
    # Tests may replace os.environ with another mapping.
    text_of = _text_of if os.environ is _environ else lambda key: os.environ.get(os.fsdecode(key))
    texts = tuple(map(text_of, _variables()))
    if _read is None or _read[0] != texts:
        _read = texts, load(os.environ)
    return _read[1]


def outer_run_text() -> tuple[str, str]:
    """Return the run context of the run that started this process, and the variable that has it.

    Both are empty without one. FLOWSPAN_RUN comes before the tracestate in TRACESTATE. This is no
    setting: each run that starts a process gives it another value.
    """
    if os.environ is _environ and _data is not None and _data.keys().isdisjoint(_OUTER_RUN_KEYS):
        return "", ""
    text = os.environ.get(VARIABLE)
    if text:
        return text, VARIABLE
    tracestate = os.environ.get("TRACESTATE")
    member = member_of(tracestate) if tracestate else None
    return (member, "TRACESTATE") if member else ("", "")


def split_address(text: str) -> tuple[str, int, str]:
    """Parse ``host:port``, ``[ip6]:port`` or ``unix:/path``.

    Returns:
        Host, port and path; for a Unix socket only the path (otherwise it is empty).

    Raises:
        ValueError: It is none of these; the message says why, and shows a valid form.
    """
    if text.startswith("unix:"):
        # unix:///path is the form of RFC 3986, which gRPC accepts as well.
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
    """Return the value of a variable, without surrounding blanks; empty if it is not set.

    Raises:
        ConfigError: It is not UTF-8, and so could not be passed on to the service.
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


def _file(text: str) -> Path:
    try:
        return expand(text).absolute()
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _token(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a token consists of visible ASCII characters without blanks")
    return text


def _boolean_or_auto(text: str) -> bool | None:
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
    raise ValueError("expected a whole number of at least 1")


def _size(text: str) -> int:
    return int(_number(text, 1, 2**62, "a number of bytes of at least 1"))


def _preview_bytes(text: str) -> int:
    least, most = MIN_PREVIEW_BYTES, MAX_PREVIEW_BYTES
    if text.isdecimal() and len(text) <= _MAX_DIGITS and least <= int(text) <= most:
        return int(text)
    try:
        return DEFAULT_PREVIEW_BYTES if _boolean(text) else 0
    except ValueError:
        raise ValueError(f"expected true, false or {least} to {most} bytes") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _boolean_or_names(text: str) -> bool | tuple[str, ...]:
    try:
        return _boolean(text)
    except ValueError:
        return _names(text)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"expected a regular expression ({error})") from None
    return text


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
"""Older names that are read if the variable of the setting is not set."""
_CONVERTERS: dict[str, Callable[[str], object]] = {
    "address": _address,
    "token": _token,
    "token_file": _file,
    "tls": _boolean_or_auto,
    "tls_ca": _file,
    "tls_client_cert": _file,
    "tls_client_key": _file,
    "tls_server_name": str,
    "logging_level": _level,
    "logging_log_prints": _boolean,
    "logging_to_console": _boolean,
    "logging_colors": _boolean,
    "logging_extra_loggers": _names,
    "persist_results": _boolean,
    "results_url": str,
    "results_trusted_storages": _names,
    "results_serializer": _serializer,
    "tracing": _boolean_or_auto,
    "otlp_endpoint": str,
    "trace_url": check_trace_url,
    "trace_parameters": _boolean_or_names,
    "trace_redact": _pattern,
    "spool_max_bytes": _size,
    "flush_timeout_s": _seconds,
    "task_runner_thread_pool_max_workers": _count,
    "task_runner_process_pool_max_workers": _count,
    "task_parameters_preview": _preview_bytes,
    "skip_retry_delays": _boolean,
    "local_idle_timeout_s": _seconds,
}

_read: tuple[tuple[object, ...], Config] | None = None
"""The last settings, and the strings from which they were read."""

# The dictionary behind os.environ, if available: reading os.environ itself is 20 times slower (a
# microsecond for each variable that is not set), and it is read at each outermost run.
_environ = os.environ
_data: Mapping[bytes, object] | None = getattr(os.environ, "_data", None)
_OUTER_RUN_KEYS = frozenset({VARIABLE.encode(), b"TRACESTATE"})
_text_of: Callable[[Any], object] = os.environ.get if _data is None else _data.get


@cache
def _variables() -> tuple[object, ...]:
    """Return the variables that affect the settings, as keys for `_text_of`."""
    names = ["HOME", "XDG_DATA_HOME", "TMPDIR", "FLOWSPAN_HOME", "FLOWSPAN_PROFILE"]
    names += [variable for name in _CONVERTERS for variable in variables_of(name)]
    return tuple(names if _data is None else map(os.fsencode, names))
