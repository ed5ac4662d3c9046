"""Counts of transactions."""

from __future__ import annotations

import pytest

from flowspan_service.app.ports import Written
from flowspan_service.metrics import families
from flowspan_service.metrics.writes import Writes


def test_each_transaction_counts_once_in_every_histogram() -> None:
    writes = Writes()
    writes(Written(0, took_s=0.02, waited_s=0.001, operation_count=3, transition_count=300))
    writes(Written(0, took_s=0.4, waited_s=0.0, operation_count=1, transition_count=0))
    totals = {}
    for figure in writes.figures():
        (point,) = figure.points
        assert sum(point.distribution.counts) == 2
        totals[figure.family] = point.distribution.total
    assert totals == {
        families.COMMIT_DURATION: pytest.approx(0.42),
        families.COMMIT_WAIT: pytest.approx(0.001),
        families.COMMIT_OPERATIONS: 4,
        families.COMMIT_TRANSITIONS: 300,
    }
