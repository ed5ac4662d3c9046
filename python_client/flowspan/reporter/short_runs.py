"""Task runs that begin and end within one batch, reported as one event instead of three.

Such a run is most of all traffic, and the service spends less time on one event
(flowspan.v1.RunCompleted). It takes the place of the creation, so the end of the run moves in front
of the events in between. The order of two events matters only if one of them depends on the other.
A run therefore stays in three events if one in between is about it (an artifact, another state), or
if it called another run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.reporter.placeholders import placeholder_items

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.events import Event
    from flowspan.reporter.encoding.events import Encoder

CAPABILITY = "run_completed.v1"
"""The capability of services that know the event."""

_RUNNING = 3
_RUNNING_NAME = "Running"
_COMPLETED = 6
"""The first of the types of terminal states."""
_RUNNING_BYTES = 96
"""The approximate size of a RUNNING event."""

_Started = tuple[int, int, "Event"]
"""The places of a run's creation and of its RUNNING event, and that event."""


class ShortRuns:
    """The encoder of the states of one batch that joins the events of short runs.

    An item is the encoded event of one sequence. The item of a joined run takes three sequences, so
    two others become empty. The caller appends each returned item to the list.

    Args:
        encoder: The encoder of single events.
        items: The items of the batch.
        on_bad_event: Called with a RUNNING event that cannot be encoded, and the error.

    Attributes:
        grown: The size of what the last call added to other items, in bytes, if it returned an
            empty item.
        has_joined: True if the batch has a joined run.
    """

    __slots__ = ("_encoder", "_items", "_on_bad_event", "_open", "grown", "has_joined")

    def __init__(
        self,
        encoder: Encoder,
        items: list[bytes],
        on_bad_event: Callable[[Event, Exception], None],
    ) -> None:
        self.grown = 0
        self.has_joined = False
        self._encoder = encoder
        self._items = items
        self._on_bad_event = on_bad_event
        self._open: dict[str, int | _Started] = {}

    def created(self, event: Event) -> bytes:
        """Return the item of a CREATED event."""
        item = self._encoder.created(event)
        run, runs = event[1], self._open
        if run.parent_run_id in runs:
            self.leave(run.parent_run_id)
        if not run.is_flow:
            if run.id in runs:
                self.leave(run.id)
            runs[run.id] = len(self._items)
        return item

    def state(self, event: Event) -> bytes:
        """Return the item of a STATE event; empty if it is, or may become, part of another one."""
        run_id = event[1]
        found = self._open.get(run_id)
        if found is None:
            return self._encoder.state(event)
        _, _, attempt, state_type, name, message, _, detail, scheduled_ns = event
        if attempt == 1 and scheduled_ns is None:
            if not isinstance(found, int):
                if state_type >= _COMPLETED:
                    return self._join(run_id, found, event)
            elif state_type == _RUNNING and name == _RUNNING_NAME and not (message or detail):
                self._open[run_id] = (found, len(self._items), event)
                self.grown = _RUNNING_BYTES
                return b""
        self.leave(run_id)
        return self._encoder.state(event)

    def leave(self, run_id: str) -> None:
        """Leave the events of a run as they are; no-op if it is not a candidate."""
        found = self._open.pop(run_id, None)
        if isinstance(found, tuple):
            _, place, running = found
            try:
                self._items[place] = self._encoder.state(running)
            except Exception as error:  # noqa: BLE001 - a bad event must not stop the reporter
                self._items[place] = placeholder_items(1)  # its sequence is taken
                self._on_bad_event(running, error)

    def finish(self) -> None:
        """Complete the items of the runs that did not end."""
        for run_id in list(self._open):
            self.leave(run_id)

    def _join(self, run_id: str, started: _Started, ended: Event) -> bytes:
        place, _, running = started
        created = self._items[place]
        item = self._encoder.completed(created, running[6], ended)
        del self._open[run_id]
        self._items[place] = item
        self.grown = len(item) - len(created) - _RUNNING_BYTES
        self.has_joined = True
        return b""
