"""The service's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowspan_service.config import Config, load, without_secrets


def loaded(*arguments: str, **environ: str) -> Config:
    return load(arguments, environ)


def test_defaults() -> None:
    config = loaded("--home", "/h")
    assert (config.host, config.port, config.http_port) == ("127.0.0.1", 4600, 4680)
    assert config.db == "sqlite:////h/flowspan.db"
    assert config.socket == Path("/h/service.sock")
    assert (config.lease_s, config.grace_s) == (30.0, 10.0)
    assert config.listens_on_tcp
    assert not config.is_embedded
    assert config.idle_timeout_s is None
    assert (config.log_level, config.log_format) == ("info", "console")
    assert config.crash_point is None


def test_home_is_the_users_data_folder_if_nothing_is_said() -> None:
    assert loaded().home.name == "flowspan"
    assert loaded(FLOWSPAN_HOME="/elsewhere").home == Path("/elsewhere")


def test_flags_win_over_the_environment() -> None:
    environ = {"FLOWSPAN_PORT": "1", "FLOWSPAN_LEASE": "5", "FLOWSPAN_SERVICE_LOG_LEVEL": "Debug"}
    config = loaded("--port", "2", **environ)
    assert (config.port, config.lease_s, config.log_level) == (2, 5.0, "debug")


@pytest.mark.parametrize(
    ("arguments", "port", "is_optional"),
    [
        ((), 4680, True),
        (("--port", "4700"), 4680, True),
        # A service on any free port is one of many; it takes no fixed one.
        (("--port", "0"), None, True),
        (("--embedded",), None, True),
        (("--no-tcp",), None, True),
        (("--http-port", "off"), None, False),
        (("--http-port", "0", "--port", "0"), 0, False),
        (("--http-port", "4680", "--no-tcp"), 4680, False),
        # No flow fails because the port of its local service is taken.
        (("--http-port", "8080", "--embedded"), 8080, True),
    ],
)
def test_http_port(arguments: tuple[str, ...], port: int | None, *, is_optional: bool) -> None:
    config = loaded(*arguments)
    assert (config.http_port, config.http_is_optional) == (port, is_optional)


def test_http_port_in_the_environment() -> None:
    assert loaded(FLOWSPAN_HTTP_PORT="OFF").http_port is None
    assert loaded("--http-port", "1", FLOWSPAN_HTTP_PORT="2").http_port == 1


def test_origins_are_written_as_browsers_do() -> None:
    assert loaded().cors_origins == ()
    given = loaded(
        "--cors-origin", "https://A.example.com:443/", "--cors-origin", "http://[::1]:3000"
    )
    assert given.cors_origins == ("https://a.example.com", "http://[::1]:3000")
    environ = {"FLOWSPAN_CORS_ORIGIN": "https://a.com, http://b.com:8080"}
    assert loaded(**environ).cors_origins == ("https://a.com", "http://b.com:8080")
    assert loaded("--cors-origin", "https://c.com", **environ).cors_origins == ("https://c.com",)


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "example.com",
        "ftp://x",
        "https://",
        "https://a/b",
        "https://a?b",
        "https://u@a",
    ],
)
def test_what_is_no_origin_is_refused(origin: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        loaded("--cors-origin", origin)
    assert "is not the origin of a web page" in capsys.readouterr().err


def test_log_level_of_runs_is_not_the_services() -> None:
    assert loaded(FLOWSPAN_LOG_LEVEL="DEBUG").log_level == "info"


def test_other_database_has_no_socket_unless_named() -> None:
    assert loaded("--db", "postgresql://x/y").socket is None
    named = loaded("--db", "postgresql://x/y", "--socket", "/s", "--no-tcp")
    assert named.socket == Path("/s")
    assert not named.listens_on_tcp


@pytest.mark.parametrize(("text", "name", "at"), [("p", "p", 1), ("p:3", "p", 3)])
def test_crash_point(text: str, name: str, at: int) -> None:
    config = loaded("--crash-point", text)
    assert (config.crash_point, config.crash_at) == (name, at)


@pytest.mark.parametrize(
    ("arguments", "environ", "told"),
    [
        (["--port", "70000"], {}, "--port: '70000' is not a port"),
        (["--port", "x"], {}, "'x' is not a port"),
        (["--lease", "0"], {}, "--lease: '0' is not a number of seconds greater than 0"),
        (["--grace", "nan"], {}, "'nan' is not a number of seconds"),
        (["--log-level", "loud"], {}, "--log-level"),
        (["--crash-point", "p:0"], {}, "expected NAME or NAME:N"),
        (["--db", "postgresql://x/y", "--no-tcp"], {}, "requires --socket"),
        (["--prot", "1"], {}, "--prot"),
        ([], {"FLOWSPAN_PORT": "many"}, "FLOWSPAN_PORT='many'"),
        ([], {"FLOWSPAN_SERVICE_LOG_FORMAT": "xml"}, "FLOWSPAN_SERVICE_LOG_FORMAT='xml'"),
    ],
)
def test_wrong_values_are_named(
    arguments: list[str],
    environ: dict[str, str],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        loaded(*arguments, **environ)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_the_address_of_a_trace() -> None:
    url = "http://localhost:16686/trace/{trace_id}"
    assert loaded().trace_url == ""
    assert loaded("--trace-url", url).trace_url == url
    assert loaded(FLOWSPAN_TRACE_URL=url).trace_url == url


def test_an_address_without_the_place_of_the_id_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        loaded(FLOWSPAN_TRACE_URL="http://localhost:16686/trace/")
    assert caught.value.code == 2
    assert "FLOWSPAN_TRACE_URL='http://localhost:16686/trace/': it " in capsys.readouterr().err


def test_help_names_every_flag_but_that_of_tests(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        loaded("--help")
    assert caught.value.code == 0
    told = capsys.readouterr().out
    for flag in (
        "--host",
        "--port",
        "--http-port",
        "--cors-origin",
        "--db",
        "--home",
        "--otlp-endpoint",
        "--trace-url",
    ):
        assert flag in told
    assert "crash" not in told


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:5432/db", "postgresql://u:…@h:5432/db"),
        ("postgresql://u:se%2Fcr%40et@h/db", "postgresql://u:…@h/db"),
        ("postgresql://u:secret@secret@h/db", "postgresql://u:…@h/db"),
        ("postgresql://u:@h/db", "postgresql://u:…@h/db"),
        ("postgresql://u@h/db?sslmode=require", "postgresql://u@h/db?sslmode=require"),
        ("postgresql:///db?host=/run&user=u&password=secret", None),
        ("postgresql://h/db?password=secret", "postgresql://h/db?password=…"),
        ("postgresql://h/db?pass%77ord=secret&port=1", "postgresql://h/db?pass%77ord=…&port=1"),
        ("postgresql://h/db?PASSWORD=secret&PassWord=secret", None),
        ("postgresql://u:secret@h/db?sslpassword=secret&options=secret", None),
        ("postgresql://h/db?password=secret@h2", None),
        ("postgresql://u:what?secret@h/db", None),
        ("postgresql+psycopg://u:secret@[::1]/db#secret=secret", None),
        ("u:secret@h/db", "…"),
        ("secret", "…"),
        (
            "sqlite:////home/a:b@c/flowspan.db?password=x",
            "sqlite:////home/a:b@c/flowspan.db?password=x",
        ),
    ],
)
def test_password_of_a_database_is_not_shown(url: str, shown: str | None) -> None:
    found = without_secrets(url)
    assert "secret" not in found
    assert shown is None or found == shown


def test_error_about_a_setting_does_not_show_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        loaded(FLOWSPAN_DB="postgresql://u:secret\udcff@h/db?password=secret")
    told = capsys.readouterr().err
    assert "FLOWSPAN_DB" in told
    assert "UTF-8" in told
    assert "secret" not in told


def test_the_protocol_of_the_receiver() -> None:
    assert loaded("--home", "/h").otlp_protocol == "grpc"
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    assert loaded("--home", "/h", **environ).otlp_protocol == "http/protobuf"
    environ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "grpc"
    assert loaded("--home", "/h", **environ).otlp_protocol == "grpc"
    flags = ("--home", "/h", "--otlp-protocol", "HTTP/protobuf")
    assert loaded(*flags, **environ).otlp_protocol == "http/protobuf"
    assert loaded("--home", "/h", OTEL_EXPORTER_OTLP_PROTOCOL="http/json").otlp_protocol == "grpc"
    with pytest.raises(SystemExit):
        loaded("--home", "/h", "--otlp-protocol", "http/json")


def test_whether_logs_are_exported() -> None:
    assert not loaded("--home", "/h").otlp_logs
    assert loaded("--home", "/h", "--otlp-logs").otlp_logs
    assert loaded("--home", "/h", FLOWSPAN_OTLP_LOGS="true").otlp_logs
    assert loaded("--home", "/h", OTEL_LOGS_EXPORTER="console, otlp").otlp_logs
    assert not loaded("--home", "/h", OTEL_LOGS_EXPORTER="none").otlp_logs


def test_metrics_and_own_spans_are_opt_in() -> None:
    plain = loaded("--home", "/h", OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:4317")
    assert not plain.otlp_metrics
    assert not plain.own_spans
    assert loaded("--home", "/h", "--otlp-metrics").otlp_metrics
    assert loaded("--home", "/h", FLOWSPAN_OTLP_METRICS="true").otlp_metrics
    assert loaded("--home", "/h", OTEL_METRICS_EXPORTER="prometheus,OTLP").otlp_metrics
    assert not loaded("--home", "/h", OTEL_METRICS_EXPORTER="none").otlp_metrics
    assert not loaded("--home", "/h", OTEL_LOGS_EXPORTER="otlp").otlp_metrics
    assert loaded("--home", "/h", "--own-spans").own_spans
    assert loaded("--home", "/h", FLOWSPAN_OWN_SPANS="yes").own_spans


def test_the_receivers_of_clients() -> None:
    assert loaded("--home", "/h").client_otlp == "auto"
    assert loaded("--home", "/h", FLOWSPAN_CLIENT_OTLP="Never").client_otlp == "never"
    with pytest.raises(SystemExit):
        loaded("--home", "/h", "--client-otlp", "sometimes")
