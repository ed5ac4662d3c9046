"""The names, types, units and attributes of the client's metrics.

docs/metrics.md repeats them, and a test compares the two. The name for Prometheus follows from that
of OpenTelemetry by its own rule.
"""

from __future__ import annotations

from typing import NamedTuple

COUNTER = "counter"
GAUGE = "gauge"
HISTOGRAM = "histogram"

_UNIT_SUFFIXES = {"s": "seconds", "By": "bytes"}


class Family(NamedTuple):
    """A metric.

    Attributes:
        name: The name in OpenTelemetry.
        type: COUNTER, GAUGE or HISTOGRAM.
        unit: The unit in UCUM; empty for none.
        help: The meaning, in one sentence.
        attributes: The names of its attributes.
        bounds: The upper bounds of the buckets of a histogram, ascending.
    """

    name: str
    type: str
    unit: str
    help: str
    attributes: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """The name for Prometheus, without the suffix "_total" of counters."""
        name, unit = self.name.replace(".", "_"), _UNIT_SUFFIXES.get(self.unit, "")
        return f"{name}_{unit}" if unit else name


RUN_SECONDS = (
    *(0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    *(300.0, 900.0, 3_600.0, 14_400.0, 86_400.0),
)

RUNS_ENDED = Family(
    "flowspan.client.runs.ended",
    COUNTER,
    "{run}",
    "Runs of this process that entered a terminal state.",
    ("kind", "state"),
)
RUN_DURATION = Family(
    "flowspan.client.run.duration",
    HISTOGRAM,
    "s",
    "The time that the code of ended runs ran, all attempts together.",
    ("kind",),
    RUN_SECONDS,
)
EVENTS_WAITING = Family(
    "flowspan.client.events.waiting",
    GAUGE,
    "{event}",
    "Reported events that the service has not stored yet.",
)
EVENTS_SPOOLED = Family(
    "flowspan.client.events.spooled",
    COUNTER,
    "{event}",
    "Events that were written to the spool: the first of a process, and those that had to wait.",
)
SPOOL_SIZE = Family(
    "flowspan.client.spool.size", GAUGE, "By", "The size of the spool of this process."
)
EVENTS_DROPPED = Family(
    "flowspan.client.events.dropped",
    COUNTER,
    "{event}",
    "Events that were lost because the spool was full: kind is log or state.",
    ("kind",),
)
SPANS_DROPPED = Family(
    "flowspan.client.spans.dropped",
    COUNTER,
    "{span}",
    "Spans that flowspan's own exporter could not deliver.",
)

FAMILIES = (
    *(RUNS_ENDED, RUN_DURATION, EVENTS_WAITING, EVENTS_SPOOLED),
    *(SPOOL_SIZE, EVENTS_DROPPED, SPANS_DROPPED),
)
"""All metrics, in the order in which they are shown."""
