"""Runs without decorated functions, reported by the API client."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from tests.support.api_clients import NOWHERE, faces
from tests.support.run_queries import wait_until

from flowspan import get_client
from flowspan.client import (
    ArtifactChanged,
    ArtifactCreated,
    CancelCommand,
    Failure,
    LogWritten,
    Payload,
    RunCreated,
    RunKind,
    State,
    StateEntered,
    StateType,
    TraceContext,
    VerdictKind,
)
from flowspan.exceptions import ApiError, ObjectNotFound, ParameterError
from flowspan.states import Cancelling, Completed, Failed, Pending, Running, Scheduled

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

NOON = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
TRACE = TraceContext(traceparent=f"00-{'a' * 32}-{'b' * 16}-01", parent_span_id="c" * 16)


def flow_run(**fields: object) -> RunCreated:
    return RunCreated(kind=RunKind.FLOW, function_name="backup", **fields)  # type: ignore[arg-type]


def test_what_is_reported_can_be_read(service: ServiceProcess) -> None:
    for ask in faces(service.address):
        run = flow_run(
            run_name="monday",
            tags=["nightly"],
            parameters={"disk": "sda"},
            version="7",
            trace=TRACE,
            at=NOON,
        )
        task = RunCreated(
            kind=RunKind.TASK,
            function_name="copy",
            parent_run_id=run.run_id,
            root_run_id=run.run_id,
            flow_run_id=run.run_id,
            state=Scheduled(name="Later", scheduled_time=NOON),
        )
        table = ArtifactCreated(type="table", data=[{"a": 1}], key="files", run_id=task.run_id)
        log = {"logger": "rsync", "trace_id": "a" * 32, "span_id": "b" * 16, "attempt": 2}
        stored = Payload(encoding="json", data=b"412")
        answer = ask.report_batch(
            uuid4(),
            [
                run,
                StateEntered(run_id=run.run_id, state=StateType.RUNNING, at=NOON),
                task,
                StateEntered(run_id=task.run_id, state=Running()),
                LogWritten(run_id=task.run_id, message="412 files", level=35, at=NOON, **log),
                table,
                ArtifactChanged(artifact_id=table.artifact_id, data=[], description="empty"),
                StateEntered(run_id=task.run_id, state=Failed(data=OSError("disk is full"))),
                StateEntered(
                    run_id=run.run_id,
                    state=State(
                        type=StateType.COMPLETED,
                        name="Nearly",
                        message="but one",
                        entered_at=NOON.replace(second=5),
                        result_reference=stored,
                    ),
                ),
            ],
            goodbye=True,
        )
        assert (answer.stored_sequence, answer.verdicts, answer.commands) == (9, {}, ())

        found = ask.read_flow_run(run.run_id)
        assert (found.flow_name, found.name, found.flow_version) == ("backup", "monday", "7")
        assert (found.tags, found.trace) == (("nightly",), TRACE)
        assert found.parameters.json() == {"disk": "sda"}
        assert found.started_at == NOON
        assert found.run_duration_s == 5
        assert (found.state.name, found.state.message) == ("Nearly", "but one")
        assert found.state.result() == 412
        child = ask.read_task_run(task.run_id)
        assert (child.parent_run_id, child.flow_run_id) == (run.run_id, run.run_id)
        assert (child.state.failure.type, child.state.failure.message) == (
            "OSError",
            "disk is full",
        )
        first, *_ = ask.read_task_run_states(task.run_id)
        assert (first.name, first.scheduled_at) == ("Later", NOON)
        (record,) = ask.read_logs(task.run_id)
        assert (record.message, record.level, record.logged_at) == ("412 files", 35, NOON)
        assert {name: getattr(record, name) for name in log} == log
        shown = ask.read_artifact(table.artifact_id)
        assert (shown.key, shown.data.json(), shown.description) == ("files", [], "empty")
        assert shown.task_run_id == task.run_id


def test_a_failure_that_was_read_can_be_reported(service: ServiceProcess) -> None:
    cause = Failure(type="java.io.IOException", message="gone", stack_trace="at Main")
    failure = Failure(type="java.lang.RuntimeException", message="no", cause=cause)
    for ask in faces(service.address):
        run = flow_run()
        state = State(type=StateType.CRASHED, name="Crashed", failure=failure)
        ask.report_batch(uuid4(), [run, StateEntered(run_id=run.run_id, state=state)])
        assert ask.read_flow_run(run.run_id).state.failure == failure


def test_promise_exactly_once_when_a_batch_is_sent_again(service: ServiceProcess) -> None:
    for ask in faces(service.address):
        session, run = uuid4(), flow_run()
        batch = [run, StateEntered(run_id=run.run_id, state=Running())]
        for _ in range(3):
            answer = ask.report_batch(session, batch)
            assert (answer.stored_sequence, answer.verdicts) == (2, {})
        rest = [StateEntered(run_id=run.run_id, state=Completed())]
        ask.report_batch(session, rest, first_sequence=3, goodbye=True)
        states = ask.read_flow_run_states(run.run_id)
        assert [state.name for state in states] == ["Pending", "Running", "Completed"]


def test_the_rules_answer_by_sequence(service: ServiceProcess) -> None:
    for ask in faces(service.address):
        run = flow_run()
        unknown = StateEntered(run_id=NOWHERE, state=Running())
        again = StateEntered(run_id=run.run_id, state=Pending(), attempt=1)
        done = StateEntered(run_id=run.run_id, state=Completed())
        answer = ask.report_batch(uuid4(), [run, unknown, done, again])
        assert answer.stored_sequence == 4
        assert sorted(answer.verdicts) == [2, 4]
        assert answer.verdicts[2].rule == "run_is_known"
        assert answer.verdicts[2].run_id == UUID(NOWHERE)
        assert answer.verdicts[4].kind in {VerdictKind.REJECTED, VerdictKind.ABORT}
        assert answer.verdicts[4].current_state is not None
        assert ask.read_flow_run(run.run_id).state.is_completed()


def test_a_cancel_is_asked_for_until_it_is_confirmed(service: ServiceProcess) -> None:
    for ask in faces(service.address):
        session, run = uuid4(), flow_run()
        ask.report_batch(session, [run, StateEntered(run_id=run.run_id, state=Running())])
        ask.set_flow_run_state(run.run_id, Cancelling(message="enough"))
        for _ in range(2):
            commands = ask.report_batch(session).commands
            assert commands == (CancelCommand(run_id=run.run_id, reason="enough"),)
        confirmed = StateEntered(run_id=run.run_id, state=StateType.CANCELLED)
        assert ask.report_batch(session, [confirmed], first_sequence=3).commands == ()
        assert ask.read_flow_run(run.run_id).state.is_cancelled()


def test_promise_a_reporter_that_falls_silent_is_seen(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service(lease_s=1.5)
    for ask in faces(service.address):
        kept, lost = flow_run(), flow_run()
        answer = ask.report_batch(uuid4(), [kept], lease_s=3600)
        assert answer.lease_s > 1.5
        assert ask.report_batch(uuid4(), [lost]).lease_s == 1.5
        with get_client(sync_client=True, address=service.address) as client:
            wait_until(
                lambda run_id=lost.run_id, client=client: client.read_flow_run(
                    run_id
                ).state.is_crashed(),
                "the run of a reporter that fell silent",
            )
            assert client.read_flow_run(kept.run_id).state.is_pending()


def test_what_cannot_be_reported_says_so(service: ServiceProcess) -> None:
    for ask in faces(service.address):
        session, run = uuid4(), flow_run()
        with pytest.raises(TypeError, match="RunCreated, StateEntered"):
            ask.report_batch(session, [run, "done"])
        with pytest.raises(TypeError, match=r"flowspan\.states"):
            ask.report_batch(session, [StateEntered(run_id=run.run_id, state="RUNNING")])
        with pytest.raises(ParameterError, match="'day'"):
            ask.report_batch(session, [flow_run(parameters={"day": object()})])
        with pytest.raises(ValueError, match="at must have a time zone"):
            ask.report_batch(session, [flow_run(at=NOON.replace(tzinfo=None))])
        with pytest.raises(ApiError) as caught:
            ask.report_batch(session, [run], first_sequence=3)
        assert caught.value.reason == "BAD_SEQUENCE"
        with pytest.raises(ApiError) as caught:
            ask.report_batch(session, [run, flow_run(run_id="mine")])
        assert (caught.value.status, caught.value.advice != "") == ("INVALID_ARGUMENT", True)
        with pytest.raises(ObjectNotFound):  # No part of any of these batches was stored.
            ask.read_flow_run(run.run_id)


def test_commands_of_a_session_are_watched(service: ServiceProcess) -> None:
    session_id, secret = uuid4(), bytes(range(16))
    runs = [flow_run(), flow_run()]
    with get_client(sync_client=True, address=service.address) as client:
        begun = [StateEntered(run_id=run.run_id, state=Running()) for run in runs]
        client.report_batch(session_id, [*runs, *begun], secret=secret)
        client.set_flow_run_state(runs[0].run_id, Cancelling(message="first"))
        commands = client.watch_commands(session_id, secret=secret)
        assert next(commands) == CancelCommand(run_id=UUID(str(runs[0].run_id)), reason="first")
        service.restart()
        client.set_flow_run_state(runs[1].run_id, Cancelling(message="second"))
        assert next(commands) == CancelCommand(run_id=UUID(str(runs[1].run_id)), reason="second")
        client.report_batch(session_id, goodbye=True, secret=secret)
        assert list(commands) == []
        with pytest.raises(ApiError, match="secret"):
            next(client.watch_commands(session_id))
        with pytest.raises(ObjectNotFound):
            next(client.watch_commands(uuid4()))


def test_resent_batch_has_the_verdicts_of_the_first_time(service: ServiceProcess) -> None:
    for ask in faces(service.address):
        session_id = uuid4()
        batch = [flow_run(), StateEntered(run_id=uuid4(), state=Running())]
        first = ask.report_batch(session_id, batch)
        again = ask.report_batch(session_id, batch)
        assert list(first.verdicts) == [2]
        assert again.verdicts == first.verdicts
        ask.report_batch(session_id, goodbye=True)
