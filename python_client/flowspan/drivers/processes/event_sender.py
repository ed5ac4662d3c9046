"""Outgoing messages of a worker: the events of its runs, and its answers.

The first few events are sent at once, by the thread that emits them, so that a crash does not lose
them. When there are many, they are sent in batches.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from flowspan import clock
from flowspan.drivers.processes import pickling
from flowspan.drivers.processes import pipe_messages as messages
from flowspan.reporter import get_reporter

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from flowspan.core.events import Event

_GATHER_S = 0.005
_SENT_AT_ONCE = 20
"""Number of events that are sent at once per interval; further ones are batched."""
_MAX_WAITING = 20_000
"""Maximum number of waiting events. Beyond it, the emitting thread sends them (backpressure)."""
_MAX_BUNDLE = 2_000


class Outgoing:
    """A thread-safe, ordered channel for messages to the parent.

    Args:
        connection: The pipe.

    Attributes:
        is_forked: True in a process that a task forked from the worker. The pipe does not belong to
            it, so its events go to the service in a separate session.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._events: deque[Event] = deque()
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._left = _SENT_AT_ONCE
        """Number of events that may still be sent at once. Races may miscount it harmlessly."""
        self._flushes: dict[int, threading.Event] = {}
        self._flush_count = 0
        self.is_forked = False
        os.register_at_fork(after_in_child=self._after_fork)

    def start(self) -> None:
        """Start the thread that sends the events."""
        threading.Thread(target=self._run, name="flowspan-events", daemon=True).start()

    def emit(self, event: Event) -> None:
        """Queue or send an event; see `flowspan.core.events.Emit`."""
        if self.is_forked:
            if event[0] not in (messages.WATCH, messages.FORGET):
                get_reporter().emit(event)
            return
        self._events.append(event)
        if self._left > 0:
            self._left -= 1
            self.send_events()
        elif len(self._events) > _MAX_WAITING:
            self.send_events()
        if not self._wake.is_set():
            self._wake.set()

    def send(self, message: tuple[Any, ...], payload: bytes | None = None) -> None:
        """Send a message after all events that were emitted before it."""
        with self._lock:
            self.send_events()
            self._put(pickle.dumps(message))
            if payload is not None:
                self._put(payload)

    def send_events(self) -> None:
        """Send all queued events."""
        with self._lock:
            while self._events:
                count = min(len(self._events), _MAX_BUNDLE)
                bundle = [self._events.popleft() for _ in range(count)]
                self._put(_pickled(bundle))

    def flush(self) -> None:
        """Wait until every emitted event is acknowledged or safely spooled."""
        self._flush(None)

    def _flush(self, timeout_s: float | None) -> None:
        done = threading.Event()
        with self._lock:
            self._flush_count += 1
            number = self._flush_count
            self._flushes[number] = done
            self.send((messages.FLUSH, number))
        done.wait(timeout_s)

    def wait_stored(self, address: object, timeout_s: float | None) -> None:
        """Wait until the service has every emitted event. The parent applies its own timeout."""
        del address
        self._flush(timeout_s)

    def flushed(self, number: int) -> None:
        """Release the waiter of a flush."""
        done = self._flushes.pop(number, None)
        if done is not None:
            done.set()

    def _after_fork(self) -> None:
        self.is_forked = True

    def _run(self) -> None:
        while True:
            self._wake.wait()
            clock.sleep(_GATHER_S)
            self._wake.clear()
            self.send_events()
            self._left = _SENT_AT_ONCE

    def _put(self, data: bytes) -> None:
        try:
            self._connection.send_bytes(data)
        except OSError:  # the parent is gone
            os._exit(1)


def _pickled(events: list[Event]) -> bytes:
    try:
        return pickle.dumps((messages.EVENTS, events))
    except Exception:  # noqa: BLE001 - for example, a string of the user's own type
        return pickling.dumps((messages.EVENTS, events))
