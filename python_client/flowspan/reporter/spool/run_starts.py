"""Keeps the starts of top-level flow runs on disk until the service has them.

What is reported goes out a few milliseconds later, with what comes meanwhile: a flow that ends its
process before that would leave no trace. So its first two events are written to a file before its
function is called, by the calling thread, in some ten microseconds. (The first run of a process is
kept in the spool: there is no connection yet.)

The file is a spool like others, with a session of its own, as nobody knows yet which sequences the
events will have in the session of the process. It has a record for each event: a creation, and the
state RUNNING of the same run. Whoever finds it without its owner reports the creation, and the
state only where the service did not know the run (see `flowspan.reporter.spool.drain`).
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections import deque
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.connection.client_identity import client_info
from flowspan.private_files import own_home
from flowspan.reporter.encoding.events import Encoder, batch_bytes
from flowspan.reporter.spool.file import STARTS_SUFFIX, SpoolFile
from flowspan.reporter.spool.format import SpoolHeader
from flowspan.reporter.spool.spool import spool_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.config import Config
    from flowspan.core.events import Event

logger = logging.getLogger("flowspan.reporter")

MAX_FILE_BYTES = 1 << 20
"""From this size on, the file begins anew with the youngest starts."""

MAX_YOUNG = 64
"""How many starts are written again then: the others were reported long ago."""

_RETRY_S = 5.0
_SECRET_BYTES = 16


class Starts:
    """The file of one process. Its methods may be called by any thread, and never raise.

    Args:
        config: Says where it is, and for which service.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._encoder = Encoder()
        self._file: SpoolFile | None = None
        self._young: deque[tuple[Event, Event]] = deque(maxlen=MAX_YOUNG)
        self._next = 1
        self._retry_at = 0.0
        self._is_closed = False

    def keep(self, created: Event, running: Event) -> None:
        """Write the start of a run to the file.

        Args:
            created: Its CREATED event.
            running: The STATE event with which it begins to run.
        """
        with self._lock:
            if self._is_closed or clock.monotonic() < self._retry_at:
                return
            try:
                self._write(created, running)
            except Exception as error:  # noqa: BLE001 - a full disk, or a bad event
                self._retry_at = clock.monotonic() + _RETRY_S
                logger.debug("the start of a run could not be kept: %s", error)

    def forget(self, *, if_true: Callable[[], bool]) -> None:
        """Empty the file once what it keeps is in other hands.

        Args:
            if_true: Asked whether that is so; meanwhile no start is written. One that is written
                later has been reported by then, so the answer covers it.
        """
        if self._next == 1:
            return
        with self._lock:
            if if_true():
                self._begin_anew()
                self._young.clear()

    def close(self) -> None:
        """Remove the file."""
        with self._lock:
            self._is_closed = True
            file, self._file = self._file, None
            if file is None:
                return
            try:
                file.delete()
            except OSError as error:
                logger.debug("the file %s could not be removed: %s", file.path, error)

    def _write(self, created: Event, running: Event) -> None:
        if self._file is None:
            self._file = self._create()
        elif self._file.size >= MAX_FILE_BYTES:
            self._begin_anew()
            for young in self._young:
                self._append(self._file, *young)
        self._young.append((created, running))
        self._append(self._file, created, running)

    def _append(self, file: SpoolFile, created: Event, running: Event) -> None:
        for item in (self._encoder.created(created), self._encoder.state(running)):
            file.append(self._next, 1, batch_bytes(self._next, [item]))
            self._next += 1

    def _begin_anew(self) -> None:
        if self._file is not None:
            try:
                self._file.empty()
            except OSError as error:
                logger.debug("the file %s could not be emptied: %s", self._file.path, error)
                return
        self._next = 1

    def _create(self) -> SpoolFile:
        own_home(self._config.home)
        header = SpoolHeader(
            str(uuid.uuid4()),
            self._config.address or "",
            client_info(),
            first_sequence=1,
            secret=os.urandom(_SECRET_BYTES),
        )
        return SpoolFile.create(spool_folder(self._config.home), header, suffix=STARTS_SUFFIX)
