"""Events as the engine emits them, and a journal of the emitted events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.support.report_client import new_id
from tests.support.run_queries import flow_history, logs

from flowspan.core.events import CREATED, LOG, STATE, RunRecord

if TYPE_CHECKING:
    import grpc

    from flowspan.core.events import Event, FailureInfo
    from flowspan.reporter import Reporter

RUNNING, COMPLETED, FAILED = 3, 6, 7


def flow_record(run_id: str | None = None, **fields: object) -> RunRecord:
    """Return the record of a top-level flow run."""
    run_id = run_id or new_id()
    values: dict[str, object] = {
        "is_flow": True,
        "function_name": "emitted",
        "run_name": "by-a-test",
        "parent_run_id": None,
        "root_run_id": run_id,
        "flow_run_id": run_id,
    }
    return RunRecord(run_id, **{**values, **fields})  # type: ignore[arg-type] # given by the caller


def created(record: RunRecord) -> Event:
    """Return the event of a created run."""
    return (CREATED, record, "Pending", time.time_ns())


def entered(
    run_id: str, state_type: int, name: str, *, failure: FailureInfo | None = None
) -> Event:
    """Return the event of a state change."""
    return (STATE, run_id, 1, state_type, name, "", time.time_ns(), failure, None)


def logged(run_id: str, message: str) -> Event:
    """Return the event of a log record."""
    return (LOG, run_id, 1, 20, time.time_ns(), "test", message, "", "")


class Journal:
    """Emits runs and records what it emitted."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.messages: dict[str, list[str]] = {}

    def run(self, *, log_count: int = 2) -> str:
        """Emit a complete run with some log records; return its id."""
        run_id = self.begin()
        self.log(run_id, log_count)
        self._reporter.emit(entered(run_id, COMPLETED, "Completed"))
        return run_id

    def begin(self) -> str:
        """Emit a run in state Running; return its id."""
        record = flow_record()
        self.messages[record.id] = []
        self._reporter.emit(created(record))
        self._reporter.emit(entered(record.id, RUNNING, "Running"))
        return record.id

    def log(self, run_id: str, count: int) -> None:
        """Emit log records of a run."""
        messages = self.messages[run_id]
        for number in range(len(messages), len(messages) + count):
            messages.append(f"{number} of {run_id}")
            self._reporter.emit(logged(run_id, messages[-1]))

    def check(self, channel: grpc.Channel, *, end: str = "Completed") -> None:
        """Compare with the service: it has each run and each log record once, in order."""
        for run_id, messages in self.messages.items():
            assert flow_history(channel, run_id) == ["Pending", "Running", end]
            assert [record.message for record in logs(channel, run_id)] == messages
