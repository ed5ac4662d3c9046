"""Task identity on a service: attributes, owners of methods, and namespaces."""

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
import asyncio, functools, json
from flowspan import flow, task
from flowspan.cache_policies import DEFAULT, FLOW_PARAMETERS, INPUTS, RUN_ID, TASK_SOURCE
from flowspan.task_runners import ProcessPoolTaskRunner

POLICIES = [
    INPUTS, TASK_SOURCE, RUN_ID, FLOW_PARAMETERS, DEFAULT, INPUTS + TASK_SOURCE,
    RUN_ID + FLOW_PARAMETERS,
]

def with_prefix(prefix):
    def decorate(fn):
        @functools.wraps(fn)
        def wrapper(*args):
            return wrapper.prefix + fn(*args)
        wrapper.prefix = prefix
        return wrapper
    return decorate

def counted(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        wrapper.calls += 1
        wrapper.seen.append(args)
        return fn(*args)
    wrapper.calls, wrapper.seen = 0, []
    wrapper.function = fn
    return wrapper

def decorated(prefix):
    @with_prefix(prefix)
    def load(day):
        return day
    return load

def decorated_and_counted(prefix):
    @counted
    @with_prefix(prefix)
    @counted
    def load(day):
        return day
    return load

def with_helper(prefix):
    def helper(day):
        return day
    helper.prefix = prefix
    def load(day):
        return helper.prefix + helper(day)
    return load

def with_attribute(prefix):
    def load(day):
        return load.prefix + day
    load.prefix = prefix
    return load

def unwrapped(prefix):
    def load(day):
        return prefix + day
    @functools.wraps(load)
    def wrapper(*args):
        return wrapper.__wrapped__(*args)
    return wrapper

class Loader:
    def __init__(self, table):
        self.table = table

    def load(self, day):
        return self.table + day

    def of_two(self, other, day):
        return self.table + day

    of_day = functools.partialmethod(of_two, "other")

class Calling:
    def __init__(self, table):
        self.method = Loader(table).load

    def __call__(self, day):
        return self.method(day)

def of_class(table):
    class Local:
        held = table

        @classmethod
        def load(cls, day):
            return cls.held + day

    return Local.load

def of_template(table):
    namespace = {"SETTINGS": {"table": table}}
    exec("def q(day): return SETTINGS['table'] + day\\ndef load(day): return q(day)", namespace)
    return namespace["load"]

def of_program(table):
    namespace = {**globals(), "TABLE": table}
    exec("def load(day): return TABLE + day", namespace)
    return namespace["load"]

MAKERS = {
    "decorated": decorated,
    "decorated-and-counted": decorated_and_counted,
    "helper": with_helper,
    "attribute": with_attribute,
    "unwrapped": unwrapped,
    "bound": lambda table: Loader(table).load,
    "partial": lambda table: functools.partial(Loader(table).load),
    "nested-partial": lambda table: functools.partial(functools.partial(Loader(table).load)),
    "partialmethod": lambda table: Loader(table).of_day,
    "object": Calling,
    "class-method": of_class,
    "template": of_template,
    "program": of_program,
}

def asynchronous(fn):
    async def load(day):
        return fn(day)
    return load

def told(label, value):
    print(f"{label}: {json.dumps(value)}", flush=True)

def values(futures):
    return [each.result() for each in futures]
"""

BODY = """
def made(name, table, policy):
    return task(name=name, cache_policy=policy)(MAKERS[name](table))

def made_of_day(table):
    given = functools.partial(Loader(table).load, day="m")
    return task(name="given", cache_policy=INPUTS)(given)

@flow(persist_result=True)
def called(parameter):
    for name in MAKERS:
        found = []
        for policy in POLICIES:
            a, b = made(name, "a", policy), made(name, "b", policy)
            found.append([a("m"), b("m"), a("m"), made(name, "b", policy)("m")])
        told("called-" + name, found)
    told("given", [made_of_day(table)() for table in "abab"])

@flow(persist_result=True)
def submitted(parameter):
    for name in MAKERS:
        found = []
        for policy in POLICIES:
            a, b = made(name, "a", policy), made(name, "b", policy)
            first = [a.submit("m").result(), b.submit("m").result()]
            found.append([*first, *values(a.map(["m"])), *values(b.map(["m"]))])
        told("submitted-" + name, found)

@flow(persist_result=True)
async def asynchronously(parameter):
    for name in MAKERS:
        found = []
        for policy in POLICIES:
            a, b = (
                task(name="async-" + name, cache_policy=policy)(asynchronous(MAKERS[name](table)))
                for table in "ab"
            )
            found.append([await a("m"), await b("m"), await a("m"), await b("m")])
        told("async-" + name, found)

@flow(persist_result=True, task_runner=ProcessPoolTaskRunner(max_workers=1))
def in_processes(parameter):
    for name in MAKERS:
        found = []
        for policy in (INPUTS, DEFAULT):
            a, b = made(name, "a", policy), made(name, "b", policy)
            found.append([each.submit("p").result() for each in (a, b, a, b)])
        told("processes-" + name, found)

@flow
def changed():
    function = with_attribute("a")
    load = task(cache_policy=INPUTS, name="changed")(function)
    found = [load("m")]
    function.prefix = "b"
    found.append(load("m"))
    function.prefix = "a"
    told("changed", [*found, load("m", return_state=True).name])

class Counting:
    def __init__(self, table):
        self.table, self.calls = table, 0

    def __call__(self, day):
        self.calls += 1
        return self.table + day

@flow(persist_result=True)
def counting():
    loader = Counting("a")
    load = task(cache_policy=RUN_ID, name="counting")(loader)
    found = [load("m")]
    loader.table = "b"
    told("counting", [*found, load("m"), load("m", return_state=True).name])

@flow
def of_tasks():
    def make(prefix):
        @task(cache_policy=INPUTS)
        def of_task(day):
            return of_task.prefix + day
        of_task.prefix = prefix
        return of_task
    told("of-tasks", [make(prefix)("m") for prefix in "aba"])

attempts = []

@flow(retries=1)
def retried():
    attempts.append(1)
    first = len(attempts) == 1
    found = {
        name: [task(name=name)(make(table))("m") for table in ("ab" if first else "bc")]
        for name, make in MAKERS.items()
    }
    if first:
        raise ValueError
    told("retried", found)

called(1)
submitted(2)
asyncio.run(asynchronously(3))
in_processes(4)
changed()
counting()
of_tasks()
retried()
"""

NAMES = [
    *("decorated", "decorated-and-counted", "helper", "attribute", "unwrapped", "bound"),
    *("partial", "nested-partial", "partialmethod", "object", "class-method", "template"),
    "program",
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with told(HEAD + BODY, folder=tmp_path_factory.mktemp("keys")) as program:
        yield program


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["called", "submitted", "async", "processes"])
def test_two_tasks_have_two_keys(program: Told, how: str, name: str) -> None:
    found = json.loads(program.printed(f"{how}-{name}"))
    end = "p" if how == "processes" else "m"
    assert found == [[table + end for table in "abab"]] * len(found)


@pytest.mark.parametrize("name", NAMES)
def test_equal_tasks_find_their_results(program: Told, name: str) -> None:
    """Half of the calls: each of the two tasks is called twice, or created twice."""
    (flow,) = [run for run in program.flows if run.flow_name == "called"]
    runs = [run for run in program.children(flow) if getattr(run, "task_name", "") == name]
    names = [run.state.name for run in runs]
    assert sorted(names) == ["Cached"] * 14 + ["Completed"] * 14


def test_a_partial_that_is_given_all_is_told_apart(program: Told) -> None:
    assert json.loads(program.printed("given")) == ["am", "bm", "am", "bm"]


def test_an_attribute_counts_as_it_is_at_the_call(program: Told) -> None:
    assert json.loads(program.printed("changed")) == ["am", "bm", "Cached"]


def test_an_object_that_counts_its_calls_is_not_frozen(program: Told) -> None:
    assert json.loads(program.printed("counting")) == ["am", "bm", "Cached"]


def test_an_attribute_of_a_task_counts(program: Told) -> None:
    assert json.loads(program.printed("of-tasks")) == ["am", "bm", "am"]


@pytest.mark.parametrize("name", NAMES)
def test_a_retried_flow_keeps_the_results_of_each_task(program: Told, name: str) -> None:
    assert json.loads(program.printed("retried"))[name] == ["bm", "cm"]


def test_nothing_is_known_in_one_process_only(program: Told) -> None:
    lines = [line for run in program.tasks for line in program.logs(run)]
    assert not [line for line in lines if "this process" in line]


AGAIN = """
@flow(persist_result=True)
def again():
    for name, make in MAKERS.items():
        load = task(name=name, cache_policy=INPUTS + TASK_SOURCE)(make("a"))
        print(name, load("m", return_state=True).name, load("m", return_state=True).name)
    for _ in range(2):
        load = with_attribute("a")
        load.file = open(__file__)
        load = task(name="local", cache_policy=INPUTS)(load)
        print("local", load("m", return_state=True).name, load("m", return_state=True).name)

again()
"""


def test_keys_are_the_same_in_every_process(service: ServiceProcess, flowspan_home: Path) -> None:
    outputs = []
    for _ in range(2):
        with FlowProcess(HEAD + AGAIN, home=flowspan_home, address=service.address) as process:
            outputs.append(process.finish().splitlines())
    local = ["local Completed Cached"] * 2
    first, second = outputs
    assert first == [f"{name} Completed Cached" for name in NAMES] + local
    assert second == [f"{name} Cached Cached" for name in NAMES] + local
    found = Told(service.channel, "", service.address)
    warnings = [line for run in found.tasks for line in found.logs(run) if "this process" in line]
    assert len(warnings) == 4
    assert all("'file'" in line and "cache_key_fn" in line for line in warnings)


PROGRAM = """
import functools
from flowspan import flow, task
from flowspan.cache_policies import INPUTS
from flowspan.task_runners import ProcessPoolTaskRunner

def with_prefix(prefix, fn):
    @functools.wraps(fn)
    def wrapper(day):
        return prefix + fn(day)
    return wrapper

def load(day):
    return day

a, b = (task(cache_policy=INPUTS)(with_prefix(prefix, load)) for prefix in "ab")

@task
def calling(tasks):
    return [each("m") for each in tasks]

@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def by_name():
    print(*calling.submit([a, b]).result(), a("m"), b("m"))

if __name__ == "__main__":
    by_name()
"""


def test_wrappers_are_told_apart_in_a_worker_process(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    """The program has a module name (`python -m`), and so have the functions that it wraps."""
    flowspan_home.mkdir(parents=True, exist_ok=True)
    (flowspan_home / "named_program.py").write_text(PROGRAM)
    code = "import runpy; runpy.run_module('named_program', run_name='__main__', alter_sys=True)"
    with FlowProcess(code, home=flowspan_home, address=service.address) as process:
        assert process.finish().split() == ["am", "bm", "am", "bm"]
