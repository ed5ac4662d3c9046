"""The events that the service has not acknowledged yet, in memory or in the spool.

The backlog builds batches from the intake, adds them to the outbox, and spools them to disk when
the service is unreachable.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flowspan.core.limits import MAX_LOG_BYTES
from flowspan.reporter.encoding.events import MAX_LOG_FIELDS_BYTES
from flowspan.reporter.encoding.single_events import divided
from flowspan.reporter.intake import MAX_BATCH_EVENTS, MAX_WAITING_STATES, Builder, Share
from flowspan.reporter.log_division import LogDivision
from flowspan.reporter.outbox import Batch, Outbox
from flowspan.reporter.placeholders import placeholder_batch, without_event
from flowspan.reporter.spool.spool import Room, Spool
from flowspan.reporter.tally import Tally

if TYPE_CHECKING:
    from flowspan.config import Config
    from flowspan.core.events import Event
    from flowspan.reporter.frame_limit import FrameLimit
    from flowspan.reporter.intake import FlushRequest, Intake

logger = logging.getLogger("flowspan.reporter")

MAX_SENT_BYTES = 8 << 20
"""Maximum size of the sent but unacknowledged batches."""


class Backlog:
    """The outbox, its builder and its spool; owned by the reporter's thread.

    Attributes:
        outbox: The unacknowledged batches.
        spool: The on-disk storage for batches.
        flushes_asked: Number of flushes requested. Other threads increment it, under their lock.
        lost_logs: Number of dropped log records.
        lost_states: Number of dropped states.
    """

    def __init__(
        self,
        config: Config,
        session_id: str,
        intake: Intake,
        *,
        secret: bytes = b"",
        tally: Tally | None = None,
    ) -> None:
        self.outbox = Outbox()
        self.spool = Spool(config, session_id, secret=secret)
        self.flushes_asked = 0
        self.lost_logs = 0
        self.lost_states = 0
        self._intake = intake
        self._tally = tally or Tally()
        self._builder = Builder(intake, _bad_event, self._tally)
        self._flushes: list[FlushRequest] = []
        self._flushes_built = 0
        self._joins = False

    @property
    def waiting_events(self) -> int:
        """Number of events that the service has not acknowledged."""
        return self.outbox.built - self.outbox.acked + len(self._intake)

    @property
    def has_unbuilt(self) -> bool:
        """True if events are waiting to be put into batches."""
        return bool(self._builder)

    @property
    def is_flush_wanted(self) -> bool:
        """True if a caller is waiting for events that are not in a batch yet."""
        return self.flushes_asked > self._flushes_built

    @property
    def is_empty(self) -> bool:
        """True if the service has acknowledged every event."""
        return self.outbox.is_empty and not self._builder

    def is_safe(self) -> bool:
        """Return True if every reported event is stored by the service or in the spool."""
        return not self._builder and not self.outbox.not_on_disk()

    @property
    def is_crowded(self) -> bool:
        """True if enough states are queued that they should be spooled."""
        return len(self._intake.states) > MAX_WAITING_STATES // 2

    @property
    def may_build(self) -> bool:
        """True if the service can take another batch soon.

        If not, events stay in their queues, so that states can still overtake logs.
        """
        return self.outbox.next is None and self.outbox.sent_bytes < MAX_SENT_BYTES

    def whereabouts(self, *, with_reason: bool = True) -> str:
        """Return a phrase for where unacknowledged events are kept, such as "in /path."."""
        if not self.spool.problem:
            return f"in {self.spool.path}."
        how = "partly in memory" if self.spool.is_full else "in memory"
        why = f" {self.spool.problem}" if with_reason else ""
        return f"{how} only, and lost if this process ends first.{why}"

    def count_lost(self) -> int:
        """Return the number of events that are lost if the process ends now."""
        unkept = self.outbox.not_on_disk()
        return sum(batch.last - batch.first + 1 for batch in unkept) + len(self._intake)

    def build(self, share: Share | None = None) -> None:
        """Build one batch from the queued events, or from a share of them."""
        # A share goes to the spool, whose batches must suit every service.
        joins = self._joins and share is None
        batch, passed = self._builder.build(self.outbox.built, share, joins=joins)
        if batch is not None:
            self.outbox.add(batch)
        self._passed(passed)

    def build_and_keep(self) -> bool:
        """Build batches of all queued events, and spool all unacknowledged batches.

        Events that arrive during the call are left for the next one: the stream may never pause.

        Returns:
            True if all these events are on disk.
        """
        share = Share(self._intake)
        is_kept = self.spool.persist(self.outbox)
        while share.states or share.logs or self._builder.is_within_log:
            room = self.spool.room(self.outbox)
            if room is not Room.ALL:
                self._lose(share, states=room is Room.NOTHING)
            self.build(share)
            is_kept = self.spool.persist(self.outbox)
        return is_kept

    def ack(self, up_to: int) -> None:
        """Drop everything up to this sequence: the service has stored it."""
        self.outbox.ack(up_to)
        self.spool.tidy(self.outbox)

    def resume(self, after: int, *, joins: bool = False) -> None:
        """Resume the session on a new connection.

        Args:
            after: The last sequence that the service has stored.
            joins: True if the service knows the event that joins those of a short run.
        """
        self._joins = joins
        outbox = self.outbox
        outbox.rewind()
        if not joins:
            for batch in outbox:
                outbox.expand(batch)
        if after < outbox.acked:
            count = outbox.acked - after
            logger.warning(
                "the service has lost %d events of this session that it had stored: "
                "was its database replaced or restored? The following events are reported anyway.",
                count,
            )
            outbox.fill(after, _placeholders(after, count))
        self.ack(after)

    def divide_next(self, most: int) -> None:
        """Divide the next batch into ones of at most this number of events."""
        batch = self.outbox.next
        assert batch is not None  # noqa: S101 - the caller has it
        parts = divided(self.spool.load(self.outbox, batch), most)
        self.outbox.divide_next([Batch(first, last, data) for first, last, data in parts])

    def fit_logs(self, limit: FrameLimit) -> None:
        """Divide the records of logs again that are larger than a frame of the service.

        The events behind them get other sequences. The service has none of them, as its Welcome
        has just said.

        Args:
            limit: The limit of the connection that has just begun.
        """
        self._builder.limit_logs(limit.target - MAX_LOG_FIELDS_BYTES)
        if limit.largest >= MAX_LOG_BYTES + MAX_LOG_FIELDS_BYTES:
            return
        outbox = self.outbox
        if self._builder.is_within_log:
            self.build_and_keep()
        division = LogDivision(after=outbox.acked, largest=limit.largest, target=limit.target)
        for batch in outbox:
            division.look(self.spool.peek(batch))
        if not division.is_needed:
            return
        try:
            batches = self.spool.rewrite(outbox, division.divided)
        except OSError as error:
            logger.error(
                "long log records cannot be divided for the service: the spool %s cannot be "
                "written (%s)",
                *(self.spool.path, error.strerror or error),
            )
            return
        outbox.replace(batches)
        for request in self._flushes:
            if request.target is not None:
                request.target = division.moved(request.target)

    def replace(self, sequence: int) -> bool:
        """Replace an event that the service refuses to read with a placeholder."""
        batch = self.outbox.find(sequence)
        if batch is None:
            return False
        data = without_event(self.spool.load(self.outbox, batch), sequence)
        if data is None:
            return False
        self.outbox.load(batch, data)
        batch.has_short_runs = False
        return True

    def resolve_flushes(self) -> None:
        """Complete the flush requests whose events are acknowledged or spooled."""
        if not self._flushes:
            return
        waiting = []
        for request in self._flushes:
            if request.is_overtaken_by(self.outbox.acked):
                request.is_acked = request.is_spooled = True
                request.done.set()
            elif request.to_spool:
                request.is_spooled = self.keep_for_good()
                request.done.set()
            else:
                waiting.append(request)
        self._flushes = waiting

    def keep_for_good(self) -> bool:
        """Write all unacknowledged events to the spool, and sync the spool to disk.

        Returns:
            True if all of it succeeded.
        """
        is_kept = self.build_and_keep()
        self.spool.sync()
        return is_kept

    def _lose(self, share: Share, *, states: bool) -> None:
        share.logs = 0
        count, passed = self._builder.discard_logs(self.outbox.built)
        self._passed(passed)
        if count and not self.lost_logs:
            logger.warning(
                "there is no room left for logs, neither in the spool "
                "(FLOWSPAN_SPOOL_MAX_BYTES is %d) nor in memory: they are dropped until the "
                "service answers. %s",
                *(self.spool.limit_bytes, self.spool.problem or "Start it."),
            )
        self.lost_logs += count
        self._tally.lost_logs += count
        if states:
            share.states = 0
            count, passed = self._builder.discard_states(self.outbox.built)
            self._passed(passed)
            if count and not self.lost_states:
                logger.error(
                    "there is no room left for states of runs, neither in the spool nor in "
                    "memory: they are dropped until the service answers. %s",
                    self.spool.problem or "Start it.",
                )
            self.lost_states += count
            self._tally.lost_states += count

    def _passed(self, requests: list[FlushRequest]) -> None:
        self._flushes_built += len(requests)
        self._flushes += requests


def _placeholders(after: int, count: int) -> list[Batch]:
    batches = []
    end = after + count
    while after < end:
        size = min(MAX_BATCH_EVENTS, end - after)
        batches.append(Batch(after + 1, after + size, placeholder_batch(after + 1, size)))
        after += size
    return batches


def _bad_event(event: Event, error: Exception) -> None:
    logger.error("an event could not be encoded and is dropped: %.200r (%r)", event, error)
