"""The exporter of log records, for clients without an OpenTelemetry SDK.

Each record is exported at least once, whichever service process dies: it waits in a table, into
which it came with its own transaction, until a receiver has accepted it. One process at a time
exports (see `loop_claims`). Each receiver has a thread of its own while records wait for it, so
that a slow or dead one holds up no other. Nothing that waits is kept in memory.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import structlog

from flowspan_service.app.log_exports import ForgetExported
from flowspan_service.loops.loop_claims import HeldClaim, holder_name
from flowspan_service.loops.otlp_connections import suppress_instrumentation
from flowspan_service.loops.receiver_failures import Failures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flowspan_service.app.ports import Clock, Heads, Store
    from flowspan_service.domain.otlp_receivers import Receiver, Receivers
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import SpanSource
    from flowspan_service.loops.otlp_connections import Connection

log = structlog.get_logger("flowspan.logs")

LOOP = "logs"
"""The name of the claim."""
GATHER_S = 0.2
"""The time for which new records wait for others."""
LOOK_INTERVAL_S = 3.0
"""The interval between looks at what waits, and between renewals of the claim."""
LEASE_S = 30.0
CLOSE_TIMEOUT_S = 2.0
PAGE = 500
PAGE_BYTES = 1_000_000
"""The size after which a request ends: receivers refuse requests above 4 MiB."""
MAX_SESSIONS = 1_000
"""The maximum number of sessions that one look considers."""
MAX_LANES = 200
"""The maximum number of receivers for which records wait."""
MAX_BUSY = 16
"""The maximum number of receivers that are sent to at a time."""
_LAST = (1 << 63) - 1


class _Lane:
    """The export to one receiver: a thread while records wait, and pauses after failures."""

    def __init__(self, exporter: LogExporter, receiver: Receiver, connection: Connection) -> None:
        self.receiver = receiver
        self.connection = connection
        self.is_busy = False
        self._exporter = exporter
        self._failures = Failures(receiver)

    @property
    def is_due(self) -> bool:
        """True unless a thread is at work or pauses after a failure."""
        return not self.is_busy and not self._failures.pause_us(_monotonic_us())

    @property
    def is_hopeless(self) -> bool:
        """True if the receiver is given up."""
        return not self.is_busy and self._failures.is_hopeless(_monotonic_us())

    def start(self, sources: Mapping[str, SpanSource | None]) -> None:
        """Export what waits of these sessions, in a thread."""
        self.is_busy = True
        work = threading.Thread(target=self._run, args=(sources,), name="logs-sender", daemon=True)
        work.start()

    def _run(self, sources: Mapping[str, SpanSource | None]) -> None:
        try:
            suppress_instrumentation()
            for session_id, source in sources.items():
                while self._exporter.may_send and self._send(session_id, source):
                    self._succeed()
        except Exception as error:  # noqa: BLE001 - it is logged, and tried again
            self._fail(error)
        finally:
            self.is_busy = False
            self._exporter.wake()

    def _send(self, session_id: str, source: SpanSource | None) -> bool:
        """Send the first records of a session; return False if none waits."""
        made = self._exporter.request_of(session_id, source)
        if made is None:
            return False
        request, upto = made
        if request:
            from flowspan_service.loops.log_requests import refused_records  # noqa: PLC0415 - below

            response = self.connection.send(request)
            refused, reason = refused_records(response) if response else (0, "")
            if refused:
                log.warning(
                    "logs_refused", receiver=self.receiver.shown, count=refused, reason=reason
                )
        self._exporter.forget(session_id, upto)
        return True

    def _succeed(self) -> None:
        if self._failures.end():
            log.info("logs_exported_again", receiver=self.receiver.shown)

    def _fail(self, error: Exception) -> None:
        if not self._exporter.may_send:
            return
        if self._failures.add(_monotonic_us()):
            hint = self.receiver.hint
            log.warning(
                "logs_wait",
                receiver=self.receiver.shown,
                reason=f"they cannot be exported; the export is retried: {error}",
                **({"hint": hint} if hint else {}),
            )


class LogExporter:
    """A commit listener with a thread that starts exports.

    Args:
        store: The store.
        clock: The time.
        receivers: Decides where the logs of a session go.
        connect: Returns a connection to a receiver.
        gather_s: The time for which new records wait for others.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        receivers: Receivers,
        connect: Callable[[Receiver], Connection],
        gather_s: float = GATHER_S,
    ) -> None:
        self._store = store
        self._clock = clock
        self._receivers = receivers
        self._connect = connect
        self._gather_s = gather_s
        holder = holder_name(process_id=os.getpid(), is_shared=store.is_shared)
        self._claim = HeldClaim(store, LOOP, holder=holder, lease_s=LEASE_S)
        self._holds_claim = False
        self._after: str | None = None
        """The session after which the next look continues; None for the first."""
        self._lanes: dict[Receiver, _Lane] = {}
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def start(self) -> None:
        """Listen to the store, and export the records that earlier processes left."""
        self._store.on_commit(self)
        self._thread.start()

    def close(self) -> None:
        """End the exporter within two seconds. The next process exports what still waits."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S / 2)
        for lane in list(self._lanes.values()):
            lane.connection.close()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S / 2)

    def __call__(self, *, log_position: int, before: Heads, **_: object) -> None:
        """Note a commit with log records; called in the thread of the writer."""
        if log_position != before.log_position:
            self._wake.set()

    def wake(self) -> None:
        """Look for records soon."""
        self._wake.set()

    @property
    def may_send(self) -> bool:
        """True while this process holds the claim and does not stop."""
        return self._holds_claim and not self._stop.is_set()

    # The thread

    def _run(self) -> None:
        is_idle = False
        self._wake.set()  # for what earlier processes left
        while not self._stop.is_set():
            # Alone on its database, an idle process is woken by each commit that it should see.
            is_asleep = is_idle and not self._store.is_shared
            self._wake.wait(None if is_asleep else LOOK_INTERVAL_S)
            self._stop.wait(self._gather_s)
            self._wake.clear()
            if self._stop.is_set():
                return
            try:
                is_idle = self._look()
            except Exception:
                is_idle = False
                if not self._stop.is_set():
                    log.warning("logs_not_looked_for", exc_info=True)

    def _look(self) -> bool:
        """Start the exports that are due; return True if nothing waits and none is at work."""
        after, self._after = self._after, None
        sessions = self._store.log_exports.sessions(after_id=after, limit=MAX_SESSIONS)
        if len(sessions) == MAX_SESSIONS:  # a receiver that is away may have many
            self._after = sessions[-1]
            self._wake.set()
        if not sessions and after is not None:
            self._wake.set()
        elif not sessions:
            self._settle()
            return not self._holds_claim
        if not sessions or not self._keep_claim():
            return False
        sources = self._store.sessions.span_sources(sessions)
        groups: dict[Receiver, dict[str, SpanSource | None]] = {}
        for session_id in sessions:
            source = sources.get(session_id)
            receiver = self._receivers.of(source)
            if receiver is None:
                self.forget(session_id, _LAST)
            else:
                groups.setdefault(receiver, {})[session_id] = source
        for receiver, group in groups.items():
            self._serve(receiver, group)
        if after is None and self._after is None:
            self._drop_lanes(groups)
        return False

    def _settle(self) -> None:
        """Release the claim once no export is at work."""
        if self._holds_claim and not any(lane.is_busy for lane in self._lanes.values()):
            self._holds_claim = False
            self._claim.move(None, keep=False)
            self._drop_lanes({})

    def _keep_claim(self) -> bool:
        if self._holds_claim:
            self._holds_claim = self._claim.move(None, keep=True)
        if not self._holds_claim:
            self._holds_claim = self._claim.take(begin_at=0) is not None
        return self._holds_claim

    def _serve(self, receiver: Receiver, group: Mapping[str, SpanSource | None]) -> None:
        lane = self._lanes.get(receiver)
        if lane is None:
            if len(self._lanes) >= MAX_LANES:
                return  # later: lanes without records are dropped
            lane = self._lanes[receiver] = _Lane(self, receiver, self._connect(receiver))
        if lane.is_hopeless:
            log.warning("logs_given_up", receiver=receiver.shown, sessions=len(group))
            for session_id in group:
                self.forget(session_id, _LAST)
        elif lane.is_due and sum(each.is_busy for each in self._lanes.values()) < MAX_BUSY:
            lane.start(group)

    def _drop_lanes(self, wanted: Mapping[Receiver, object]) -> None:
        for receiver, lane in list(self._lanes.items()):
            if receiver not in wanted and not lane.is_busy:
                del self._lanes[receiver]
                lane.connection.close()

    # For the lanes

    def request_of(self, session_id: str, source: SpanSource | None) -> tuple[bytes, int] | None:
        """Return a request with the first records of a session, and the position of the last one.

        Returns:
            None if nothing waits. The request is empty if all records are of deleted runs.
        """
        waiting = self._store.log_exports.waiting(session_id, limit=PAGE, limit_bytes=PAGE_BYTES)
        if not waiting.upto:
            return None
        if not waiting.items:
            return b"", waiting.upto
        # The messages of OpenTelemetry are slow to import and seldom needed.
        from flowspan_service.loops.log_requests import log_request  # noqa: PLC0415 - start-up cost

        runs = self._runs_of([entry.run_id for entry in waiting.items])
        return log_request(waiting.items, runs, source, self._clock.now_us()), waiting.upto

    def _runs_of(self, run_ids: Sequence[str]) -> dict[str, Run]:
        """Return runs and the flow runs that they belong to, by id."""
        runs = {run.id: run for run in self._store.runs.load(sorted(set(run_ids)))}
        around = {run.flow_run_id for run in runs.values() if run.flow_run_id is not None}
        missing = sorted(around - runs.keys())
        if missing:
            runs.update({run.id: run for run in self._store.runs.load(missing)})
        return runs

    def forget(self, session_id: str, upto: int) -> None:
        """Note that records of a session were exported, or never will be."""
        self._store.submit(ForgetExported(session_id, upto=upto)).result()


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1000
