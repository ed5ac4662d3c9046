"""Keys computed inside worker processes, of objects that were sent by value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import ServiceProcess

PROGRAM = """
import dataclasses, enum, functools, json, os, runpy, sys
from flowspan import flow, task
from flowspan.cache_policies import INPUTS, NO_CACHE
from flowspan.task_runners import ProcessPoolTaskRunner

def by_exec(table):
    namespace = {"TABLE": table}
    exec("def load(day): return TABLE + day", namespace)
    return namespace["load"]

def by_exec_with_globals(table):
    namespace = {**globals(), "TABLE": table}
    exec("def load(day): return TABLE + day", namespace)
    return namespace["load"]

def by_exec_with_helper(table):
    namespace = {"TABLE": table}
    exec("def helper(day): return TABLE + day\\ndef load(day): return helper(day)", namespace)
    return namespace["load"]

def by_runpy(table):
    path = os.path.join(os.environ["FLOWSPAN_HOME"], "made.py")
    with open(path, "w") as file:
        file.write("def load(day): return TABLE + day")
    return runpy.run_path(path, init_globals={"TABLE": table})["load"]

def load(day):
    return "a" + day

def replaced(table, first=load):
    return first if table == "a" else load

def load(day):
    return "b" + day

def identity(day):
    return day

def by_default(prefix):
    @functools.wraps(identity)
    def wrapper(day, prefix=prefix):
        return prefix + identity(day)
    return wrapper

def by_keyword_default(prefix):
    @functools.wraps(identity)
    def wrapper(day, *, prefix=prefix):
        return prefix + identity(day)
    return wrapper

def by_closure(prefix):
    @functools.wraps(identity)
    def wrapper(day):
        return prefix + identity(day)
    return wrapper

def by_attribute(prefix):
    @functools.wraps(identity)
    def wrapper(day):
        return wrapper.prefix + day
    wrapper.prefix = prefix
    return wrapper

class Loader:
    @staticmethod
    def load(day):
        return "a" + day

FirstLoader = Loader

class Loader:
    @staticmethod
    def load(day):
        return "b" + day

def of_a_class(table):
    return (FirstLoader if table == "a" else Loader).load

MAKERS = [
    by_exec, by_exec_with_globals, by_exec_with_helper, by_runpy, replaced, by_default,
    by_keyword_default, by_closure, by_attribute, of_a_class,
]
TASKS = {
    f"{make.__name__}-{'inputs' if options else 'default'}": [
        task(make(table), **options) for table in "ab"
    ]
    for make in MAKERS
    for options in ({}, {"cache_policy": INPUTS})
}

class Point:
    def table(self):
        return "a"

First = Point

class Point:
    def table(self):
        return "b"

@dataclasses.dataclass
class Row:
    table: str = "a"

FirstRow = Row

@dataclasses.dataclass
class Row:
    table: str = "b"

class Colour(enum.Enum):
    TABLE = "a"

FirstColour = Colour

class Colour(enum.Enum):
    TABLE = "b"

def function():
    return "a"

first_function = function

def function():
    return "b"

def noted(text):
    error = FileNotFoundError(2, text)
    error.add_note("a note")
    return error

def caught(text):
    try:
        raise KeyError(text)
    except KeyError as error:
        return error

INPUTS_OF = {
    "objects": (First(), Point()),
    "classes": (First, Point),
    "rows": (FirstRow(), Row()),
    "row classes": (FirstRow, Row),
    "colours": (FirstColour.TABLE, Colour.TABLE),
    "functions": (first_function, function),
    "functions of exec": (by_exec("a"), by_exec("b")),
    "errors": (ValueError("a"), ValueError("b")),
    "errors with notes": (noted("a"), noted("b")),
    "caught errors": (caught("a"), caught("b")),
}
LOOK = {
    "objects": lambda it: it.table(),
    "classes": lambda it: it().table(),
    "rows": lambda it: it.table,
    "row classes": lambda it: it().table,
    "colours": lambda it: it.value,
    "functions": lambda it: it(),
    "functions of exec": lambda it: it("")[:1],
    "errors": lambda it: it.args[-1],
    "errors with notes": lambda it: it.args[-1],
    "caught errors": lambda it: it.args[-1],
}

@task
def look(kind, it):
    return LOOK[kind](it)

@task(cache_policy=NO_CACHE)
def calling(tasks):
    return [each("m") for each in tasks]

@task(cache_policy=NO_CACHE)
def looking(kind, inputs):
    return [look(kind, each) for each in inputs]

@task(cache_policy=INPUTS)
def where(it):
    return os.getpid()

@task(cache_policy=NO_CACHE)
def nested_where(it):
    return where(it)

@flow(persist_result=True, task_runner=ProcessPoolTaskRunner(max_workers=1))
def main():
    calls = {name: calling.submit(tasks).result() for name, tasks in TASKS.items()}
    looks = {kind: looking.submit(kind, list(each)).result() for kind, each in INPUTS_OF.items()}
    # Results stored here are found in the worker.
    found = {
        f"{kind} {number}": where(each) == nested_where.submit(each).result()
        for kind, inputs in INPUTS_OF.items()
        for number, each in enumerate(inputs)
    }
    return {"calls": calls, "looks": looks, "found": found, "retried": retried.submit().result()}

@task(cache_policy=NO_CACHE)
def retried():
    return {name: changing_order(name) for name in TASKS}

attempts = {}

@flow(retries=1)
def changing_order(name):
    first, second = TASKS[name]
    attempts[name] = attempts.get(name, 0) + 1
    if attempts[name] == 1:
        first("r"), second("r")
        raise ValueError
    return [second("r"), first("r")]

if __name__ == "__main__":
    print(json.dumps(main()))
"""


@pytest.mark.parametrize("way", ["script", "python -m"])
def test_what_was_sent_by_value_has_the_keys_that_it_has_at_home(
    way: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    flowspan_home.mkdir(parents=True, exist_ok=True)
    code = PROGRAM
    if way == "python -m":
        (flowspan_home / "keys_program.py").write_text(PROGRAM)
        code = "import runpy; runpy.run_module('keys_program', run_name='__main__', alter_sys=True)"
    env = {"FLOWSPAN_LOGGING_TO_CONSOLE": "0"}
    with FlowProcess(code, home=flowspan_home, address=service.address, env=env) as process:
        told = json.loads(process.finish())
    for name, result in told["calls"].items():
        assert (name, result) == (name, ["am", "bm"])
    for kind, result in told["looks"].items():
        assert (kind, result) == (kind, ["a", "b"])
    for name, result in told["retried"].items():
        assert (name, result) == (name, ["br", "ar"])
    assert [name for name, is_found in told["found"].items() if not is_found] == []
