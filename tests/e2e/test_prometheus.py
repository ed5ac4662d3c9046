"""A real Prometheus scrapes the service: the series of flows, exemplars, alerts, the dashboard."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.access import create_token
from tests.support.flow_processes import run_code
from tests.support.metric_expressions import series_of
from tests.support.otlp import OtlpReceiver
from tests.support.prometheus import Prometheus
from tests.support.service import read_service_file
from tests.unit.test_deploy import TARGETS, with_values

from flowspan_service.metrics.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import ServiceProcess

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="Prometheus is not installed (the Debian package prometheus)",
)

PROGRAM = """
    from flowspan import flow, task

    @task
    def double(number):
        return number * 2

    @flow
    def etl():
        return sum(future.result() for future in double.map(range(5)))

    @flow
    def breaks():
        raise ValueError("no")

    etl()
    breaks(return_state=True)
"""


def http_target(service: ServiceProcess) -> str:
    """Return the host and port of the service for HTTP."""
    found = read_service_file(service.home)
    assert found is not None
    return str(found["http_address"]).removeprefix("http://")


def test_prometheus_scrapes_the_series_of_flows(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path, tmp_path: Path
) -> None:
    service = start_service(arguments=("--http-port", "0"))
    with OtlpReceiver() as receiver, Prometheus(tmp_path, http_target(service)) as prometheus:
        began_s = time.time()
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        run_code(PROGRAM, home=flowspan_home, address=service.address, env=env)
        ended = "flowspan_flow_runs_ended_total"
        prometheus.wait_for(lambda: len(prometheus.query(ended)) == 2, "ended runs")

        (target,) = prometheus.get("targets")["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")
        assert prometheus.query(ended) == {
            (("flow", "breaks"), ("state", "FAILED")): 1,
            (("flow", "etl"), ("state", "COMPLETED")): 1,
        }
        assert prometheus.query("flowspan_task_runs_ended_total") == {(("state", "COMPLETED"),): 5}
        assert prometheus.query("flowspan_task_run_duration_seconds_count") == {(): 5}
        assert prometheus.query("flowspan_task_run_queue_wait_seconds_count") == {(): 5}
        check_types(prometheus)
        check_exemplars(prometheus, receiver, began_s)
        check_expressions(prometheus)


def check_types(prometheus: Prometheus) -> None:
    """Check that Prometheus has read the type, the unit and the help of each metric."""
    known = prometheus.get("metadata")
    present = set(prometheus.get("label/__name__/values"))
    for family in FAMILIES:
        if not present & series_of(family).keys():
            continue
        (facts,) = known[family.prometheus_name]
        assert facts["type"] == family.type.value
        assert facts["help"] == family.help
        assert facts["unit"] == family.prometheus_unit
    missing = {family.name for family in FAMILIES if not present & series_of(family).keys()}
    # No run is open by now, and the service exports no spans.
    assert missing <= {"flowspan.open_runs", "flowspan.spans_waiting"}


def check_exemplars(prometheus: Prometheus, receiver: OtlpReceiver, began_s: float) -> None:
    """Check that exemplars name the spans that the receiver has got."""
    found = prometheus.get(
        "query_exemplars",
        query="flowspan_flow_run_duration_seconds_bucket",
        start=str(began_s - 60),
        end=str(time.time() + 60),
    )
    ids = {
        each["seriesLabels"]["flow"]: (one["labels"]["trace_id"], one["labels"]["span_id"])
        for each in found
        for one in each["exemplars"]
    }
    receiver.wait_for(lambda spans: {"etl", "breaks"} <= {span.name for span in spans}, "spans")
    spans = {name: receiver.one(name) for name in ("etl", "breaks")}
    assert ids == {name: (span.trace_id, span.span_id) for name, span in spans.items()}


def check_expressions(prometheus: Prometheus) -> None:
    """Evaluate the expressions of the dashboard and of the alerts."""
    for _, expression in TARGETS:
        prometheus.get("query", query=with_values(expression))
    prometheus.wait_for(
        lambda: all(rule["health"] != "unknown" for rule in rules_of(prometheus)), "evaluation"
    )
    rules = rules_of(prometheus)
    assert {rule["name"]: rule["health"] for rule in rules} == {
        rule["name"]: "ok" for rule in rules
    }
    assert {rule["name"]: rule["state"] for rule in rules}["FlowspanDown"] == "inactive"


def rules_of(prometheus: Prometheus) -> list[dict[str, Any]]:
    """Return the alerts as Prometheus evaluated them."""
    groups = prometheus.get("rules")["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_prometheus_needs_a_token_where_clients_do(
    start_service: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    service = start_service(
        arguments=("--http-port", "0", "--require-tokens"), asks_over_socket=True
    )
    target = http_target(service)
    token = create_token(service.channel, "prometheus", "read")
    for name, secret, health in (("without", None, "down"), ("with", token, "up")):
        folder = tmp_path / name
        folder.mkdir()
        with Prometheus(folder, target, token=secret) as prometheus:

            def health_of(prometheus: Prometheus = prometheus) -> str:
                targets = prometheus.get("targets")["activeTargets"]
                return "".join(each["health"] for each in targets if each["health"] != "unknown")

            assert prometheus.wait_for(health_of, "scrape") == health
