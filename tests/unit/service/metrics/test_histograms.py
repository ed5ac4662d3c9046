"""Histograms: values in buckets, with recent spans."""

from __future__ import annotations

from flowspan_service.metrics.families import Family, FamilyType
from flowspan_service.metrics.histograms import Histogram

FAMILY = Family("flowspan.x", FamilyType.HISTOGRAM, "s", "", (), (0.1, 1.0))
TRACE, SPAN = "a" * 32, "b" * 16


def test_a_value_at_a_bound_is_below_it() -> None:
    histogram = Histogram(FAMILY)
    for value in (0.0, 0.1, 0.2, 1.0, 1.1, 50.0):
        histogram.add(value)
    values = histogram.read()
    assert values.counts == (2, 2, 2)
    assert values.total == 52.4
    assert values.exemplars == ()


def test_the_last_sampled_span_of_a_bucket_is_its_exemplar() -> None:
    histogram = Histogram(FAMILY)
    histogram.add_traced(0.5, 1, f"00-{TRACE}-{'c' * 16}-01")
    histogram.add_traced(0.6, 2, f"00-{TRACE}-{SPAN}-03")
    histogram.add_traced(0.7, 3, f"00-{TRACE}-{SPAN}-00")
    histogram.add_traced(0.8, 4, "")
    values = histogram.read()
    assert values.counts == (0, 4, 0)
    assert values.exemplars == (None, (0.6, 2, TRACE, SPAN), None)


def test_a_snapshot_does_not_change() -> None:
    histogram = Histogram(FAMILY)
    histogram.add(0.5)
    before = histogram.read()
    histogram.add(0.5)
    assert before.counts == (0, 1, 0)
