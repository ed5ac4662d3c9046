"""Cache hits on a service: tasks, functions and objects that look alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.reported_program import Told, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.service import ServiceProcess

HEAD = """
import asyncio, dataclasses, enum, json
from pydantic import BaseModel, PrivateAttr
from flowspan import flow, task
from flowspan.cache_policies import DEFAULT, FLOW_PARAMETERS, INPUTS, RUN_ID, TASK_SOURCE
from flowspan.task_runners import ProcessPoolTaskRunner
from flowspan.transactions import atransaction, transaction

POLICIES = {
    "inputs": INPUTS, "task-source": TASK_SOURCE, "run-id": RUN_ID, "default": DEFAULT,
    "flow-parameters": FLOW_PARAMETERS, "sum": INPUTS + TASK_SOURCE,
}

@dataclasses.dataclass
class Point:
    x: int

class Model(BaseModel):
    x: int = 1
    _secret: int = PrivateAttr(default=0)

class Flags(enum.Flag):
    A = 1

class Scale:
    def __init__(self, factor, tags=frozenset("abcdefgh")):
        self.factor, self.tags = factor, tags

    def __call__(self, value):
        return value * self.factor

def with_more(thing, more):
    thing.__dict__["more"] = more
    return thing

def with_secret(secret):
    model = Model()
    model._secret = secret
    return model

def what_it_is(value):
    private = getattr(value, "__pydantic_private__", None)
    if isinstance(value, Scale):
        return f"Scale {value.factor}"
    return repr((value, getattr(value, "__dict__", None), private))

LOOK_ALIKES = [
    *(Flags(0), Flags.A, 1, True, 1.0, 0.0, -0.0, "1", b"1", [1], (1,)),
    *(with_more(Point(1), 1), with_more(Point(1), 2), Point(1), with_secret(1), with_secret(2)),
]

def told(label, value):
    print(f"{label}: {json.dumps(value)}", flush=True)
"""

BODY = """
def made_KIND(table, policy):
    @task(cache_policy=policy, name="made-KIND")
    ASYNC def load(day):
        return table + day
    return load

@flow(persist_result=True)
ASYNC def two_tasks_KIND(parameter):
    found = {}
    for name, policy in POLICIES.items():
        a, b = made_KIND("a", policy), made_KIND("b", policy)
        found[name] = [AWAIT a("m"), AWAIT b("m"), AWAIT a("m")]
    told("two-tasks-KIND", found)

@task(cache_policy=INPUTS)
ASYNC def apply_KIND(fn, value):
    return fn(value)

@task(cache_policy=INPUTS)
ASYNC def look_KIND(value):
    return what_it_is(value)

@flow
ASYNC def inputs_KIND():
    called = [AWAIT apply_KIND(lambda v, n=n: v * n, 10) for n in (1, 2, 3)]
    futures = [apply_KIND.submit(lambda v, n=n: v * n, 20) for n in (1, 2, 3)]
    mapped = apply_KIND.map([lambda v, n=n: v * n for n in (1, 2, 3)], 30)
    for each in [*futures, *mapped]:
        each.wait()
    objects = [AWAIT apply_KIND(Scale(n), 40) for n in (1, 2, 3)]
    submitted, of_map = (
        [each.state.result(_sync=True) for each in them] for them in (futures, mapped)
    )
    told("functions-KIND", [called, submitted, of_map, objects])
    seen = [AWAIT look_KIND(each) == what_it_is(each) for each in LOOK_ALIKES]
    told("look-alikes-KIND", seen)
    again = [AWAIT look_KIND(each, return_state=True) for each in LOOK_ALIKES]
    told("again-KIND", [state.name for state in again])

attempts_KIND = []

@task
ASYNC def kept_KIND(fn, value):
    return fn(value)

@task
ASYNC def rows_KIND():
    return [1, 2, 3]

@flow(retries=1)
ASYNC def retried_KIND():
    attempts_KIND.append(1)
    first = len(attempts_KIND) == 1
    numbers = (1, 2, 3) if first else (2, 3)
    found = [AWAIT kept_KIND(lambda v, n=n: v * n, 10) for n in numbers]
    rows = AWAIT rows_KIND()
    rows.append(100)
    if first:
        raise ValueError
    told("retried-KIND", [found, sum(rows)])

@task(cache_policy=INPUTS)
ASYNC def staged_KIND(value):
    return [value]

@flow
ASYNC def stored_KIND():
    ASYNC with TRANSACTION():
        rows = AWAIT staged_KIND(1)
        rows.append(100)
    told("stored-KIND", AWAIT staged_KIND(1))

RUN(two_tasks_KIND(1))
RUN(inputs_KIND())
RUN(retried_KIND())
RUN(stored_KIND())
"""

PROCESSES = """
@task(cache_policy=INPUTS)
def in_process(value):
    return what_it_is(value)

@task
def calling(value):
    return in_process(value, return_state=True).name

@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def processes():
    points = [with_more(Point(1), 1), with_more(Point(1), 2), Scale(1), Scale(2)]
    first = [in_process.submit(each) for each in points]
    told("processes", [each.result() == what_it_is(point) for each, point in zip(first, points)])
    told("in-a-worker", [calling.submit(each).result() for each in points])

processes()
"""


def program_of(kind: str) -> str:
    is_async = kind == "async"
    words = {
        "KIND": kind,
        "ASYNC ": "async " if is_async else "",
        "AWAIT ": "await " if is_async else "",
        "TRANSACTION(": "atransaction(" if is_async else "transaction(",
        "RUN(": "asyncio.run(" if is_async else "(",
    }
    code = BODY
    for word, other in words.items():
        code = code.replace(word, other)
    return code


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    code = HEAD + program_of("plain") + program_of("async") + PROCESSES
    with told(code, folder=tmp_path_factory.mktemp("keys")) as program:
        yield program


KINDS = pytest.mark.parametrize("kind", ["plain", "async"])


@KINDS
def test_two_tasks_have_two_keys(program: Told, kind: str) -> None:
    found = json.loads(program.printed(f"two-tasks-{kind}"))
    assert set(map(tuple, found.values())) == {("am", "bm", "am")}
    runs = sorted((run for run in program.tasks if run.task_name == f"made-{kind}"), key=id_of)
    assert [run.state.name for run in runs] == ["Completed", "Completed", "Cached"] * 6


def id_of(run: object) -> str:
    return run.id  # type: ignore[attr-defined, no-any-return] # a run has one


@KINDS
def test_functions_and_objects_are_told_apart(program: Told, kind: str) -> None:
    found = json.loads(program.printed(f"functions-{kind}"))
    assert found == [[10, 20, 30], [20, 40, 60], [30, 60, 90], [40, 80, 120]]


@KINDS
def test_what_looks_alike_is_told_apart(program: Told, kind: str) -> None:
    assert set(json.loads(program.printed(f"look-alikes-{kind}"))) == {True}
    assert set(json.loads(program.printed(f"again-{kind}"))) == {"Cached"}


@KINDS
def test_a_retried_flow_hands_each_call_its_own(program: Told, kind: str) -> None:
    assert json.loads(program.printed(f"retried-{kind}")) == [[20, 30], 106]
    runs = sorted((run for run in program.tasks if run.task_name == f"kept_{kind}"), key=id_of)
    assert [run.state.name for run in runs] == [*["Completed"] * 3, *["Cached"] * 2]


@KINDS
def test_a_transaction_stores_what_was_returned(program: Told, kind: str) -> None:
    assert json.loads(program.printed(f"stored-{kind}")) == [1]


def test_worker_processes_make_the_same_keys(program: Told) -> None:
    assert json.loads(program.printed("processes")) == [True] * 4
    assert json.loads(program.printed("in-a-worker")) == ["Cached"] * 4


AGAIN = """
import dataclasses, threading
from flowspan import flow, task
from flowspan.cache_policies import INPUTS, TASK_SOURCE

class Plain:
    def __init__(self, **state):
        self.__dict__.update(state)

@dataclasses.dataclass
class Point:
    tags: set

def made(table):
    @task(cache_policy=INPUTS + TASK_SOURCE)
    def load(value):
        return table
    return load

def of_client(client):
    @task(cache_policy=INPUTS)
    def load(value):
        return client.name
    return load

@flow
def again():
    tags = set("abcdefgh")
    load = made({"table": tags})
    for value in [Plain(tags=tags), Point(tags), frozenset(tags), lambda v: v in tags, Point]:
        print(load(value, return_state=True).name)
    client = Plain(name="a", connection=(each for each in ()))
    load = of_client(client)
    print(load(1, return_state=True).name, load(2, return_state=True).name)
    print(load(1, return_state=True).name)

again()
"""


def test_keys_are_the_same_in_every_process(service: ServiceProcess, flowspan_home: Path) -> None:
    """The log names a value whose key differs between processes, once."""
    outputs = []
    for _ in range(2):
        with FlowProcess(AGAIN, home=flowspan_home, address=service.address) as process:
            outputs.append(process.finish().split())
    local = ["Completed", "Completed", "Cached"]
    assert outputs == [["Completed"] * 5 + local, ["Cached"] * 5 + local]
    found = Told(service.channel, "", service.address)
    warnings = [line for run in found.tasks for line in found.logs(run) if "this process" in line]
    assert len(warnings) == 2
    assert all("'client'" in line and "cache_key_fn" in line for line in warnings)
