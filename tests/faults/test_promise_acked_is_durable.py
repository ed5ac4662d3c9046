"""Promise 1: acked events survive SIGKILL of the service, at every named crash point.

The test is the client. It keeps a journal of its sent and acked events, and resends unacknowledged
events, as any client does. In the end, the service must have every event of the journal exactly
once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.report_client import ReportStream, created, entered, new_id, whole_run
from tests.support.run_queries import flow_history

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

KILLED = -9
# The first commit is for Hello, the second for the batch.
CRASH_POINTS = [
    *("before_commit:1", "before_commit:2"),
    *("after_commit:1", "after_commit:2"),
    "before_ack",
]


@pytest.mark.parametrize("crash_point", CRASH_POINTS)
def test_promise_acked_is_durable_at(
    crash_point: str, start_service: Callable[..., ServiceProcess]
) -> None:
    service = start_service(crash_point=crash_point)
    session_id = "8f14e45f-ceea-467f-a0d5-3f2b7c6a9e10"
    run_ids = [new_id() for _ in range(20)]
    events = [event for run_id in run_ids for event in whole_run(run_id)]
    acked = 0
    try:
        stream = ReportStream(service.channel, session_id=session_id)
        stream.report(*events[:30])
        stream.wait_for_ack(30)
        acked = stream.acked
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - of one branch of two
    assert service.wait() == KILLED
    assert acked == 0, "an ack was sent before the crash point, so this tests nothing"

    service.restart()
    stream = ReportStream(service.channel, session_id=session_id)
    # The service's position is correct: the client continues from there.
    resumed = stream.welcome.resume_after
    assert resumed in {0, 30}
    stream.report(*events[resumed:])
    stream.wait_for_ack(len(events))
    stream.goodbye()
    assert stream.verdicts == []
    for run_id in run_ids:
        assert flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]


def test_promise_acked_is_durable_when_killed_at_any_moment(service: ServiceProcess) -> None:
    session_id = "8f14e45f-ceea-467f-a0d5-3f2b7c6a9e11"
    run_ids = [new_id() for _ in range(400)]
    events = [event for run_id in run_ids for event in whole_run(run_id)]
    acked_ever = 0
    for round_number in range(4):
        stream = ReportStream(service.channel, session_id=session_id)
        resume_after = stream.welcome.resume_after
        assert resume_after >= acked_ever, "an acked event is lost"
        try:
            # Small batches, so that many acks and commits are in flight at the kill.
            end = 300 * (round_number + 1)
            for first in range(resume_after, end, 7):
                stream.report(*events[first : min(first + 7, end)])
            stream.wait_for_ack(min(resume_after + 40 * (round_number + 1), end))
            service.kill()
            stream.wait_for_ack(end)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - of one branch of two
        acked_ever = max(acked_ever, stream.acked)
        service.restart()
    stream = ReportStream(service.channel, session_id=session_id)
    assert stream.welcome.resume_after >= acked_ever
    stream.report(*events[stream.welcome.resume_after :])
    stream.wait_for_ack(len(events))
    stream.goodbye()
    for run_id in run_ids:
        assert flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]


def test_promise_exactly_once_when_everything_is_sent_again(service: ServiceProcess) -> None:
    run_id = new_id()
    events = [created(run_id), entered(run_id, "RUNNING"), entered(run_id, "FAILED")]
    stream = ReportStream(service.channel)
    for _ in range(3):
        stream.next_sequence = 1
        stream.report(*events)
    stream.report(*[])
    stream.wait_for_ack(3)
    # Split differently and overlapping: 2..3 again, then 2..5, of which two are new.
    more = [entered(run_id, "SCHEDULED", attempt=2), entered(run_id, "RUNNING", attempt=2)]
    stream.next_sequence = 2
    stream.report(*events[1:])
    stream.next_sequence = 2
    stream.report(*events[1:], *more)
    stream.wait_for_ack(5)
    stream.goodbye()
    expected = ["Pending", "Running", "Failed", "Scheduled", "Running", "Crashed"]
    assert flow_history(service.channel, run_id) == expected
    assert stream.verdicts == []
