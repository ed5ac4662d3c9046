"""The API client against a real service: each question in sync and async code."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from tests.support.api_clients import NOWHERE, faces
from tests.support.flow_processes import run_code

from flowspan import flow, get_client
from flowspan.client import (
    ArtifactFilter,
    Change,
    Label,
    LogLevel,
    RunFilter,
    SnapshotEnd,
    StateType,
    VerdictKind,
)
from flowspan.exceptions import (
    ApiError,
    FlowRunWaitTimeout,
    FlowspanError,
    ObjectAlreadyExists,
    ObjectNotFound,
    ParameterError,
    ServiceUnavailableError,
)
from flowspan.flow_runs import wait_for_flow_run
from flowspan.states import Cancelling, Pending, Scheduled

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

TOMORROW = datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC)
TREE = """
    import logging
    from flowspan import flow, get_run_logger, task

    @task
    def step(number):
        get_run_logger().info("step %d", number)
        if number == 2:
            raise ValueError("two")

    @flow(version="7")
    def etl(day: str):
        logging.getLogger("mine").warning("w" * 100_000)
        for number in range(3):
            step(number, return_state=True)

    etl("monday")
"""


def test_what_ran_can_be_read(service: ServiceProcess) -> None:
    run_code(TREE, home=service.home / "client", address=service.address)
    for ask in faces(service.address):
        (run,) = ask.read_flow_runs()
        assert isinstance(run.id, UUID)
        assert run.created_at.tzinfo is UTC
        assert run.state.is_completed()
        assert run.state.is_final()
        assert run.state.type is StateType.COMPLETED
        assert (run.flow_name, run.flow_version) == ("etl", "7")
        assert run.parameters.json() == {"day": "monday"}
        assert ask.read_flow_run(run.id) == run
        assert ask.read_flow_run(str(run.id)) == run

        tasks = ask.read_task_runs(oldest_first=True, page_size=1)
        assert [found.name for found in tasks] == ["step-0", "step-1", "step-2"]
        assert {found.flow_run_id for found in tasks} == {run.id}
        assert ask.read_task_runs(limit=2, page_size=1) == tasks[:0:-1]
        assert ask.read_task_run(tasks[2].id) == tasks[2]
        assert tasks[2].state.is_failed()
        assert tasks[2].state.failure.type == "ValueError"
        bad = RunFilter(state_types=(StateType.FAILED,), flow_run_id=run.id)
        assert ask.read_task_runs(bad) == [tasks[2]]
        assert ask.count_task_runs() == {
            StateType.COMPLETED: 2,
            StateType.FAILED: 1,
        }
        assert ask.count_flow_runs(bad) == {}
        assert ask.count_flow_runs() == {StateType.COMPLETED: 1}
        verdict, task_run = ask.set_task_run_state(tasks[2].id, StateType.RUNNING)
        assert (verdict.is_accepted, task_run) == (False, tasks[2])
        assert verdict.rule

        states = ask.read_flow_run_states(run.id)
        assert [state.name for state in states] == ["Pending", "Running", "Completed"]
        history = ask.read_flow_run_transitions(run.id)
        assert [(item.ordinal, item.state) for item in history] == list(enumerate(states, 1))
        history = ask.read_task_run_transitions(tasks[2].id)
        assert history[-1].state.name == "Failed"
        states = ask.read_task_run_states(tasks[2].id)
        assert states == [item.state for item in history]

        known = ask.read_flow_by_name("etl")
        assert ask.read_flow(known.id) == known
        assert ask.read_flows() == [known]

        logs = ask.read_logs(run.id, include_descendants=True)
        assert {log.message for log in logs} >= {"w" * 100_000, "step 0", "step 1", "step 2"}
        grave = ask.read_logs(run.id, min_level=LogLevel.WARNING)
        assert [log.message for log in grave] == ["w" * 100_000]
        assert ask.tail_logs(run.id, min_level=30) == grave
        (first,) = ask.read_logs(tasks[0].id, limit=1)
        assert (first.message, first.run_id) == ("step 0", tasks[0].id)

        assert ask.wait_for_flow_run(run.id) == run
        items = ask.watch(run.id, flow_runs_only=True)
        assert items[0].run == run
        assert items[1].run_count == 1
        assert ask.read_service_info().database == "sqlite"


def test_runs_are_created_changed_and_deleted(service: ServiceProcess) -> None:
    @flow(name="planned", version="3")
    def planned(day: str) -> None: ...

    for ask in faces(service.address):
        run = ask.create_flow_run(planned, name="mine", parameters={"day": "monday"}, tags=["a"])
        assert (run.flow_name, run.flow_version, run.name) == ("planned", "3", "mine")
        assert (run.tags, run.parameters.json()) == (("a",), {"day": "monday"})
        assert run.state.is_scheduled()

        same = {"parameters": {"day": "monday"}, "tags": ["a"], "flow_run_id": run.id}
        assert ask.create_flow_run(planned, name="mine", **same) == run
        with pytest.raises(ObjectAlreadyExists) as caught:
            ask.create_flow_run(planned, name="another", **same)
        assert (caught.value.code, caught.value.reason) == ("already_exists", "ALREADY_EXISTS")
        assert caught.value.advice == "Choose a new id for a new run."
        with pytest.raises(ParameterError, match="'day'"):
            ask.create_flow_run("x", parameters={"day": object()})

        assert ask.create_flow_run("x", state=Pending()).state.is_pending()
        late = ask.create_flow_run("x", state=Scheduled(name="Later", scheduled_time=TOMORROW))
        assert (late.state.name, late.state.scheduled_at) == ("Later", TOMORROW)
        assert ask.create_flow_run("x", state=late.state).state.scheduled_at == TOMORROW
        soon = RunFilter(created_after=late.created_at, state_names=("Later",))
        assert late in ask.read_flow_runs(soon)
        with pytest.raises(ValueError, match="created_before must have a time zone"):
            ask.read_flow_runs(RunFilter(created_before=TOMORROW.replace(tzinfo=None)))
        with pytest.raises(TypeError, match=r"flowspan\.states"):
            ask.set_flow_run_state(late.id, "CANCELLING")
        with pytest.raises(ApiError) as refused:
            ask.delete_flow_run(run.id)
        assert refused.value.status == "FAILED_PRECONDITION"
        assert "force the deletion" in refused.value.advice
        verdict, after = ask.set_flow_run_state(run.id, Cancelling(message="enough"))
        assert verdict.is_accepted
        assert after.state.is_cancelled()
        answer = ask.set_flow_run_state(run.id, StateType.RUNNING)
        assert answer.verdict.kind in {VerdictKind.REJECTED, VerdictKind.ABORT}
        assert answer.verdict.reason
        assert answer.run.state.is_cancelled()
        assert ask.delete_flow_run(run.id) == 1
        with pytest.raises(ObjectNotFound):
            ask.read_flow_run(run.id)


def test_artifacts_are_created_changed_and_deleted(service: ServiceProcess) -> None:
    for ask in faces(service.address):
        run = ask.create_flow_run("etl")
        first = ask.create_artifact("table", [{"a": 1}], key="sales", run_id=run.id)
        assert isinstance(first.id, UUID)
        assert first.created_at.tzinfo is UTC
        assert (first.key, first.type, first.data.json()) == ("sales", "table", [{"a": 1}])
        assert (first.run_id, first.flow_run_id, first.task_run_id) == (run.id, run.id, None)
        same = ask.create_artifact(
            "table", [{"a": 1}], key="sales", run_id=run.id, artifact_id=first.id
        )
        assert same == first
        with pytest.raises(ObjectAlreadyExists):
            ask.create_artifact("table", [], artifact_id=first.id)
        with pytest.raises(ObjectNotFound):
            ask.create_artifact("table", [], run_id=NOWHERE)
        with pytest.raises(TypeError):
            ask.create_artifact("own", object())

        second = ask.create_artifact("table", [], key="sales", description="none")
        changed = ask.update_artifact(second.id, data=[1], description="one")
        assert (changed.data.json(), changed.description) == ([1], "one")
        assert changed.updated_at > changed.created_at
        assert ask.read_artifact(str(second.id)) == changed
        assert ask.read_latest_artifact("sales") == changed
        history = ask.read_artifacts(ArtifactFilter(key="sales"), oldest_first=True, page_size=1)
        assert history == [first, changed]
        assert ask.read_latest_artifacts() == [changed]

        assert ask.delete_artifact(second.id) is True
        assert ask.delete_artifact(second.id) is False
        assert ask.read_latest_artifact("sales") == first
        assert ask.delete_artifacts_of_key("sales") == 1
        with pytest.raises(ObjectNotFound):
            ask.read_artifact(first.id)
        with pytest.raises(ObjectNotFound):
            ask.update_artifact(first.id, data=1)


def test_variables_are_set_read_and_deleted(service: ServiceProcess) -> None:
    for ask in faces(service.address):
        stored = ask.set_variable("limit", {"day": 2**70}, tags=["a", "b"])
        assert stored.created_at.tzinfo is UTC
        assert (stored.value.json(), stored.tags) == ({"day": 2**70}, ("a", "b"))
        assert ask.read_variable_by_name("limit") == stored
        with pytest.raises(ObjectAlreadyExists):
            ask.set_variable("limit", 1)
        assert ask.set_variable("limit", 1, overwrite=True).tags == ()
        other = ask.set_variable("other", None, tags=["a"])
        assert [each.name for each in ask.read_variables(page_size=1)] == ["limit", "other"]
        assert ask.read_variables(name_prefix="o", tags=["a"]) == [other]
        with pytest.raises(ApiError, match="name") as caught:
            ask.set_variable("Not so", 1)
        assert caught.value.status == "INVALID_ARGUMENT"
        assert ask.delete_variable_by_name("limit") is True
        assert ask.delete_variable_by_name("limit") is False
        assert ask.read_variable_by_name("limit") is None
        assert ask.delete_variable_by_name("other") is True


def test_labels_are_set_read_listed_and_removed(service: ServiceProcess) -> None:
    for ask in faces(service.address):
        first, second = (ask.create_flow_run("etl").id for _ in range(2))
        assert ask.get_labels(first) == {}
        stored = ask.set_labels(first, {"team": "data", "n": 2, "x": 0.5, "is-good": True})
        assert stored == {"is-good": "true", "n": "2", "team": "data", "x": "0.5"}
        assert list(stored) == sorted(stored)
        left = ask.set_labels(str(first), {"n": 3}, removed_keys=["x", "is-good"])
        assert left == {"n": "3", "team": "data"} == ask.get_labels(first)
        assert ask.update_flow_run_labels(second, {"team": "data", "lone": "\ud800"}) is None
        assert ask.get_labels(second) == {"lone": "\\ud800", "team": "data"}
        newest_first = [Label(run_id=each, key="team", value="data") for each in (second, first)]
        assert ask.list_labels("team", limit=2, page_size=1) == newest_first
        assert ask.list_labels("n", 3) == [Label(run_id=first, key="n", value="3")]
        assert ask.list_labels("n", "4") == []
        with pytest.raises(ApiError, match="labels") as caught:
            ask.set_labels(first, {"Not so": "x"})
        assert caught.value.status == "INVALID_ARGUMENT"
        with pytest.raises(TypeError, match="label 'a' is of type NoneType"):
            ask.set_labels(first, {"a": None})
        with pytest.raises(ObjectNotFound):
            ask.update_flow_run_labels(NOWHERE, {"a": "b"})
        for run_id in (first, second):
            ask.delete_flow_run(run_id, force=True)
        assert ask.list_labels("n") == []


def test_a_flow_labels_its_own_runs(service: ServiceProcess) -> None:
    code = """
        from flowspan import flow, get_client, runtime, task

        @task
        def label_itself(client):
            return client.set_labels(runtime.task_run.id, {"rows": 5})

        @flow
        def etl():
            with get_client(sync_client=True) as client:
                print(label_itself(client))
                client.update_flow_run_labels(runtime.flow_run.id, {"team": "data"})

        etl()
    """
    out = run_code(code, home=service.home / "client", address=service.address)
    assert "{'rows': '5'}" in out
    with get_client(sync_client=True, address=service.address) as client:
        (label,) = client.list_labels("team", "data")
        assert client.read_flow_run(label.run_id).state.is_completed()


def test_errors_say_what_is_wrong_and_what_to_do(service: ServiceProcess) -> None:
    for ask in faces(service.address):
        for name, *args in (
            ("read_flow_run", NOWHERE),
            ("read_task_run", NOWHERE),
            ("read_flow_run_states", NOWHERE),
            ("read_flow", NOWHERE),
            ("read_flow_by_name", "nowhere"),
            ("read_logs", NOWHERE),
            ("tail_logs", NOWHERE),
            ("watch", NOWHERE),
            ("wait_for_flow_run", NOWHERE, 5),
            ("set_task_run_state", NOWHERE, StateType.CANCELLING),
            ("read_artifact", NOWHERE),
            ("read_latest_artifact", "nowhere"),
        ):
            with pytest.raises(ObjectNotFound) as caught:
                getattr(ask, name)(*args)
            error = caught.value
            assert (error.code, error.status, error.reason) == (
                "not_found",
                "NOT_FOUND",
                "NOT_FOUND",
            )
        with pytest.raises(ApiError, match="id_prefix") as caught:
            ask.read_flow_runs(RunFilter(id_prefix="x"))
        assert caught.value.status == "INVALID_ARGUMENT"


def test_nobody_answers() -> None:
    for ask in faces("127.0.0.1:9"):
        with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:9") as caught:
            ask.read_flow_run(NOWHERE)
        assert caught.value.retryable


def test_a_closed_client_says_so(service: ServiceProcess) -> None:
    with get_client(sync_client=True, address=service.address) as client:
        pass
    with pytest.raises(FlowspanError, match="is closed"):
        client.read_service_info()

    async def closed() -> None:
        async with get_client(address=service.address) as client:
            assert await client.read_flow_runs(limit=1) == []
        with pytest.raises(FlowspanError, match="is closed"):
            await client.read_service_info()

    asyncio.run(closed())


def test_waiting_for_a_run_ends_with_it(service: ServiceProcess) -> None:
    with get_client(sync_client=True, address=service.address) as other:
        for ask in faces(service.address):
            run = other.create_flow_run("etl")
            with pytest.raises(FlowRunWaitTimeout, match=r"not ended after 0\.2 s") as caught:
                ask.wait_for_flow_run(run.id, 0.2)
            assert isinstance(caught.value, TimeoutError)
            with ThreadPoolExecutor() as threads:
                ended = threads.submit(ask.wait_for_flow_run, run.id, 60)
                other.set_flow_run_state(run.id, StateType.CANCELLING)
            assert ended.result().state.is_cancelled()


def test_waiting_where_prefect_has_it(
    service: ServiceProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)

    async def waits() -> None:
        async with get_client() as client:
            run = await client.create_flow_run("etl")
            with pytest.raises(FlowRunWaitTimeout):
                await wait_for_flow_run(run.id, timeout=0.1)
            waiting = asyncio.create_task(
                wait_for_flow_run(run.id, 60, poll_interval=1, client=client)
            )
            await client.set_flow_run_state(run.id, StateType.CANCELLING)
            assert (await waiting).state.is_cancelled()

    asyncio.run(waits())


def test_promise_a_watch_goes_on_over_a_restart_of_the_service(service: ServiceProcess) -> None:
    address = service.address
    with get_client(sync_client=True, address=address) as client:
        run = client.create_flow_run("etl")
        items = client.watch(run.id)
        assert next(items).run == run
        assert isinstance(next(items), SnapshotEnd)
        service.restart()
        with get_client(sync_client=True, address=address) as other:
            other.set_flow_run_state(run.id, StateType.CANCELLING)
        (change,) = list(items)
        assert isinstance(change, Change)
        assert change.transition.state.is_cancelled()

    async def asynchronously() -> None:
        async with get_client(address=address) as client:
            run = await client.create_flow_run("etl")
            items = client.watch(run.id)
            assert (await anext(items)).run == run
            token = (await anext(items)).resume_token
            service.restart()  # Not in a thread: the service ends with the thread that starts it.
            await client.set_flow_run_state(run.id, StateType.CANCELLING)
            changes = [item async for item in items]
            assert [item.transition.state.type for item in changes] == [StateType.CANCELLED]
            # Another watch continues with its token where this one began.
            again = [item async for item in client.watch(run.id, resume_token=token)]
            assert again == changes

    asyncio.run(asynchronously())


def test_without_an_address_the_local_service_is_started() -> None:
    with get_client(sync_client=True) as client:
        process_id = client.read_service_info().process_id
        assert client.address.startswith("unix:")

    async def again() -> None:
        # As a coroutine, without `async with`: it connects at the first call.
        client = get_client()
        try:
            assert (await client.read_service_info()).process_id == process_id
        finally:
            await client.close()

    asyncio.run(again())


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_id_is_refused_and_matches_nothing(service: ServiceProcess, empty: str) -> None:
    with get_client(sync_client=True, address=service.address) as client:
        kept = client.create_flow_run("etl")
        client.create_artifact("link", key="kept", run_id=kept.id)
        client.set_variable("kept", 1)
    asked = {
        "read_flow_run": (empty,),
        "delete_flow_run": (empty,),
        "cancel_flow_run": (empty,),
        "set_flow_run_state": (empty, StateType.CANCELLING),
        "read_flow_run_states": (empty,),
        "read_flow_run_transitions": (empty,),
        "wait_for_flow_run": (empty,),
        "read_task_run": (empty,),
        "cancel_task_run": (empty,),
        "set_task_run_state": (empty, StateType.CANCELLING),
        "read_task_run_states": (empty,),
        "read_task_run_transitions": (empty,),
        "read_flow": (empty,),
        "read_logs": (empty,),
        "tail_logs": (empty,),
        "update_artifact": (empty,),
        "read_artifact": (empty,),
        "read_latest_artifact": (empty,),
        "delete_artifact": (empty,),
        "delete_artifacts_of_key": (empty,),
        "read_variable_by_name": (empty,),
        "delete_variable_by_name": (empty,),
        "set_labels": (empty, {"a": "b"}),
        "get_labels": (empty,),
        "list_labels": (empty,),
        "update_flow_run_labels": (empty, {"a": "b"}),
        "report_batch": (empty,),
        "watch": (empty,),
    }
    if not empty:
        asked["read_flow_by_name"] = (empty,)
    for ask in faces(service.address):
        for name, arguments in asked.items():
            with pytest.raises((ApiError, ValueError)) as refused:
                getattr(ask, name)(*arguments)
            error = refused.value
            is_invalid = isinstance(error, ApiError) and error.status == "INVALID_ARGUMENT"
            assert is_invalid or "is empty" in str(error), (name, error)
        with pytest.raises(ApiError, match="id"):
            ask.delete_flow_run(empty, force=True)
        for field in ("parent_run_id", "root_run_id", "flow_run_id", "run_name", "id_prefix"):
            wanted = RunFilter(**{field: empty})  # type: ignore[arg-type] # a field of the class
            for name in ("read_flow_runs", "read_task_runs", "count_flow_runs", "count_task_runs"):
                with pytest.raises(ValueError, match=f"{field} is empty"):
                    getattr(ask, name)(wanted)
        for field in ("key", "run_id", "id_prefix"):
            with pytest.raises(ValueError, match=f"{field} is empty"):
                ask.read_artifacts(ArtifactFilter(**{field: empty}))  # type: ignore[arg-type] # as above
        with pytest.raises((ApiError, ValueError), match="id"):
            ask.create_flow_run("etl", flow_run_id=empty)
        with pytest.raises((ApiError, ValueError), match="id"):
            ask.create_artifact("link", artifact_id=empty)
        with pytest.raises(ValueError, match="run_id is empty"):
            ask.create_artifact("link", run_id=empty)
        if not empty:
            for field in ("state_names", "function_names", "tags"):
                with pytest.raises(ApiError, match=field):
                    ask.read_flow_runs(RunFilter(**{field: (empty,)}))  # type: ignore[arg-type] # as above
        assert ask.read_flow_runs() == [kept]
        assert len(ask.read_artifacts()) == 1
        assert [each.name for each in ask.read_variables()] == ["kept"]
