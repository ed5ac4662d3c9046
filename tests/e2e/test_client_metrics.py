"""The client's metrics: over OTLP, on the console, and through the program's own meter provider."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.otlp import HttpOtlpReceiver, OtlpReceiver
from tests.support.otlp_metrics import MetricsReceiver, Received, exports_over_http

from flowspan.telemetry import metric_families as families

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import ServiceProcess

PROGRAM = """
    from flowspan import flow, task

    @task
    def double(number):
        return number * 2

    @task(retries=1, retry_delay_seconds=0.01)
    def fails():
        raise ValueError("no")

    @flow
    def etl():
        double.map(range(5)).result()
        fails(return_state=True)

    etl()
"""
SELDOM = {"OTEL_METRIC_EXPORT_INTERVAL": "3600000"}


def errors_of(code: str, home: Path, service: ServiceProcess, env: dict[str, str]) -> str:
    """Run a program to its end; return what it wrote to standard error."""
    with FlowProcess(code, home=home, address=service.address, env=env) as process:
        process.finish()
        return process.errors


def check(export: Received) -> None:
    """Check the last export of PROGRAM."""
    ended = "flowspan.client.runs.ended"
    assert export.value(ended, kind="flow", state="COMPLETED") == 1
    assert export.value(ended, kind="task", state="COMPLETED") == 5
    assert export.value(ended, kind="task", state="FAILED") == 1
    assert export.value("flowspan.client.run.duration", kind="task") == 6
    assert export.value("flowspan.client.run.duration", kind="flow") == 1
    assert export.value("flowspan.client.events.waiting") == 0
    assert export.value("flowspan.client.events.dropped", kind="state") == 0
    known = {family.name: family for family in families.FAMILIES}
    kinds = {families.COUNTER: "sum", families.GAUGE: "gauge", families.HISTOGRAM: "histogram"}
    for name, metric in export.metrics.items():
        family = known[name]
        assert (metric.unit, metric.description) == (family.unit, family.help)
        assert metric.WhichOneof("data") == kinds[family.type]


def test_the_end_of_the_process_exports_over_grpc(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    with MetricsReceiver() as receiver:
        env = {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": receiver.endpoint,
            "OTEL_SERVICE_NAME": "nightly",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-team=data",
        }
        run_code(PROGRAM, home=flowspan_home, address=service.address, env=env | SELDOM)
        (export,) = receiver.exports
        check(export)
        assert export.resource["service.name"] == "nightly"
        assert export.resource["service.instance.id"]
        assert export.scope == "flowspan"
        assert receiver.metadata[0]["x-team"] == "data"
        assert export.value("flowspan.client.spans.dropped") is None  # tracing is off


def test_metrics_over_http_have_the_spans_of_runs_as_exemplars(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    with HttpOtlpReceiver() as receiver:
        env = {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }
        run_code(PROGRAM, home=flowspan_home, address=service.address, env=env | SELDOM)
        (export,) = exports_over_http(receiver)
        check(export)
        found = export.point("flowspan.client.run.duration", kind="flow")
        assert found is not None
        span = receiver.one("etl")
        assert found.exemplars == [(span.trace_id, span.span_id)]
        assert export.value("flowspan.client.spans.dropped") == 0


def test_an_interval_exports_while_runs_go_on(service: ServiceProcess, flowspan_home: Path) -> None:
    with MetricsReceiver() as receiver:
        env = {
            "OTEL_METRICS_EXPORTER": "otlp",
            "FLOWSPAN_OTLP_ENDPOINT": receiver.endpoint,
            "FLOWSPAN_TRACING": "false",
            "OTEL_METRIC_EXPORT_INTERVAL": "50",
        }
        code = PROGRAM + "\n    import time; time.sleep(0.5)\n    etl()\n"
        run_code(code, home=flowspan_home, address=service.address, env=env)
        exports = receiver.exports
        assert len(exports) > 2
        counts = [each.value("flowspan.client.run.duration", kind="flow") for each in exports]
        assert 1 in counts
        assert counts[-1] == 2


def test_the_console_shows_one_line_of_json(service: ServiceProcess, flowspan_home: Path) -> None:
    env = {"OTEL_METRICS_EXPORTER": "console"}
    output = run_code(PROGRAM, home=flowspan_home, address=service.address, env=env | SELDOM)
    (line,) = (json.loads(each) for each in output.splitlines() if each.startswith("{"))
    metrics = line["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    assert "flowspan.client.runs.ended" in {metric["name"] for metric in metrics}


def test_the_spool_is_counted_while_the_service_is_away(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    service.stop()
    with MetricsReceiver() as receiver:
        env = {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": receiver.endpoint,
            "FLOWSPAN_FLUSH_TIMEOUT_S": "0.2",
            "OTEL_METRIC_EXPORT_INTERVAL": "50",
        }
        code = PROGRAM + "\n    import time; time.sleep(0.5)\n"
        run_code(code, home=flowspan_home, address=service.address, env=env)
        found = [
            each
            for each in receiver.exports
            if each.value("flowspan.client.events.waiting")
            and each.value("flowspan.client.spool.size")
        ]
        assert found
        assert receiver.exports[-1].value("flowspan.client.events.spooled") > 10
    service.start()


FORKS = """
    import os
    from flowspan import flow

    @flow
    def etl():
        return 1

    etl()
    child = os.fork()
    if child == 0:
        etl()
        raise SystemExit  # with the functions of atexit
    os.waitpid(child, 0)
"""


def test_a_forked_child_exports_its_own_counts(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    with MetricsReceiver() as receiver:
        env = {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": receiver.endpoint,
        }
        errors = errors_of(FORKS, flowspan_home, service, env | SELDOM)
        counts = [
            each.value("flowspan.client.runs.ended", kind="flow", state="COMPLETED")
            for each in receiver.exports
        ]
        assert counts == [1, 1], errors
        ids = {each.resource["service.instance.id"] for each in receiver.exports}
        assert len(ids) == 2


SLEEPS = """
    import time
    from flowspan import flow

    @flow
    def etl():
        print("sleeping")
        time.sleep(600)

    etl()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_run_that_a_signal_ends_is_exported(
    service: ServiceProcess, flowspan_home: Path, number: signal.Signals
) -> None:
    with MetricsReceiver() as receiver:
        env = {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": receiver.endpoint,
        }
        with FlowProcess(
            SLEEPS, home=flowspan_home, address=service.address, env=env | SELDOM
        ) as process:
            process.wait_for_line("sleeping")
            process.send_signal(number)
            process.finish(expected_code=-number)
        (export,) = receiver.exports
        ended = "flowspan.client.runs.ended"
        assert export.value(ended, kind="flow", state="CRASHED") == 1


POOL = """
    from flowspan import flow, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    @task
    def double(number):
        return number * 2

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def etl():
        return double.map(range(4)).result()

    if __name__ == "__main__":
        etl()
"""


def test_runs_in_worker_processes_count_once(service: ServiceProcess, flowspan_home: Path) -> None:
    with MetricsReceiver() as receiver:
        env = {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": receiver.endpoint,
        }
        run_code(POOL, home=flowspan_home, address=service.address, env=env | SELDOM)
        (export,) = receiver.exports
        assert export.value("flowspan.client.runs.ended", kind="task", state="COMPLETED") == 4


OWN_PROVIDER = """
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
"""
SHOW = """
    import json
    for of_resource in reader.get_metrics_data().resource_metrics:
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                for point in metric.data.data_points:
                    value = getattr(point, "value", None)
                    bounds = list(getattr(point, "explicit_bounds", []))
                    print(json.dumps([
                        of_scope.scope.name, metric.name, metric.unit, dict(point.attributes),
                        point.count if value is None else value, bounds,
                    ]))
"""


def test_a_meter_provider_of_the_program_gets_instruments(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    output = run_code(OWN_PROVIDER + PROGRAM + SHOW, home=flowspan_home, address=service.address)
    found: dict[tuple[str, str], Any] = {}
    for line in output.splitlines():
        if not line.startswith('["flowspan"'):
            continue
        _, name, unit, attributes, value, bounds = json.loads(line)
        family = next(each for each in families.FAMILIES if each.name == name)
        assert unit == family.unit
        assert tuple(bounds) == family.bounds
        found[name, json.dumps(attributes, sort_keys=True)] = value
    ended = "flowspan.client.runs.ended"
    assert found[ended, '{"kind": "task", "state": "COMPLETED"}'] == 5
    assert found[ended, '{"kind": "flow", "state": "COMPLETED"}'] == 1
    assert found["flowspan.client.run.duration", '{"kind": "task"}'] == 6
    assert found["flowspan.client.events.waiting", "{}"] == 0


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"OTEL_METRICS_EXPORTER": "none"},
        {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"},
    ],
    ids=["unset", "none", "disabled"],
)
def test_metrics_are_off_unless_they_are_asked_for(
    service: ServiceProcess, flowspan_home: Path, env: dict[str, str]
) -> None:
    show = """
    import sys
    from flowspan.reporter import process_tally
    print("meter", process_tally.meter, "flowspan.telemetry.metrics" in sys.modules)
    """
    with MetricsReceiver() as receiver:
        endpoint = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": receiver.endpoint}
        output = run_code(
            PROGRAM + show, home=flowspan_home, address=service.address, env=endpoint | env
        )
        assert "meter None False" in output
        assert not receiver.exports


def test_a_wrong_setting_turns_metrics_off_and_says_so(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    env = {"OTEL_METRICS_EXPORTER": "statsd"}
    errors = errors_of(PROGRAM, flowspan_home, service, env)
    assert errors.count("Metrics are off: OTEL_METRICS_EXPORTER='statsd'") == 1


def test_an_unreachable_receiver_is_said_once_and_delays_the_end_little(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    with OtlpReceiver() as gone:
        endpoint = gone.endpoint
    env = {
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "20",
    }
    code = PROGRAM + "\n    import time; time.sleep(0.3)\n"
    began = time.monotonic()
    errors = errors_of(code, flowspan_home, service, env)
    assert errors.count("Metrics cannot be delivered") == 1
    assert time.monotonic() - began < 30
