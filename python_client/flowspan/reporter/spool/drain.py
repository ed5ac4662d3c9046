"""The delivery of one spool to the service, in the session that wrote it."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.connection.address import explain
from flowspan.core.limits import MAX_LOG_BYTES
from flowspan.exceptions import ServiceUnavailableError
from flowspan.reporter.encoding.events import GOODBYE_FRAME, MAX_LOG_FIELDS_BYTES
from flowspan.reporter.encoding.single_events import divided
from flowspan.reporter.frame_limit import FrameLimit
from flowspan.reporter.intake import MAX_BATCH_EVENTS
from flowspan.reporter.log_division import LogDivision
from flowspan.reporter.outbox import Batch
from flowspan.reporter.placeholders import placeholder_batch, without_event
from flowspan.reporter.spool.format import Damage, Losses
from flowspan.reporter.transport.connector import ACCESS_REASONS, explain_refusal
from flowspan.reporter.transport.session import open_session, read_response
from flowspan.reporter.transport.stream import LinkClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flowspan.connection.address import Address
    from flowspan.reporter.spool.file import SpoolFile
    from flowspan.reporter.transport.protocol import ReportTransport
    from flowspan.reporter.transport.session import WelcomeInfo

logger = logging.getLogger("flowspan.reporter")

_MAX_SENT_BYTES = 4 << 20
_ANSWER_TIMEOUT_S = 20.0
_GOODBYE_TIMEOUT_S = 5.0
_MAX_REFUSALS = 100
_MAX_GAP_EVENTS = 100_000_000
"""Maximum number of placeholders to send; a larger gap means that a sequence is damaged."""

_RUN_IS_KNOWN = "creation_agrees"
"""The rule in the service's answer to the creation of a run that already exists."""
_PENDING = 2

_OF_THE_SESSION = frozenset(
    {
        *("INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "ABORTED"),
        *("FAILED_PRECONDITION", "OUT_OF_RANGE", "UNAUTHENTICATED"),
    }
)
"""Status codes with which a healthy service refuses this session, but might accept others."""


@dataclass(slots=True, kw_only=True)
class PushResult:
    """The outcome for one spool.

    Attributes:
        path: The path of the spool, even if the file was deleted.
        session_id: The session that wrote it.
        events: Number of its events that the service has stored in this push.
        missing_events: Number of its events that are lost, because the spool was damaged or the
            service refused them. A lower bound if the damage hides the exact number.
        is_done: True if the service has stored all of it and the file was deleted.
        damaged_path: The new path of a damaged file whose readable part was sent.
        problem: The reason why an attempt to send it did not deliver everything; empty otherwise.
        left: The reason why it was not attempted, and how to send it; empty if it was attempted.
    """

    path: Path
    session_id: str = ""
    events: int = 0
    missing_events: int = 0
    is_done: bool = False
    damaged_path: Path | None = None
    problem: str = ""
    left: str = ""


class Drain:
    """The delivery of one spool to the service.

    Args:
        spool: The spool, owned by this process.
        address: The address of the service.
        result: The outcome, updated during the run.
        progress: Called with the result after each acknowledgement.
    """

    def __init__(
        self,
        spool: SpoolFile,
        address: Address,
        result: PushResult,
        progress: Callable[[PushResult], None],
    ) -> None:
        self._spool = spool
        self._address = address
        self._result = result
        self._progress = progress
        self._refused: set[int] = set()
        self._limit = FrameLimit(self._refused.add)
        self._may_run = 0
        """In a file of starts: the sequence of the only RUNNING event that may be sent next."""
        self._acked = 0
        self._sent = 0
        self._taken_before: int | None = None
        self._losses = Losses(0)
        self._placeholders: deque[tuple[int, int]] = deque()
        self._is_damaged = not spool.is_whole

    def run(self) -> None:
        """Send all readable events, then delete the spool, or set it aside if it was damaged.

        Raises:
            FlowspanError: The service is unreachable.
            OSError: The spool cannot be read.
        """
        if self._spool.has_starts and next(self._spool.entries(), None) is None:
            self._finish()
            return
        refusals = 0
        while True:
            link, welcome = self._open_session()
            if link is None or welcome is None:
                return
            try:
                self._send_all(link, welcome)
                break
            except LinkClosedError as error:
                refusals += 1
                if refusals > _MAX_REFUSALS or not self._can_avoid(error):
                    self._result.problem = str(error)
                    return
            finally:
                link.close()
        self._finish()

    def _can_avoid(self, error: LinkClosedError) -> bool:
        """Return True if the next attempt does not send what the service has refused."""
        if error.is_about_size:
            return self._limit.learn()
        if error.sequence is None:
            return False
        logger.error("the service refused an event of %s: %s", self._spool.path, error)
        self._refused.add(error.sequence)
        return True

    def _open_session(self) -> tuple[ReportTransport, WelcomeInfo] | tuple[None, None]:
        header = self._spool.header
        try:
            return open_session(
                self._address,
                header.session_id,
                header.client,
                secret=header.secret,
                recovering=True,
            )
        except LinkClosedError as error:
            if error.status not in _OF_THE_SESSION or error.reason in ACCESS_REASONS:
                raise explain_refusal(self._address, error) from error
            self._result.problem = f"the service at {self._address} refused its session: {error}"
            return None, None
        except OSError as error:
            raise ServiceUnavailableError(explain(self._address, error)) from error

    def _finish(self) -> None:
        """Delete the spool once its readable part was sent, or set it aside if damaged."""
        result, losses = self._result, self._losses
        result.missing_events = losses.events + len(self._refused)
        if not (self._is_damaged or result.missing_events):
            try:
                self._spool.delete()
            except OSError as error:
                reason = error.strerror or error
                result.problem = f"all its events were sent, but it cannot be deleted ({reason})"
                return
            result.is_done = True
            return
        problems = []
        if self._is_damaged or losses.events:
            what = missing_phrase(losses.events, is_exact=losses.is_exact)
            problems.append(f"it was damaged: {what}")
        if self._refused:
            problems.append(f"the service refused {len(self._refused)} of its events")
        result.problem = "; ".join(problems)
        try:
            result.damaged_path = self._spool.set_aside()
        except OSError as error:
            result.problem += f"; and it cannot be renamed ({error.strerror or error})"

    def _send_all(self, link: ReportTransport, welcome: WelcomeInfo) -> None:
        self._acked = self._sent = welcome.resume_after
        self._limit.connected(welcome.max_frame_bytes)
        if self._taken_before is None:
            self._taken_before = welcome.resume_after
        self._fit_logs()
        window = welcome.max_unacked_events
        in_flight = 0
        for last, data in self._parts(window):
            self._send(link, data, last)
            in_flight += len(data)
            while self._acked < self._sent and (
                self._spool.has_starts
                or in_flight >= _MAX_SENT_BYTES
                or self._sent - self._acked + min(MAX_BATCH_EVENTS, window) > window
            ):
                self._read(link)
                if self._acked >= self._sent:
                    in_flight = 0
        while self._acked < self._sent:
            self._read(link)
        link.send(GOODBYE_FRAME)
        link.half_close()
        deadline = clock.monotonic() + _GOODBYE_TIMEOUT_S
        try:
            while clock.monotonic() < deadline:
                link.wait(_GOODBYE_TIMEOUT_S)
        except LinkClosedError as error:
            if error.status != "OK":
                raise

    def _fit_logs(self) -> None:
        """Divide the records of logs that are larger than a frame, if the spool is not damaged."""
        limit = self._limit
        if limit.largest >= MAX_LOG_BYTES + MAX_LOG_FIELDS_BYTES or self._spool.has_starts:
            return
        division = LogDivision(after=self._acked, largest=limit.largest, target=limit.target)
        for entry in self._spool.entries():
            if isinstance(entry, Damage):
                return
            division.look(entry[1])
        if not division.is_needed:
            return

        def fill(new: SpoolFile) -> None:
            for record, data in self._spool.records():
                made = division.divided(Batch(record.first, record.last, data), data)
                assert made.data is not None  # noqa: S101 - it was just made
                new.append(made.first, made.last - made.first + 1, made.data)

        self._spool.rewrite(self._spool.header.first_sequence, fill)
        refused = [division.moved(sequence) for sequence in self._refused]
        self._refused.clear()
        self._refused.update(refused)

    def _send(self, link: ReportTransport, data: bytes, last: int) -> None:
        for frame in self._limit.frames(data, last):
            link.send(frame)
        self._sent = last

    def _parts(self, window: int) -> Iterator[tuple[int, bytes]]:
        """Yield the last sequence and the bytes of the unsent batches, divided for the window."""
        for first, count, data in self._batches():
            last = first + count - 1
            if last <= self._sent:
                continue
            if count <= window:
                yield last, data
                continue
            for _, part_last, part in divided(data, window):
                if part_last > self._sent:
                    yield part_last, part

    def _batches(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield the batches, with placeholders for missing and refused events."""
        following = self._acked + 1
        self._placeholders.clear()
        # Events before the spool's first one are not missing from it; the service has lost them.
        losses = Losses(self._spool.header.first_sequence, after=self._taken_before)
        self._losses = losses
        for entry in self._spool.entries():
            if isinstance(entry, Damage):
                self._is_damaged = True
                losses.damage(entry)
                continue
            record, data = entry
            losses.record(record)
            if record.first - following > _MAX_GAP_EVENTS:
                raise LinkClosedError(
                    "DATA_LOSS", f"{record.first - following} events are missing before {record}"
                )
            for sequence in self._refused:
                if record.first <= sequence <= record.last:
                    data = without_event(data, sequence) or data
            if self._spool.has_starts and not self._is_told(record.first):
                data = placeholder_batch(record.first, record.events)
            while following < record.first:
                size = min(MAX_BATCH_EVENTS, record.first - following)
                self._placeholders.append((following, following + size - 1))
                yield following, size, placeholder_batch(following, size)
                following += size
            yield record.first, record.events, data
            following = max(following, record.last + 1)
        losses.end()

    def _is_told(self, sequence: int) -> bool:
        """Return True if an event of a file of starts should be reported.

        Creations always are, and each is answered before the next event is considered. A RUNNING
        state is reported only if the answer to its creation shows that the run has not advanced.
        Otherwise it could revive a run that was marked Crashed in the meantime.
        """
        if sequence % 2:
            self._may_run = sequence + 1 if sequence > self._sent else 0
            return True
        return sequence == self._may_run

    def _read(self, link: ReportTransport) -> None:
        messages = link.wait(_ANSWER_TIMEOUT_S)
        if not messages:
            raise LinkClosedError("DEADLINE_EXCEEDED", f"no ack within {_ANSWER_TIMEOUT_S:g} s")
        for message in messages:
            response = read_response(message)
            if response.WhichOneof("frame") != "ack":
                continue
            if any(
                verdict.sequence == self._may_run - 1
                and verdict.rule == _RUN_IS_KNOWN
                and verdict.current_state.type != _PENDING
                for verdict in response.ack.verdicts
            ):
                self._may_run = 0
            self._limit.acked(response.ack.up_to_sequence)
            if response.ack.up_to_sequence > self._acked:
                self._take_ack(response.ack.up_to_sequence)

    def _take_ack(self, up_to: int) -> None:
        count = up_to - self._acked
        while self._placeholders and self._placeholders[0][0] <= up_to:
            first, last = self._placeholders.popleft()
            count -= min(up_to, last) - max(self._acked + 1, first) + 1
            if last > up_to:
                self._placeholders.appendleft((up_to + 1, last))
                break
        count -= sum(1 for sequence in self._refused if self._acked < sequence <= up_to)
        self._acked = up_to
        self._result.events += count
        self._progress(self._result)


def missing_phrase(events: int, *, is_exact: bool) -> str:
    """Return a phrase such as "3 events are missing"."""
    if is_exact and not events:
        return "nothing is missing"
    if not events:
        return "events are missing, but their number is unknown"
    verb = "event is" if events == 1 else "events are"
    return f"{'' if is_exact else 'at least '}{events} {verb} missing"
