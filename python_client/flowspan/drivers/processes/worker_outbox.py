"""What a worker sends to its parent: the events of its runs, and its answers.

A few events are sent at once, by the thread that made them, so that those before a crash are not
lost with the process. Where there are many, they are sent in bundles.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from flowspan import clock
from flowspan.drivers.processes import channel as messages
from flowspan.drivers.processes import pickling
from flowspan.reporter import get_reporter

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from flowspan.core.events import Event

_GATHER_S = 0.005
_SENT_AT_ONCE = 20
"""How many events are sent at once in that time, before the others are gathered."""
_MAX_WAITING = 20_000
"""How many events wait; who makes more of them sends them before it goes on."""
_MAX_BUNDLE = 2_000


class Outgoing:
    """Sends messages to the parent, in their order. May be used from any thread.

    Args:
        connection: The pipe.

    Attributes:
        is_forked: Whether this is a process that a task forked from the worker. The pipe is not
            its own: what it reports goes to the service in a session of its own.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._events: deque[Event] = deque()
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._left = _SENT_AT_ONCE
        """How many more are sent at once. Threads may miscount it; no harm is done."""
        self._flushes: dict[int, threading.Event] = {}
        self._flush_count = 0
        self.is_forked = False
        os.register_at_fork(after_in_child=self._after_fork)

    def start(self) -> None:
        """Starts the thread that sends the events."""
        threading.Thread(target=self._run, name="flowspan-events", daemon=True).start()

    def emit(self, event: Event) -> None:
        """Takes an event; see `flowspan.core.events.Emit`."""
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
        """Sends a message, after the events that were emitted before it."""
        with self._lock:
            self.send_events()
            self._put(pickle.dumps(message))
            if payload is not None:
                self._put(payload)

    def send_events(self) -> None:
        """Sends what was emitted."""
        with self._lock:
            while self._events:
                count = min(len(self._events), _MAX_BUNDLE)
                bundle = [self._events.popleft() for _ in range(count)]
                self._put(_pickled(bundle))

    def flush(self) -> None:
        """Returns once all that was emitted is acked or safely spooled."""
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
        """Wait until the service has all that was emitted; the parent knows for how long."""
        del address
        self._flush(timeout_s)

    def flushed(self, number: int) -> None:
        """The parent has flushed."""
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
    except Exception:  # noqa: BLE001 - a text of a type of the user's own, for example
        return pickling.dumps((messages.EVENTS, events))
