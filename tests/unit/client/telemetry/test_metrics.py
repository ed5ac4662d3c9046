"""The decision whether there are metrics, and their export."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from flowspan import telemetry
from flowspan.config import Config
from flowspan.core.events import CREATED, STATE, RunRecord
from flowspan.reporter.tally import Tally
from flowspan.telemetry import metrics
from flowspan.telemetry.endpoint import SendError, Target
from flowspan.telemetry.metric_choice import choice_key, wants_metrics
from flowspan.telemetry.metrics import Meter, interval_s

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TARGET = Target(url="http://receiver:4317", signal="metrics")


class Transport:
    """Keeps the requests, or fails with errors in turn."""

    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.errors: list[SendError] = []
        self.resets = 0
        self.is_closed = threading.Event()
        self.has_tried = threading.Event()

    def send(self, body: bytes, timeout_s: float) -> bytes:
        assert 0 < timeout_s <= 10
        try:
            if self.errors:
                raise self.errors.pop()
            self.requests.append(ExportMetricsServiceRequest.FromString(body))
        finally:
            self.has_tried.set()
        return b""

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.is_closed.set()


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Transport:
    made = Transport()
    monkeypatch.setattr(metrics, "transport_to", lambda _target: made)
    return made


@pytest.fixture
def _exit_later(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the time for the end of the process alone: this one does not end."""
    monkeypatch.setattr(metrics, "begin_exit", lambda: None)
    return


def run_of(run_id: str) -> list[Any]:
    record = RunRecord(
        run_id,
        is_flow=True,
        function_name="f",
        run_name="",
        parent_run_id=None,
        root_run_id=run_id,
        flow_run_id=run_id,
    )
    return [
        (CREATED, record, "Pending", 0),
        (STATE, run_id, 1, 3, "Running", "", 1, None, None),
        (STATE, run_id, 1, 6, "Completed", "", 2, None, None),
    ]


def numbers(request: ExportMetricsServiceRequest, name: str) -> list[int]:
    (of_scope,) = request.resource_metrics[0].scope_metrics
    (metric,) = (each for each in of_scope.metrics if each.name == name)
    return [point.as_int for point in metric.sum.data_points]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, True),
        ({"OTEL_METRICS_EXPORTER": "anything"}, True),
        ({"OTEL_METRICS_EXPORTER": " None "}, False),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317"}, False),
    ],
)
def test_the_environment_asks_for_metrics(environ: dict[str, str], *, expected: bool) -> None:
    assert wants_metrics(environ) is expected


def test_the_choice_depends_on_settings_of_opentelemetry_alone() -> None:
    key = choice_key({"OTEL_METRICS_EXPORTER": "otlp", "HOME": "/a"}, None)
    assert key == choice_key({"HOME": "/b", "OTEL_METRICS_EXPORTER": "otlp"}, None)
    assert key != choice_key({"OTEL_METRICS_EXPORTER": "otlp"}, "http://localhost:4317")
    assert key != choice_key({"OTEL_METRICS_EXPORTER": "console"}, None)


@pytest.mark.parametrize(
    ("text", "expected"), [("500", 0.5), ("", 60.0), ("x", 60.0), ("-1", 60.0), ("1e99", 60.0)]
)
def test_the_interval(text: str, expected: float) -> None:
    assert interval_s({"OTEL_METRIC_EXPORT_INTERVAL": text}) == expected


def test_the_meter_stays_while_nothing_changes(
    tmp_path: Path, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, tally = Config(home=tmp_path), Tally()
    telemetry.make_meter(config, tally)
    assert tally.meter is None
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    telemetry.make_meter(config, tally)
    first = tally.meter
    assert first is not None
    telemetry.make_meter(config, tally)
    assert tally.meter is first
    first.observe(run_of("a"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other:4317")
    telemetry.make_meter(config, tally)
    assert tally.meter is not None
    assert tally.meter is not first
    assert transport.is_closed.wait(60), "the first meter exports once more, and ends"
    assert numbers(transport.requests[-1], "flowspan.client.runs.ended") == [1]
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    telemetry.make_meter(config, tally)
    assert tally.meter is None


@pytest.mark.usefixtures("_exit_later")
def test_the_end_exports_what_was_counted(transport: Transport) -> None:
    tally = Tally()
    meter = Meter(tally, TARGET, {"OTEL_SERVICE_NAME": "nightly"})
    meter.observe(run_of("a"))
    meter.observe(run_of("b"))
    tally.lost_logs = 3
    meter.shutdown()
    assert transport.is_closed.is_set()
    (request,) = transport.requests
    assert numbers(request, "flowspan.client.runs.ended") == [2]
    assert numbers(request, "flowspan.client.events.dropped") == [3, 0]
    resource = {
        each.key: each.value.string_value
        for each in request.resource_metrics[0].resource.attributes
    }
    assert resource["service.name"] == "nightly"
    assert resource["service.instance.id"]


@pytest.mark.usefixtures("_exit_later")
def test_a_process_without_runs_exports_nothing(transport: Transport) -> None:
    meter = Meter(Tally(), TARGET, {})
    meter.shutdown()
    assert transport.requests == []
    assert not transport.has_tried.is_set()


@pytest.mark.usefixtures("_exit_later")
def test_a_failure_is_said_once_and_loses_nothing(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    transport.errors = [SendError("no", retryable=True), SendError("no", retryable=False)]
    meter = Meter(Tally(), TARGET, {"OTEL_METRIC_EXPORT_INTERVAL": "1"})
    meter.observe(run_of("a"))
    while not transport.requests:
        assert transport.has_tried.wait(60)
        transport.has_tried.clear()
    meter.shutdown()
    assert numbers(transport.requests[0], "flowspan.client.runs.ended") == [1]
    warnings = [each for each in caplog.records if each.levelname == "WARNING"]
    assert len(warnings) == 1


@pytest.mark.usefixtures("_exit_later")
def test_the_child_of_a_fork_is_another_instance(transport: Transport) -> None:
    meter = Meter(Tally(), TARGET, {})
    meter.observe(run_of("a"))
    meter.after_fork()
    assert transport.resets == 1
    meter.observe(run_of("b"))
    meter.shutdown()
    # A real child has no thread of its parent. Here, that one ends with the meter, too.
    assert numbers(transport.requests[-1], "flowspan.client.runs.ended") == [1]
