"""The sequential tasks with tracing: every span is sent to an OTLP receiver in another process.

The figure is void unless the receiver gets a span for each run.
"""

from __future__ import annotations

import os
import time

from benchmarks.otlp_receiver import running_receiver
from benchmarks.workloads import sequential_tasks
from benchmarks.workloads.support import Outcome, main

# Spans are exported in batches, the last one some seconds after the flow's end.
LATE_SPANS_S = 15.0


def measure(count: int) -> Outcome:
    # Remove settings that would turn tracing off or send the spans elsewhere.
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        del os.environ[name]
    with running_receiver() as receiver:
        os.environ["FLOWSPAN_TRACING"] = "true"
        os.environ["FLOWSPAN_OTLP_ENDPOINT"] = receiver.endpoint
        outcome = sequential_tasks.measure(count)
        wanted = count + sequential_tasks.WARM_UP + 2
        began = time.perf_counter()
        received = receiver.count()
        outcome.notes["spans received by the flow's return"] = received
        while received < wanted and time.perf_counter() - began < LATE_SPANS_S:
            time.sleep(0.05)
            received = receiver.count()
        outcome.notes["last span after the flow's return (s)"] = time.perf_counter() - began
        if received != wanted:
            outcome.void = f"{received} of {wanted} spans arrived"
    return outcome


if __name__ == "__main__":
    main(measure, count=10_000, traced=True)
