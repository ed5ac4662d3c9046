"""Effect of small events about large runs and artifacts on the writer and on other sessions.

`python -m benchmarks.large_runs [--db postgresql]`: a session reports 200 events, each about
another run or artifact with 1 MiB that is not in the writer's cache. Meanwhile another session
reports single events. Printed for each kind: the time for the 200 events, the longest
transaction, the longest wait of the other session, and the growth of the process's memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import threading
import time
import uuid
from typing import TYPE_CHECKING

from tests.support.memory import forget_peak, peak_mib

from benchmarks.databases import databases
from flowspan.api.ids import new_id
from flowspan_service.app.event_records import NotUnderstood, ReportedEvent
from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.sessions import OpenSession
from flowspan_service.domain.artifacts import ArtifactChange, NewArtifact
from flowspan_service.domain.logs import LogEntry
from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun
from flowspan_service.domain.states import DEFAULT_NAMES, Cause, State, StateType
from flowspan_service.process.clock import SystemClock
from flowspan_service.stores import open_store
from flowspan_service.stores.engine.holds import Holds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan_service.stores.store import SqlStore

COUNT = 200
LARGE = Payload("json", bytes(1 << 20))
KINDS = ("results", "parameters", "remembered", "logs", "artifacts")


class Session:
    """A reporting session."""

    def __init__(self, store: SqlStore) -> None:
        self.id = str(uuid.uuid4())
        self._store = store
        self._next = 1
        store.submit(OpenSession(self.id, client={}, lease_us=30_000_000)).result()

    def report(self, *events: ReportedEvent) -> None:
        """Report events and wait until they are stored."""
        ids = list(dict.fromkeys(run_id for run_id, _ in events if run_id))
        first, self._next = self._next, self._next + len(events)
        report = ApplyReport(self.id, first_sequence=first, events=events, run_ids=ids)
        self._store.submit(report).result()


def state(kind: StateType, *, result: bytes | None = None) -> State:
    """Return a state entered now."""
    return State(int(kind), DEFAULT_NAMES[kind], "", time.time_ns() // 1000, result=result)


def fill(session: Session, kind: str) -> list[ReportedEvent]:
    """Report runs or artifacts; return small events about them."""
    events: list[ReportedEvent] = []
    for _ in range(COUNT):
        large = LARGE if kind in {"parameters", "remembered"} else None
        run_id = new_id()
        pending = state(StateType.PENDING)
        new = NewRun(run_id, 1, "f", "r", None, run_id, None, (), large, None, "", 1, pending)
        if kind == "artifacts":
            artifact = NewArtifact(run_id, None, "markdown", "", LARGE, None, 1)
            session.report(("", artifact))
            events.append(("", ArtifactChange(run_id, "changed", None, 2)))
            continue
        session.report((run_id, new))
        if kind in {"results", "logs"}:
            ended = state(StateType.COMPLETED, result=LARGE.data)
            session.report((run_id, ProposedTransition(ended, 1, Cause.REPORTED)))
        running = ProposedTransition(state(StateType.RUNNING), 1, Cause.REPORTED)
        log = LogEntry(run_id, 1, 20, 1, "l", "m")
        events.append((run_id, log if kind == "logs" else running))
    return events


@contextlib.contextmanager
def waits(session: Session) -> Iterator[list[float]]:
    """Give a list that collects another session's waits for acks, in seconds."""
    ended, taken_s = threading.Event(), [0.0]

    def report() -> None:
        while not ended.is_set():
            began = time.perf_counter()
            session.report(("", NotUnderstood("event_is_known", "?")))
            taken_s.append(time.perf_counter() - began)

    thread = threading.Thread(target=report)
    thread.start()
    try:
        yield taken_s
    finally:
        ended.set()
        thread.join()


def measure(url: str, kind: str) -> str:
    """Return a line of figures."""
    with contextlib.closing(open_store(url, clock=SystemClock())) as store:
        session = Session(store)
        events = fill(session, kind)
        if kind == "remembered":
            return report_and_watch(store, session, events)
    with contextlib.closing(open_store(url, clock=SystemClock())) as store:
        return report_and_watch(store, Session(store), events)


def report_and_watch(store: SqlStore, session: Session, events: list[ReportedEvent]) -> str:
    """Report the events while another session reports its own; return the figures."""
    store._writer._holds = Holds()  # noqa: SLF001 - excludes the preparation
    forget_peak(os.getpid())
    before_mib, began = peak_mib(), time.perf_counter()
    with waits(Session(store)) as waited_s:
        session.report(*events)
        took_s = time.perf_counter() - began
    return (
        f"{took_s * 1e3:7.0f} ms {store.write_times().longest_s * 1e3:9.0f} ms"
        f" {max(waited_s) * 1e3:9.0f} ms {peak_mib() - before_mib:6} MiB"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", choices=["sqlite", "postgresql"], default="sqlite")
    arguments = parser.parse_args()
    print(f"{arguments.db:12} {'took':>10} {'held':>12} {'waited':>12} {'memory':>10}")
    with databases(arguments.db) as new_database:
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as folder, new_database() as url:
                print(f"{kind:12} {measure(url or f'sqlite:///{folder}/flowspan.db', kind)}")


if __name__ == "__main__":
    main()
