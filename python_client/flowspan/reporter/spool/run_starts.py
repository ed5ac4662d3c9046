"""The starts of top-level flow runs, on disk until the service has stored them.

Events are sent in batches a few milliseconds later. A flow that ends its process before that would
leave no trace. So the calling thread writes the run's first two events to a file before it calls
the function, which takes some ten microseconds. (The first run of a process goes to the spool,
because there is no connection yet.)

The file is a regular spool with its own session, because the sequences that the events will have in
the process's session are not known yet. It has one record for each event: a creation, and the
RUNNING state of the same run. A process that finds the file without an owner reports the creation,
and the state only if the service did not know the run (see `flowspan.reporter.spool.drain`).
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
from flowspan.core.limits import SECRET_BYTES
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
"""Size at which the file is rewritten with only the most recent starts."""

MAX_YOUNG = 64
"""Number of starts that are rewritten; the older ones were reported long ago."""

_RETRY_S = 5.0


class Starts:
    """The file of starts of one process. Its methods are thread-safe and never raise.

    Args:
        config: The location of the file, and the service.
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
            created: The CREATED event of the run.
            running: The STATE event with which it begins to run.
        """
        with self._lock:
            if self._is_closed or clock.monotonic() < self._retry_at:
                return
            try:
                self._write(created, running)
            except Exception as error:  # noqa: BLE001 - a full disk or a bad event
                self._retry_at = clock.monotonic() + _RETRY_S
                logger.debug("the start of a run could not be kept: %s", error)

    def forget(self, *, if_true: Callable[[], bool]) -> None:
        """Empty the file once its events are stored elsewhere.

        Args:
            if_true: Called, while no start can be written, to check that. A start written later has
                been reported by then, so the answer covers it.
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
            secret=os.urandom(SECRET_BYTES),
        )
        return SpoolFile.create(spool_folder(self._config.home), header, suffix=STARTS_SUFFIX)
