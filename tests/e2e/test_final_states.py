"""Terminal states of flows and tasks, as the service stores them; sync and async."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import flowspan
from tests.support.reported_program import Told, told

from flowspan.v1 import state_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
    import asyncio, json
    from flowspan import flow, states, task
    from flowspan.states import *

    @task
    def good(x=1):
        return x

    @task
    def bad():
        raise ValueError("bad data")

    @task
    async def good_later(x=1):
        return x

    @task
    async def bad_later():
        raise ValueError("bad data")

    def show(value):
        if isinstance(value, State):
            return [value.type.name, value.name, value.message, show(value.data)]
        if isinstance(value, BaseException):
            return [type(value).__name__, str(value)]
        if isinstance(value, (list, tuple)):
            return [show(item) for item in value]
        if isinstance(value, dict):
            return {key: show(item) for key, item in value.items()}
        return value

    # The flow's return values, by label; async flows return the same.
    outcomes = {
        "value": lambda: [1, 2],
        "skipped": lambda: Completed(name="Skipped", message="nothing new", data=7),
        "failed": lambda: Failed(name="Rejected", message="bad data"),
        "failed-error": lambda: Failed(data=KeyError("k")),
        "cancelled": lambda: Cancelled(name="Withdrawn", message="by itself"),
        "crashed": lambda: Crashed(name="Lost", message="by itself"),
        "not-final": lambda: Running(),
        "suspended": lambda: states.Suspended(),
        "all-good": lambda: [good.submit(1), good_later.submit(2)],
        "in-a-dict": lambda: {"a": good.submit(), "b": [bad.submit()]},
        "one-bad": lambda: [good.submit(), bad.submit()],
        "one-bad-later": lambda: (good_later.submit(), bad_later.submit()),
        "only-bad": lambda: bad.submit(),
        "states": lambda: [good(return_state=True), bad(return_state=True)],
        "state-of-task": lambda: bad(return_state=True),
        "unreturned": lambda: bad.submit() and 5,
        "caught": lambda: bad(return_state=True) and 5,
        "resolved": lambda: bad.submit().result(),
        "long-name": lambda: Completed(name="é" * 5000, message="m" * 100000),
    }

    def call(it, **options):
        outcome = it(**options)
        return asyncio.run(outcome) if asyncio.iscoroutine(outcome) else outcome

    for label, body in outcomes.items():
        def plain(body=body):
            return body()

        async def later(body=body):
            return body()

        for kind, function in (("plain", plain), ("async", later)):
            it = flow(name=f"{label}-{kind}", validate_parameters=False)(function)
            state = call(it, return_state=True)
            value = state.result(raise_on_failure=False)
            print(f"{label}-{kind}: {json.dumps([show(state)[:3], show(value)])}")

    # return_state of everything that can be called.
    @flow
    def subflow():
        raise ValueError("bad data")

    @flow
    async def subflow_later():
        raise ValueError("bad data")

    @flow
    def asks():
        print("asks: " + json.dumps(show([
            bad(return_state=True),
            bad.submit(return_state=True),
            bad_later.submit(return_state=True),
            good.map([1, 2], return_state=True),
            good_later.map([1, 2], return_state=True),
            subflow(return_state=True),
            asyncio.run(subflow_later(return_state=True)),
        ])))

    @flow
    async def asks_later():
        print("asks-later: " + json.dumps(show([
            await bad_later(return_state=True),
            bad.submit(return_state=True),
            bad_later.submit(return_state=True),
            good.map([1, 2], return_state=True),
            good_later.map([1, 2], return_state=True),
            subflow(return_state=True),
            await subflow_later(return_state=True),
        ])))

    asks()
    asyncio.run(asks_later())

    # A flow ends like the task in a thread that another flow submitted.
    @task(name="named-task")
    def named_task():
        return Completed(name="Cached away", data=3)

    assert named_task().data == 3
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with told(PROGRAM, folder=tmp_path_factory.mktemp("final-states")) as program:
        yield program


KINDS = pytest.mark.parametrize("kind", ["plain", "async"])
BAD = ["ValueError", "bad data"]
HALF = "1/2 states failed."
GOOD_STATE = ["COMPLETED", "Completed", "", 1]
BAD_STATE = ["FAILED", "Failed", "ValueError: bad data", BAD]


@KINDS
@pytest.mark.parametrize(
    ("label", "state", "result"),
    [
        ("value", ["COMPLETED", "Completed", ""], [1, 2]),
        ("skipped", ["COMPLETED", "Skipped", "nothing new"], 7),
        ("failed", ["FAILED", "Rejected", "bad data"], ["RunFailed", "bad data"]),
        ("failed-error", ["FAILED", "Failed", "KeyError: 'k'"], ["KeyError", "'k'"]),
        ("cancelled", ["CANCELLED", "Withdrawn", "by itself"], ["CancelRun", "by itself"]),
        ("crashed", ["CRASHED", "Lost", "by itself"], ["CrashedRun", "by itself"]),
        (
            "all-good",
            ["COMPLETED", "Completed", "All states completed."],
            [GOOD_STATE, ["COMPLETED", "Completed", "", 2]],
        ),
        ("in-a-dict", ["COMPLETED", "Completed", ""], {"a": GOOD_STATE, "b": [BAD_STATE]}),
        ("one-bad", ["FAILED", "Failed", HALF], [GOOD_STATE, BAD_STATE]),
        ("one-bad-later", ["FAILED", "Failed", HALF], [GOOD_STATE, BAD_STATE]),
        ("only-bad", ["FAILED", "Failed", "ValueError: bad data"], BAD_STATE),
        ("states", ["FAILED", "Failed", HALF], [GOOD_STATE, BAD_STATE]),
        ("state-of-task", ["FAILED", "Failed", "ValueError: bad data"], BAD_STATE),
        ("unreturned", ["COMPLETED", "Completed", ""], 5),
        ("caught", ["COMPLETED", "Completed", ""], 5),
        ("resolved", ["FAILED", "Failed", "ValueError: bad data"], BAD),
    ],
)
def test_the_final_state_of_a_flow(
    program: Told, label: str, state: list[str], result: Any, kind: str
) -> None:
    assert json.loads(program.printed(f"{label}-{kind}")) == [state, result]
    stored = program.flow(f"{label}-{kind}").state
    type_name = state_pb2.StateType.Name(stored.type).removeprefix("STATE_TYPE_")
    assert [type_name, stored.name, stored.message] == state
    assert program.history(program.flow(f"{label}-{kind}")) == ["Running", state[1]]


@KINDS
@pytest.mark.parametrize("label", ["not-final", "suspended"])
def test_a_state_that_is_not_final_is_an_error(program: Told, label: str, kind: str) -> None:
    stored = program.flow(f"{label}-{kind}").state
    assert stored.name == "Failed"
    assert "not a terminal state" in stored.message


@KINDS
def test_a_failure_that_made_a_flow_fail_is_stored_with_it(program: Told, kind: str) -> None:
    failure = program.flow(f"one-bad-{kind}").state.failure
    assert failure.type.endswith("RunFailed")
    assert (failure.cause.type, failure.cause.message) == ("ValueError", "bad data")
    assert program.flow(f"failed-error-{kind}").state.failure.type == "KeyError"


@KINDS
def test_a_name_that_is_too_long_is_shortened(program: Told, kind: str) -> None:
    stored = program.flow(f"long-name-{kind}").state
    assert stored.name
    assert set(stored.name) <= {"é", "…"}
    assert stored.message.startswith("mmm")


@pytest.mark.parametrize("label", ["asks", "asks-later"])
def test_return_state(program: Told, label: str) -> None:
    failed = ["FAILED", "Failed", "ValueError: bad data", BAD]
    both = [["COMPLETED", "Completed", "", 1], ["COMPLETED", "Completed", "", 2]]
    assert json.loads(program.printed(label)) == [
        failed,
        failed,
        failed,
        both,
        both,
        failed,
        failed,
    ]
    # None of them fails the flow that did not return it.
    assert program.history(program.flow(label)) == ["Running", "Completed"]


def test_a_task_may_name_its_end(program: Told) -> None:
    assert program.history(program.task("named-task")) == ["Running", "Cached away"]


def test_the_command_shows_names_and_finds_by_them(
    program: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", program.address)
    run = program.flow("skipped-plain")
    assert "Skipped" in flowspan("run", "show", run.id).out
    assert "Skipped" in flowspan("run", "history", run.id).out
    found = flowspan("run", "ls", "--json", "--state", "Skipped", "--limit", "10").objects
    assert {each["flow_name"] for each in found} == {"skipped-plain", "skipped-async"}
