"""Enabling of tracing, and its target."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._once import Once

from flowspan import telemetry
from flowspan.config import Config
from flowspan.connection import program
from flowspan.connection.otlp_target import OtlpTarget
from flowspan.connection.process_resource import process_resource
from flowspan.core.definition import Definition
from flowspan.core.events import RunRecord
from flowspan.telemetry import provider as provider_module
from flowspan.telemetry.fast_tracer import FastTracer
from flowspan.telemetry.provider import process_resource_of
from flowspan.telemetry.setup import decide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flowspan.telemetry.endpoint import Target

ENDPOINT = "http://collector:4317"


@pytest.fixture(autouse=True)
def no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the global provider, as in a fresh process."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Target]]:
    """Yield the targets that spans would be sent to; nothing is sent."""
    seen: list[Target] = []

    class Nowhere:
        def __init__(self, target: Target) -> None:
            seen.append(target)

        def send(self, body: bytes, timeout_s: float) -> bytes:
            return b""

        def reset(self) -> None:
            pass

        def close(self) -> None:
            pass

    registered: list[Any] = []
    monkeypatch.setattr(provider_module, "transport_to", Nowhere)
    monkeypatch.setattr(provider_module.atexit, "register", registered.append)
    yield seen
    for shutdown in registered:
        shutdown()


def config(home: Path, **settings: Any) -> Config:
    return Config(home=home, **settings)


def silent(timeout_s: float) -> OtlpTarget | None:
    raise AssertionError("the service must not be asked")


def test_false_wins_over_everything(tmp_path: Path) -> None:
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT}
    decision = decide(config(tmp_path, tracing=False), silent, environ=environ)
    assert decision == (None, True)


def test_the_sdk_can_be_disabled(tmp_path: Path) -> None:
    environ = {"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT}
    assert decide(config(tmp_path), silent, environ=environ) == (None, True)


def test_a_provider_that_is_there_wins_over_the_variables(
    tmp_path: Path, targets: list[Target]
) -> None:
    mine = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(mine)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT}
    tracer, is_final = decide(config(tmp_path), silent, environ=environ)
    assert tracer is not None
    assert is_final
    assert targets == []
    assert trace.get_tracer_provider() is mine


def test_the_variables_win_over_the_settings(tmp_path: Path, targets: list[Target]) -> None:
    settings = config(tmp_path, otlp_endpoint="http://setting:4317")
    tracer, is_final = decide(settings, silent, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT})
    assert tracer is not None
    assert is_final
    assert [target.url for target in targets] == [ENDPOINT]
    assert isinstance(tracer._tracer, FastTracer)
    provider = trace.get_tracer_provider()
    assert provider is tracer._tracer.provider, "the provider must be global, for libraries"

    again, _ = decide(settings, silent, environ={})
    assert again is not None
    assert isinstance(again._tracer, FastTracer), "the global provider must be flowspan's own"
    assert trace.get_tracer_provider() is provider


def test_the_setting_wins_over_the_service(tmp_path: Path, targets: list[Target]) -> None:
    settings = config(tmp_path, address="far:4600", otlp_endpoint="setting:4317")
    assert decide(settings, silent, environ={}).tracer is not None
    assert [target.url for target in targets] == ["http://setting:4317"]


def test_a_remote_service_tells_where(tmp_path: Path, targets: list[Target]) -> None:
    waits = []

    def told(timeout_s: float) -> OtlpTarget:
        waits.append(timeout_s)
        return OtlpTarget("grpc", ENDPOINT)

    settings = config(tmp_path, address="far:4600")
    assert decide(settings, told, wait_s=0.25, environ={}).tracer is not None
    assert waits == [0.25]
    assert [target.url for target in targets] == [ENDPOINT]


@pytest.mark.parametrize("is_remote", [True, False])
def test_a_service_with_a_receiver_over_http(
    tmp_path: Path, targets: list[Target], is_remote: bool
) -> None:
    told = OtlpTarget("http/protobuf", "http://collector:4318/v1/traces")
    (tmp_path / "service.json").write_text(json.dumps({"otlp_target": told._asdict()}))
    settings = config(tmp_path, address="far:4600" if is_remote else None)
    assert decide(settings, lambda _: told, environ={}).tracer is not None
    assert [(each.protocol, each.url) for each in targets] == [told[:2]]


def test_a_service_that_wants_logs_alone_tells_no_receiver_of_spans(tmp_path: Path) -> None:
    told = OtlpTarget("grpc", "", "http://collector:4317")
    settings = config(tmp_path, address="far:4600")
    assert decide(settings, lambda _: told, environ={}) == (None, False)


def test_the_local_service_tells_in_its_file(tmp_path: Path, targets: list[Target]) -> None:
    (tmp_path / "service.json").write_text(json.dumps({"pid": 1, "otlp_endpoint": ENDPOINT}))
    assert decide(config(tmp_path), silent, environ={}).tracer is not None
    assert [target.url for target in targets] == [ENDPOINT]


def test_a_local_service_that_only_starts_is_not_waited_for(tmp_path: Path) -> None:
    waits = []
    decision = decide(config(tmp_path), waits.append, wait_s=0.25, environ={})
    assert decision == (None, False), "tracing must be off for now, and the service asked again"
    assert waits == [0.0]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"otlp_endpoint": null}', '{"pid": 1}'])
def test_a_local_service_that_knows_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "service.json").write_text(text)
    assert decide(config(tmp_path), None, environ={}) == (None, False)


def test_true_falls_back_to_the_default_endpoint(tmp_path: Path, targets: list[Target]) -> None:
    assert decide(config(tmp_path, tracing=True), None, environ={}).tracer is not None
    assert [target.url for target in targets] == ["http://localhost:4317"]


def test_the_standard_exporters(tmp_path: Path, targets: list[Target]) -> None:
    none = {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT}
    assert decide(config(tmp_path), silent, environ=none) == (None, True)
    otlp = {"OTEL_TRACES_EXPORTER": "otlp"}
    assert decide(config(tmp_path), silent, environ=otlp).tracer is not None
    assert [target.url for target in targets] == ["http://localhost:4317"]


def test_to_the_console(
    tmp_path: Path, targets: list[Target], capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"OTEL_TRACES_EXPORTER": "console"}
    tracer, _ = decide(config(tmp_path), silent, environ=environ)
    assert tracer is not None
    span = tracer.start_run(record(), definition(), 1)
    assert span is not None
    span.end(6, "Completed", "", None, 2)
    assert json.loads(capsys.readouterr().out)["name"] == "fetch"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"OTEL_TRACES_EXPORTER": "nonsense"}, "nonsense"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://x"}, "ftp://x"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "http/json"),
    ],
)
def test_a_bad_variable_is_one_warning_and_no_failure(
    tmp_path: Path, environ: dict[str, str], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert decide(config(tmp_path), silent, environ=environ) == (None, True)
    (warning,) = caplog.records
    assert "Tracing is off" in warning.getMessage()
    assert named in warning.getMessage()


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "etl"),
        ({"OTEL_SERVICE_NAME": "shop"}, "shop"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,team=a"}, "shop"),
    ],
)
def test_the_name_of_the_service(
    tmp_path: Path,
    targets: list[Target],
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    name: str,
) -> None:
    monkeypatch.setattr(program, "_of_parent", "etl")
    for variable, text in environ.items():
        monkeypatch.setenv(variable, text)
    tracer, _ = decide(config(tmp_path, otlp_endpoint=ENDPOINT), silent)
    assert tracer is not None
    assert isinstance(tracer._tracer, FastTracer)
    attributes = tracer._tracer.provider.resource.attributes
    assert attributes["service.name"] == name
    assert attributes["process.pid"] == os.getpid()
    assert attributes["host.name"] == os.uname().nodename
    # The service gets the same resource, for the spans that it exports.
    told = process_resource(os.environ)
    assert {key: str(value) for key, value in attributes.items()} == told


def test_the_settings_of_parameters_reach_the_tracer(tmp_path: Path, targets: list[Target]) -> None:
    for setting, is_on in ((False, False), (True, True), (("day",), True)):
        tracer, _ = decide(
            config(tmp_path, otlp_endpoint=ENDPOINT, trace_parameters=setting), silent
        )
        assert tracer is not None
        assert (tracer._parameters is not None) == is_on


def test_the_environment_names_host_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "host.name=h,process.pid=7")
    attributes = process_resource_of(os.environ).attributes
    assert (attributes["host.name"], attributes["process.pid"]) == ("h", "7")


def test_a_forked_child_has_its_own_process_id() -> None:
    resource = process_resource_of({})
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, str(resource.attributes["process.pid"]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert int(pipe.read()) == child
    assert resource.attributes["process.pid"] == os.getpid()


def record(parent: str | None = None) -> RunRecord:
    return RunRecord(
        "r1",
        is_flow=False,
        function_name="fetch",
        run_name="",
        parent_run_id=parent,
        root_run_id="r1",
        flow_run_id=None,
    )


def definition() -> Definition:
    made = Definition()
    made.name, made.fn = "fetch", record
    return made


@pytest.fixture
def configured() -> Iterator[None]:
    yield
    telemetry.configure()


def test_who_does_not_know_is_asked_again_at_the_next_top_level_run(
    tmp_path: Path, targets: list[Target], configured: None
) -> None:
    waits: list[float] = []
    answers = iter([None, OtlpTarget("grpc"), OtlpTarget("grpc", ENDPOINT)])

    def told(timeout_s: float) -> OtlpTarget | None:
        waits.append(timeout_s)
        return next(answers)

    telemetry.configure(config(tmp_path, address="far:4600"), service_endpoint=told)
    assert telemetry.start_run(record(), definition(), 1) is None
    assert telemetry.start_run(record(parent="r0"), definition(), 1) is None, (
        "a nested run must not ask the service"
    )
    assert telemetry.start_run(record(), definition(), 1) is None
    traced = record()
    assert telemetry.start_run(traced, definition(), 1) is not None
    assert traced.traceparent
    assert telemetry.start_run(record(), definition(), 1) is not None
    assert waits == [0.25, 0.0, 0.0], "it must ask once, and use the known answer later"
    assert telemetry.flush()


def test_without_tracing_opentelemetry_is_not_imported(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from flowspan import telemetry
from flowspan.config import Config
from flowspan.connection.otlp_target import OtlpTarget
from flowspan.core.definition import Definition
from flowspan.core.events import RunRecord
telemetry.configure(Config(home=Path(sys.argv[1])), service_endpoint=lambda timeout_s: None)
record = RunRecord("r1", is_flow=True, function_name="f", run_name="", parent_run_id=None,
                   root_run_id="r1", flow_run_id="r1")
assert telemetry.start_run(record, Definition(), 1) is None
assert record.traceparent == ""
loaded = [name for name in sys.modules if name.startswith(("opentelemetry", "grpc"))]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)


LOADED = """
import sys
from pathlib import Path
from flowspan import telemetry
from flowspan.config import Config
telemetry.configure(Config(home=Path(sys.argv[1])))
telemetry.load()
print(*(name for name in sys.argv[2:] if name in sys.modules))
if "opentelemetry.trace" in sys.modules:
    from opentelemetry import trace
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
"""
GRPC_TRANSPORT = "flowspan.telemetry.transport_grpc"
HTTP_TRANSPORT = "flowspan.telemetry.transport_http"


@pytest.mark.parametrize(
    ("environ", "loaded"),
    [
        ({}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT, "OTEL_SDK_DISABLED": "true"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT}, ["opentelemetry.sdk.trace", GRPC_TRANSPORT]),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            ["opentelemetry.sdk.trace", HTTP_TRANSPORT],
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "nonsense"},
            ["opentelemetry.sdk.trace"],
        ),
    ],
)
def test_modules_can_be_imported_without_a_decision(
    tmp_path: Path, environ: dict[str, str], loaded: list[str]
) -> None:
    names = ["opentelemetry.sdk.trace", GRPC_TRANSPORT, HTTP_TRANSPORT]
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(tmp_path), *names],
        env={**os.environ, **environ},
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == loaded
    assert done.stderr == ""
