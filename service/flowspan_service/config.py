"""The settings of the service: read once from flags and environment, frozen, and passed on."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_PROTOCOLS
from flowspan_service.domain.trace_urls import check_trace_url
from flowspan_service.process.plain_text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HTTP_PORT = 4680
"""The default HTTP port."""

_OFF = "off"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HIDDEN = "…"
_SHOWN_PARAMETERS = frozenset(
    [
        *("host", "hostaddr", "port", "dbname", "user", "sslmode", "application_name"),
        *("connect_timeout", "target_session_attrs"),
    ]
)

_DESCRIPTION = """\
Run the flowspan service, which stores the reports of flows and serves them over gRPC and
HTTP.

Each flag can also be set by an environment variable: --http-port is FLOWSPAN_HTTP_PORT. Flags take
precedence. (--log-level is FLOWSPAN_SERVICE_LOG_LEVEL and --log-format is
FLOWSPAN_SERVICE_LOG_FORMAT, because FLOWSPAN_LOG_LEVEL concerns the logs of runs.)"""

_EPILOGUE = """\
exit codes:
  0  stopped, or idle and embedded     3  another service uses the database
  2  a flag has a wrong value          4  an address cannot be listened on, or not safely
                                       5  the database cannot be opened"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of the service.

    Attributes:
        host: The address to listen on.
        port: The gRPC port; 0 chooses a free one.
        http_port: The HTTP port; 0 chooses a free one, None is for no HTTP.
        http_is_optional: True to start without HTTP if its port cannot be used.
        cors_origins: The origins whose web pages may call the service: "https://example.com".
        db: The URL of the database.
        home: The folder for the database, the socket and the published address.
        socket: The additional Unix socket to listen on, or None.
        listens_on_tcp: True if the service listens on host and port, for gRPC.
        is_embedded: True if a client library started the service, not a person.
        idle_timeout_s: The time without clients after which the service exits; None for never.
        otlp_endpoint: The OTLP receiver for spans of the service and its clients; empty for none.
        trace_url: The address of a trace in the page of a trace viewer, with ``{trace_id}`` in
            place of the id; empty for none.
        otlp_protocol: The protocol of the service's own receiver: "grpc" or "http/protobuf".
        otlp_metrics: True if the metrics of the service are exported to that receiver.
        own_spans: True if the service traces its own calls and transactions there.
        otlp_logs: True if the logs of runs are exported to that receiver, too.
        client_otlp: Whether the service exports to the receivers that clients name: "always",
            "never", or "auto" for a service that only this machine can reach.
        lease_s: The time that a session lives after its last frame.
        grace_s: The time that a session lives after its connection broke.
        tls_cert: The certificate for the TCP ports, in PEM; None for no TLS.
        tls_key: Its private key; None if it is in the same file.
        tls_client_ca: The authorities whose certificates clients must have; None if they need none.
        requires_tokens: True if clients over TCP need an access token even if none exists yet.
        is_insecure: True if clients need no access token, whoever they are.
        log_level: The minimum level of its own log: debug, info, warning or error.
        log_format: console, or json.
        crash_point: For tests: the point at which the service kills itself.
        crash_at: For tests: the number of the visit to that point, from 1.
    """

    host: str
    port: int
    http_port: int | None
    http_is_optional: bool
    cors_origins: tuple[str, ...]
    db: str
    home: Path
    socket: Path | None
    listens_on_tcp: bool
    is_embedded: bool
    idle_timeout_s: float | None
    otlp_endpoint: str
    otlp_protocol: str
    otlp_logs: bool
    otlp_metrics: bool
    own_spans: bool
    client_otlp: str
    lease_s: float
    grace_s: float
    log_level: str
    log_format: str
    trace_url: str = ""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    requires_tokens: bool = False
    is_insecure: bool = False
    crash_point: str | None = None
    crash_at: int = 1

    @property
    def uses_tcp(self) -> bool:
        """True if the service listens on a TCP port, for gRPC or for HTTP."""
        return self.listens_on_tcp or self.http_port is not None


def load(arguments: Sequence[str], environ: Mapping[str, str]) -> Config:
    """Read the settings; exit with code 2 if one is invalid, or with 0 after --help.

    Args:
        arguments: The command line, without the program's name.
        environ: The environment.
    """
    parser = _parser()
    parser.set_defaults(**_from_environment(parser, environ))
    flags = parser.parse_args(arguments)
    home: Path | None = flags.home or default_home()
    if home is None:
        parser.error("this user has no home directory: name a folder with --home or FLOWSPAN_HOME")
    default_db = f"sqlite:///{home / 'flowspan.db'}"
    db = flags.db or default_db
    socket = flags.socket
    if socket is None and db == default_db:
        socket = home / "service.sock"
    if flags.no_tcp and socket is None:
        parser.error("--no-tcp with a --db other than the default requires --socket")
    _check_access(parser, flags)
    name, _, at = (flags.crash_point or "").partition(":")
    values = {
        "db": db,
        "home": home,
        "socket": socket,
        "listens_on_tcp": not flags.no_tcp,
        "http_port": _http_port(flags),
        "http_is_optional": flags.http_port is None or flags.embedded,
        "cors_origins": tuple(flags.cors_origin or ()),
        "is_embedded": flags.embedded,
        "idle_timeout_s": flags.idle_timeout,
        "otlp_endpoint": flags.otlp_endpoint or "",
        "trace_url": flags.trace_url or "",
        "otlp_protocol": flags.otlp_protocol or _standard_protocol(environ),
        "otlp_logs": flags.otlp_logs or _exports("LOGS", environ),
        "otlp_metrics": flags.otlp_metrics or _exports("METRICS", environ),
        "lease_s": flags.lease,
        "grace_s": flags.grace,
        "requires_tokens": flags.require_tokens,
        "is_insecure": flags.insecure,
        "log_format": "console" if flags.log_format == "text" else flags.log_format,
        "crash_point": name or None,
        "crash_at": int(at or 1),
    }
    same = {
        field.name: getattr(flags, field.name)
        for field in fields(Config)
        if field.name not in values and hasattr(flags, field.name)
    }
    return Config(**values, **same)


def _http_port(flags: argparse.Namespace) -> int | None:
    """Return the HTTP port; by default, only services with a known gRPC port have one."""
    if flags.http_port is not None:
        return None if flags.http_port == _OFF else int(flags.http_port)
    is_known = flags.port != 0 and not flags.no_tcp
    return HTTP_PORT if is_known and not flags.embedded else None


def _standard_protocol(environ: Mapping[str, str]) -> str:
    """Return the protocol by OpenTelemetry's variables; gRPC for one that the service lacks."""
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        text = environ.get(name, "").strip().lower()
        if text:
            return text if text in OTLP_PROTOCOLS else OTLP_GRPC
    return OTLP_GRPC


def _exports(signal: str, environ: Mapping[str, str]) -> bool:
    names = environ.get(f"OTEL_{signal}_EXPORTER", "").lower().split(",")
    return "otlp" in map(str.strip, names)


def _check_access(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> None:
    if flags.require_tokens and flags.insecure:
        parser.error("--require-tokens and --insecure exclude each other")
    if flags.tls_cert is None and (flags.tls_key or flags.tls_client_ca):
        parser.error("--tls-key and --tls-client-ca need --tls-cert")


class _Parser(argparse.ArgumentParser):
    """Says what it was given without what a terminal would obey."""

    def error(self, message: str) -> NoReturn:
        super().error(clean(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="flowspan server start",
        description=_DESCRIPTION,
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for title, options in _OPTIONS.items():
        group = parser.add_argument_group(title)
        for option in options:
            if isinstance(option, _Switch):
                group.add_argument(option.flag, action="store_true", help=option.text)
                continue
            group.add_argument(
                option.flag,
                metavar=option.metavar,
                help=option.text,
                type=option.convert,
                default=option.default,
                action=_Append if option.is_repeatable else "store",
            )
    parser.add_argument("--crash-point", type=_crash_point, help=argparse.SUPPRESS)
    return parser


def _from_environment(
    parser: argparse.ArgumentParser, environ: Mapping[str, str]
) -> dict[str, object]:
    """Return the settings that the environment gives."""
    found: dict[str, object] = {}
    for setting in chain.from_iterable(_OPTIONS.values()):
        if isinstance(setting, _Switch) and not setting.has_variable:
            continue
        name = setting.flag.removeprefix("--").replace("-", "_")
        prefix = "FLOWSPAN_SERVICE_" if name.startswith("log_") else "FLOWSPAN_"
        variable = prefix + name.upper()
        text = environ.get(variable, "").strip()
        if not text:
            continue
        try:
            text.encode()
            convert = _boolean if isinstance(setting, _Switch) else setting.convert
            found[name] = convert(text)
        except UnicodeEncodeError:
            shown = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
            parser.error(f"{variable}='{_shown(name, shown)}': it is not valid UTF-8")
        except argparse.ArgumentTypeError as error:
            parser.error(f"{variable}={_shown(name, text)!r}: {error}")
    return found


def default_home() -> Path | None:
    """Return the default home, which is the clients' home; None if the user has none."""
    from platformdirs import user_data_path  # noqa: PLC0415 - only without --home and FLOWSPAN_HOME

    try:
        home = user_data_path("flowspan", appauthor=False)
    except (RuntimeError, KeyError):
        return None
    return home if home.is_absolute() else None


def _shown(name: str, text: str) -> str:
    """Return the value of a setting for display in an error."""
    return without_secrets(text) if name == "db" else text


def without_secrets(url: str) -> str:
    """Return the URL of a database for display, without any part that may be a password.

    Only parameters that are known to contain no secret keep their values.
    """
    if url.startswith("sqlite:"):  # the rest is a path, in which ":", "@" and "?" mean nothing
        return url
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not separator or "?" in credentials:  # the bounds of the password are unclear
        return f"{scheme if separator else ''}{separator}{_HIDDEN}"
    user, colon, _ = credentials.partition(":")
    place, question, query = place.partition("#")[0].partition("?")
    parameters = "&".join(map(_shown_parameter, query.split("&"))) if query else ""
    return f"{scheme}://{user}{':' + _HIDDEN if colon else ''}{at}{place}{question}{parameters}"


def _shown_parameter(text: str) -> str:
    name, equals, _ = text.partition("=")
    return text if name in _SHOWN_PARAMETERS or not equals else f"{name}={_HIDDEN}"


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise argparse.ArgumentTypeError("expected true or false")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def _port_or_off(text: str) -> int | str:
    return _OFF if text.lower() == _OFF else _port(text)


def _origins(text: str) -> list[str]:
    """Return the origins in a text, separated by commas or spaces, as browsers write them."""
    found = []
    for each in text.replace(",", " ").split():
        origin = origin_of(each)
        if origin is None:
            raise argparse.ArgumentTypeError(
                f"{each!r} is not the origin of a web page, such as https://example.com"
            )
        found.append(origin)
    return found


def origin_of(text: str) -> str | None:
    """Return an origin as browsers write it; None for a text that is no origin."""
    try:
        parts = urlsplit(text.lower())
        port = parts.port
    except ValueError:
        return None
    has_more = parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or has_more:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    is_default = port in (None, _DEFAULT_PORTS[parts.scheme])
    return f"{parts.scheme}://{host}" + ("" if is_default else f":{port}")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds greater than 0")
    return value


def _path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # "~name" of an unknown user
        raise argparse.ArgumentTypeError(f"{text!r} names no folder: {error}") from None


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _trace_url(text: str) -> str:
    try:
        return check_trace_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _crash_point(text: str) -> str:
    name, separator, at = text.partition(":")
    if not name or (separator and not (at.isdecimal() and int(at) > 0)):
        raise argparse.ArgumentTypeError("expected NAME or NAME:N")
    return text


def _one_of(*choices: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text.lower() not in choices:
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(choices)}")
        return text.lower()

    return convert


class _Setting(NamedTuple):
    """A setting with a value: a flag, and a variable of the environment."""

    flag: str
    metavar: str
    text: str
    convert: Callable[[str], object] = str
    default: object = None
    is_repeatable: bool = False


class _Append(argparse.Action):
    """Adds the values of a repeated flag; the first one replaces the value of the environment."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        del parser, option_string
        before = getattr(namespace, self.dest)
        given = [] if before is self.default else before
        setattr(namespace, self.dest, [*given, *values])


class _Switch(NamedTuple):
    """A flag without a value."""

    flag: str
    text: str
    has_variable: bool = False
    """True if a variable of the environment can set it, too: to true or false."""


_OPTIONS: dict[str, tuple[_Setting | _Switch, ...]] = {
    "listening": (
        _Setting(
            "--host",
            "HOST",
            "the address to listen on (default 127.0.0.1)",
            _text,
            "127.0.0.1",
        ),
        _Setting(
            "--port", "PORT", "the gRPC port; 0 chooses a free one (default 4600)", _port, 4600
        ),
        _Setting(
            "--http-port",
            "PORT",
            f"the HTTP port, or off; 0 chooses a free one (default {HTTP_PORT} if it is free; off "
            "with --embedded, --no-tcp and --port 0)",
            _port_or_off,
        ),
        _Setting(
            "--cors-origin",
            "URL",
            "let web pages of this origin call the service over HTTP; repeatable (default: none)",
            _origins,
            is_repeatable=True,
        ),
        _Setting(
            "--socket",
            "PATH",
            "a Unix socket to listen on (default: in the home, if the database is there)",
            _path,
        ),
        _Switch("--no-tcp", "serve gRPC only on the Unix socket"),
    ),
    "access (docs/security.md)": (
        _Setting(
            "--tls-cert",
            "FILE",
            "serve TCP over TLS with this certificate (PEM, with the chain)",
            _path,
        ),
        _Setting(
            "--tls-key", "FILE", "its private key (default: in the file of --tls-cert)", _path
        ),
        _Setting(
            "--tls-client-ca",
            "FILE",
            "require certificates of these authorities from clients (mutual TLS)",
            _path,
        ),
        _Switch(
            "--require-tokens",
            "require access tokens over TCP, also before the first one is created",
            has_variable=True,
        ),
        _Switch(
            "--insecure",
            "require no access tokens: whoever reaches the service may do anything",
            has_variable=True,
        ),
    ),
    "storage": (
        _Setting(
            "--db",
            "URL",
            "sqlite:///PATH or postgresql://… (default: a SQLite file in the home)",
            _text,
        ),
        _Setting(
            "--home",
            "FOLDER",
            "the folder of the database, the socket and the published address",
            _path,
        ),
    ),
    "traces, logs and metrics (docs/tracing.md, docs/metrics.md)": (
        _Setting(
            "--otlp-endpoint",
            "URL",
            "the OTLP receiver of spans, such as http://localhost:4317; clients that name none "
            "export to it, too",
        ),
        _Setting(
            "--otlp-protocol",
            "PROTOCOL",
            "its protocol: grpc, or http/protobuf (default: OTEL_EXPORTER_OTLP_PROTOCOL, or grpc)",
            _one_of(*OTLP_PROTOCOLS),
        ),
        _Switch("--otlp-logs", "export the logs of runs to it, too", has_variable=True),
        _Switch(
            "--otlp-metrics", "export the metrics of the service to it, too", has_variable=True
        ),
        _Switch(
            "--own-spans",
            "export spans of the service's own calls and transactions to it, too",
            has_variable=True,
        ),
        _Setting(
            "--client-otlp",
            "WHEN",
            "export spans and logs of clients where the clients do: always, never, or auto for "
            "always if only this machine can reach the service (default auto)",
            _one_of("auto", "always", "never"),
            "auto",
        ),
        _Setting(
            "--trace-url",
            "URL",
            "the page of a trace, for links to it: http://localhost:16686/trace/{trace_id}",
            _trace_url,
        ),
    ),
    "lifetime": (
        _Setting(
            "--lease",
            "S",
            "seconds until a silent process counts as dead (default 30)",
            _positive,
            30.0,
        ),
        _Setting(
            "--grace", "S", "the same, after its connection broke (default 10)", _positive, 10.0
        ),
        _Switch(
            "--embedded", "started by a client library; a service that a person starts takes over"
        ),
        _Setting(
            "--idle-timeout",
            "S",
            "exit after this time without clients (default: never)",
            _positive,
        ),
    ),
    "logging": (
        _Setting(
            "--log-level",
            "LEVEL",
            "debug, info, warning or error (default info)",
            _one_of("debug", "info", "warning", "error"),
            "info",
        ),
        _Setting(
            "--log-format",
            "FORMAT",
            "text, or json for one object per line (default text)",
            _one_of("text", "console", "json"),
            "text",
        ),
    ),
}
"""The flags, by their headings in the help. Flags with a value can be set by the environment."""
