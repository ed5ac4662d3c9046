"""A user in Jaeger finds a running flow, tells waiting from work, and the flow of each run."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.run_queries import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.jaeger import Jaeger, JaegerSpan
    from tests.support.service import ServiceProcess

# A build of Jaeger takes minutes and happens within the first test.
pytestmark = [pytest.mark.jaeger, pytest.mark.timeout(3600)]

CODE = """
    import time
    from flowspan import flow, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    @task
    def nap(number):
        time.sleep(0.05)
        return number

    @task
    def total(numbers):
        return sum(numbers)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def import_orders(day, api_key):
        result = total.submit(nap.map(list(range(12)))).result()
        input()
        return result

    import_orders("monday", "hunter2")
"""
SERVICE = "orders-import"


def find(jaeger: Jaeger, **tags: str) -> list[str]:
    """Return the ids of the traces that Jaeger finds by tags of their spans."""
    now_us, hour_us = time.time_ns() // 1000, 3_600_000_000
    wanted = quote("{" + ",".join(f'"{key}":"{text}"' for key, text in tags.items()) + "}")
    query = f"service={SERVICE}&tags={wanted}&start={now_us - hour_us}&end={now_us + hour_us}"
    return [trace["traceID"] for trace in jaeger.get(f"/api/traces?{query}&limit=9")["data"]]


def waits_of(run: JaegerSpan, spans: list[JaegerSpan]) -> list[JaegerSpan]:
    return [each for each in spans if each.name == "waiting" and each.parent_id == run.span_id]


def test_what_jaeger_says_of_a_flow(
    start_service: Callable[..., ServiceProcess], jaeger: Jaeger, flowspan_home: Path
) -> None:
    service = start_service(arguments=("--otlp-endpoint", jaeger.endpoint))
    env = {"OTEL_SERVICE_NAME": SERVICE, "FLOWSPAN_TRACE_PARAMETERS": "true"}
    with FlowProcess(CODE, home=flowspan_home, address=service.address, env=env) as process:
        pending = {"flowspan.span.pending": "true", "flowspan.flow.name": "import-orders"}
        wait_until(lambda: find(jaeger, **pending), "the running flow")
        (trace_id,) = find(jaeger, **pending)
        (started,) = [s for s in jaeger.whole_trace(trace_id) if s.name.endswith(" started")]
        assert started.name == "import-orders started"
        assert started.service_name == SERVICE
        process.say("go on")
        process.finish()
        wait_until(
            lambda: "import-orders" in [span.name for span in jaeger.trace(trace_id)],
            "the span of the flow",
        )

    spans = jaeger.whole_trace(trace_id)
    (flow,) = [span for span in spans if span.name == "import-orders"]
    naps = [span for span in spans if span.name == "nap"]
    (total,) = [span for span in spans if span.name == "total"]
    assert started.parent_id == flow.span_id

    # Waiting is not work.
    assert len(naps) == 12
    for nap in naps:
        (wait,) = waits_of(nap, spans)
        assert wait.tags["flowspan.wait.reason"] == "process"
        queued_s, run_s = nap.tags["flowspan.queued_s"], nap.tags["flowspan.run_s"]
        assert 0.05 <= run_s < 0.4
        assert queued_s + run_s == pytest.approx(nap.duration_us / 1e6, abs=1e-4)
        assert wait.duration_us / 1e6 == pytest.approx(queued_s, abs=0.02)
    assert waits_of(total, spans)[0].tags["flowspan.wait.reason"] == "input"

    # Every run names its flow, and the process that it ran in.
    for span in (flow, *naps, total):
        assert span.tags["flowspan.flow.name"] == "import-orders"
        assert span.tags["flowspan.flow_run.id"] == flow.tags["flowspan.run.id"]
        assert span.tags["flowspan.root_run.id"] == flow.tags["flowspan.run.id"]
        assert span.tags["thread.name"]
    assert set(find(jaeger, **{"host.name": os.uname().nodename})) == {trace_id}

    assert flow.tags["flowspan.parameter.day"] == "monday"
    assert flow.tags["flowspan.parameter.api_key"] == "[redacted]"
    (first,) = [nap for nap in naps if nap.tags["flowspan.map.index"] == 0]
    assert total.links == [first.span_id], "one link stands for many inputs"
    assert [span.warnings for span in spans] == [[]] * len(spans)
