"""The figures of the reporter, over all its sessions."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from flowspan.config import Config
from flowspan.core.events import CREATED, LOG, STATE, RunRecord
from flowspan.reporter.backlog import Backlog
from flowspan.reporter.intake import Intake
from flowspan.reporter.tally import Tally

if TYPE_CHECKING:
    from pathlib import Path


class Meter:
    """Keeps the events, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.codes: list[int] = []
        self._error = error

    def observe(self, events: Any) -> None:
        self.codes += [event[0] for event in events]
        if self._error is not None:
            raise self._error

    def shutdown(self) -> None:
        self.codes.append(-100)

    def close(self) -> None:
        raise AssertionError


def emit_run(intake: Intake) -> None:
    run_id = str(uuid.uuid4())
    record = RunRecord(
        run_id,
        is_flow=True,
        function_name="f",
        run_name="",
        parent_run_id=None,
        root_run_id=run_id,
        flow_run_id=run_id,
    )
    intake.states.append((CREATED, record, "Pending", 1))
    intake.states.append((STATE, run_id, 1, 3, "Running", "", 2, None, None))
    intake.put_log((LOG, run_id, 1, 20, 3, "x", "hello", "", ""))


def a_backlog(home: Path, tally: Tally, **settings: Any) -> tuple[Backlog, Intake]:
    config = Config(home=home, address="127.0.0.1:1", **settings)
    intake = Intake()
    backlog = Backlog(config, str(uuid.uuid4()), intake, tally=tally)
    tally.add(backlog)
    return backlog, intake


def test_waiting_and_spooled_events_of_all_sessions(tmp_path: Path) -> None:
    tally = Tally()
    backlog, intake = a_backlog(tmp_path, tally)
    other, of_other = a_backlog(tmp_path, tally)
    emit_run(intake)
    emit_run(of_other)
    assert (tally.waiting_events(), tally.spooled_events(), tally.spool_bytes()) == (6, 0, 0)
    backlog.build_and_keep()
    assert (tally.waiting_events(), tally.spooled_events()) == (6, 3)
    assert tally.spool_bytes() > 100
    backlog.ack(3)
    assert (tally.waiting_events(), tally.spooled_events(), tally.spool_bytes()) == (3, 3, 0)
    # What was counted stays counted when the session ends.
    for each in (backlog, backlog, other):
        tally.remove(each)
    assert (tally.waiting_events(), tally.spooled_events()) == (0, 3)
    tally.reset()
    assert tally.spooled_events() == 0


def test_lost_events_are_counted(tmp_path: Path) -> None:
    tally = Tally()
    backlog, intake = a_backlog(tmp_path, tally, spool_max_bytes=1)
    while not tally.lost_logs:
        emit_run(intake)
        intake.put_log((LOG, str(uuid.uuid4()), 1, 20, 3, "x", "y" * 1_000_000, "", ""))
        backlog.build_and_keep()
    assert tally.lost_logs == backlog.lost_logs
    assert tally.lost_states == backlog.lost_states
    backlog.spool.close()


def test_a_meter_sees_states_and_no_logs(tmp_path: Path) -> None:
    tally = Tally()
    meter = tally.meter = Meter()
    backlog, intake = a_backlog(tmp_path, tally)
    emit_run(intake)
    backlog.build()
    assert meter.codes == [CREATED, STATE]
    tally.close()
    assert meter.codes[-1] == -100


def test_a_meter_that_fails_loses_no_event(tmp_path: Path) -> None:
    tally = Tally()
    tally.meter = Meter(ValueError("no"))
    backlog, intake = a_backlog(tmp_path, tally)
    emit_run(intake)
    backlog.build()
    assert backlog.outbox.built == 3
