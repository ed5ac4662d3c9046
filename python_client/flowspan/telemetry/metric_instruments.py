"""The client's metrics through the meter provider of the program."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.metrics import Observation, get_meter

from flowspan.after_fork import renew_after_fork
from flowspan.telemetry import metric_families as families
from flowspan.telemetry.metric_counts import KINDS, RunCounts
from flowspan.telemetry.metric_records import SCOPE_NAME, values_of
from flowspan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.metrics import CallbackOptions

    from flowspan.core.events import Event
    from flowspan.telemetry.metric_choice import ReportFigures
    from flowspan.telemetry.metric_families import Family

_NO_SPAN = Context()
"""The reporter's thread has no span, and looking for one takes time."""
_ATTRIBUTES = {is_flow: {"kind": kind} for is_flow, kind in KINDS.items()}


class ProviderMeter:
    """Counts the runs of this process, in instruments of the program's meter provider.

    Args:
        figures: The figures of the reporter.

    Attributes:
        observe: Counts events, in the reporter's thread.
    """

    def __init__(self, figures: ReportFigures) -> None:
        self._figures = figures
        meter = get_meter(SCOPE_NAME, __version__)
        family = families.RUN_DURATION
        duration = meter.create_histogram(
            family.name,
            unit=family.unit,
            description=family.help,
            explicit_bucket_boundaries_advisory=family.bounds,
        )
        self._record = duration.record
        self._counts = RunCounts(self._note_duration)
        self.observe: Callable[[Sequence[Event]], object] = self._counts.note
        for each in families.FAMILIES:
            if each.type == families.HISTOGRAM:
                continue
            create = (
                meter.create_observable_counter
                if each.type == families.COUNTER
                else meter.create_observable_gauge
            )
            create(each.name, [self._callback(each)], unit=each.unit, description=each.help)
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Begin anew in the child: the parent exports its own counts."""
        self._counts.reset()

    def shutdown(self) -> None:
        """Do nothing: the provider exports at the end of the process."""

    def close(self) -> None:
        """Do nothing, as above."""

    def _note_duration(self, seconds: float, is_flow: bool) -> None:  # noqa: FBT001 - a callback
        with contextlib.suppress(Exception):  # the provider is the program's own
            self._record(seconds, _ATTRIBUTES[is_flow], _NO_SPAN)

    def _callback(self, family: Family) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            for each, points in values_of(self._counts, self._figures):
                if each is family:
                    return [Observation(value, attributes) for attributes, value in points]
            return []

        return observe
