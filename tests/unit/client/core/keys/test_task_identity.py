"""Task identity: which tasks share their keys."""

from __future__ import annotations

import enum
import functools
import importlib
import itertools
import linecache
import pickle
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cloudpickle  # type: ignore[import-untyped] # untyped
import pytest

from flowspan import task
from flowspan.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    RUN_ID,
    TASK_SOURCE,
    parts_of_inputs,
)
from flowspan.core.keys import qualified_names as names
from flowspan.core.keys.hashing import stable_hash
from flowspan.core.keys.task_identity import identity_of
from flowspan.core.result_options import TaskContext

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowspan.cache_policies import CachePolicy

POLICIES = [
    *(INPUTS, TASK_SOURCE, RUN_ID, FLOW_PARAMETERS, DEFAULT),
    *(INPUTS + TASK_SOURCE, RUN_ID + FLOW_PARAMETERS, INPUTS - "verbose" + TASK_SOURCE),
]


def key(
    policy: CachePolicy, of: Any, *positional: Any, args: tuple[Any, ...] | None = None
) -> str | None:
    """Return the key of a task's call in a fixed flow run."""
    run: Any = SimpleNamespace(id="task-run", flow_run_id="flow-run")
    if args is None:
        args = positional or ("m",) * (2 if of.fn is query else 1)
    inputs = parts_of_inputs(of.binding.bind(args, {}), of.fn)
    return policy.compute_key(TaskContext(of, run, inputs), inputs, {"p": 1})


def closing(table: Any) -> Any:
    @task
    def load(day: str) -> Any:
        return table, day

    return load


def closing_over_a_function(table: Any) -> Any:
    def query(day: str) -> Any:
        return table, day

    @task
    def load(day: str) -> Any:
        return query(day)

    return load


def recursive(table: Any) -> Any:
    def query(day: str) -> Any:
        return table if day else query(day)

    return task(name="load")(query)


def by_default(table: Any) -> Any:
    @task
    def load(day: str, table: Any = table) -> Any:
        return table, day

    return load


def by_keyword(table: Any) -> Any:
    @task
    def load(day: str, *, table: Any = table) -> Any:
        return table, day

    return load


def a_lambda(table: Any) -> Any:
    return task(name="load")(lambda day: (table, day))


def query(table: Any, day: str) -> Any:
    return table, day


def a_partial(table: Any) -> Any:
    return task(name="load")(functools.partial(query, table))


def query_of(day: str, table: Any) -> Any:
    return table, day


def a_partial_by_keyword(table: Any) -> Any:
    return task(name="load")(functools.partial(query_of, table=table))


class Loader:
    def __init__(self, table: Any) -> None:
        self.table = table

    def __call__(self, day: str) -> Any:
        return self.table, day

    def load(self, day: str) -> Any:
        return self.table, day

    @task
    def as_task(self, day: str) -> Any:
        return self.table, day


def wrapped(table: Any) -> Any:
    def load(day: str) -> Any:
        return day

    @functools.wraps(load)
    def wrapper(day: str) -> Any:
        return table, load(day)

    return task(wrapper)


def an_asynchronous(table: Any) -> Any:
    @task
    async def load(day: str) -> Any:
        return table, day

    return load


def a_generator(table: Any) -> Any:
    @task
    def load(day: str) -> Any:
        yield table, day

    return load._collected


MAKERS: list[Callable[[Any], Any]] = [
    *(closing, closing_over_a_function, recursive, by_default, by_keyword, a_lambda),
    *(a_partial, a_partial_by_keyword, wrapped, an_asynchronous, a_generator),
    lambda table: task(name="load")(Loader(table)),
    lambda table: task(name="load")(Loader(table).load),
    lambda table: Loader(table).as_task,
]
NAMES = [
    *("closing", "function", "recursive", "default", "keyword", "lambda", "partial"),
    *("partial-by-keyword", "wrapped", "async", "generator", "object", "bound", "method"),
]


@pytest.mark.parametrize("make", MAKERS, ids=NAMES)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_no_two_tasks_share_a_key(policy: CachePolicy, make: Callable[[Any], Any]) -> None:
    tables = ["a", "b", 1, 1.0, True, {"t": "a"}, {"t": "b"}, ["a"], Loader("a"), Loader("b"), len]
    tasks = [make(table) for table in tables]
    keys = [key(policy, each) for each in tasks]
    assert None not in keys
    assert len(set(keys)) == len(tables)
    assert keys == [key(policy, each) for each in tasks]
    assert keys == [key(policy, make(table)) for table in tables]


class Base:
    @classmethod
    def load(cls, day: str) -> Any:
        return cls, day

    @staticmethod
    def free(day: str) -> Any:
        return day


class Derived(Base):
    pass


def conditional(which: int) -> Any:
    if which == 1:

        @task
        def load(day: str) -> str:
            return day

    else:

        @task
        def load(day: str) -> str:
            return day[::-1]

    return load


@task
def twice_defined(day: str) -> str:
    return day


first_defined = twice_defined


@task  # type: ignore[no-redef] # under test
def twice_defined(day: str) -> str:
    return day[::-1]


@task
def once_defined(day: str) -> str:
    return day


DIFFERENT: dict[str, list[Any]] = {
    "names": [once_defined, once_defined.with_options(name="other"), task(query), task(len)],
    "one name": [task(name="x")(each) for each in (query, closing, len, max, Loader("a"), Loader)],
    "classes": [task(Base.load), task(Derived.load), task(Base.free)],
    "one qualified name": [conditional(1), conditional(2)],
    "defined twice": [first_defined, twice_defined],
    # All on one line, and so with the same source line.
    "lambdas": [task(name="x")(f) for f in (lambda d: d, lambda d: -d, lambda d: d + 1)],
    "makers": [make("a") for make in MAKERS],
}


@pytest.mark.parametrize("kind", DIFFERENT)
@pytest.mark.parametrize("policy", [TASK_SOURCE, RUN_ID, FLOW_PARAMETERS], ids=repr)
def test_different_tasks_have_different_keys(policy: CachePolicy, kind: str) -> None:
    tasks = DIFFERENT[kind]
    assert len({key(policy, each) for each in tasks}) == len(tasks)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_other_options_make_no_other_task(policy: CachePolicy) -> None:
    for each in (once_defined, closing("a"), Loader("a").as_task):
        other = each.with_options(retries=3, tags=["x"])
        assert key(policy, each) == key(policy, other)


def of_a_template(table: Any) -> Any:
    """Return a task from code that is executed per table, with a counter that it changes."""
    namespace = {"TABLES": (table, 1), "calls": 0}
    source = "def load(day):\n    global calls\n    calls += 1\n    return TABLES, day"
    exec(source, namespace)  # noqa: S102 - as in programs that generate tasks
    return task(namespace["load"])


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_tasks_of_one_template_are_told_apart_by_their_globals(policy: CachePolicy) -> None:
    tables = ["a", "b", b"a", 1, 1.0, True]
    tasks = [of_a_template(table) for table in tables]
    keys = [key(policy, each) for each in tasks]
    assert len(set(keys)) == len(tables)
    tasks[0].fn("a day")
    assert keys == [key(policy, each) for each in tasks]
    assert keys == [key(policy, of_a_template(table)) for table in tables]
    without = [key(INPUTS - "day", each) for each in tasks]
    assert len(set(without)) == len(tables)


def test_the_loop_variable_counts_as_it_is_at_the_call() -> None:
    tasks = []
    for table in "ab":

        @task
        def load(day: str) -> Any:
            return table, day  # noqa: B023 - the subject of the test

        tasks.append(load)
    assert key(INPUTS, tasks[0]) == key(INPUTS, tasks[1])
    before = key(INPUTS, tasks[0])
    table = "c"
    assert key(INPUTS, tasks[0]) != before


def test_what_is_changed_in_place_counts() -> None:
    table = {"t": "a"}
    load = closing(table)
    before = key(INPUTS, load)
    table["t"] = "b"
    assert key(INPUTS, load) != before


def test_what_a_task_changes_itself_counts_as_it_was() -> None:
    """For example, a cached task that counts its calls must keep its key."""
    calls: list[str] = []
    counts: dict[str, int] = {"n": 0}
    number = 0
    done = threading.Event()
    ids = itertools.count()

    @task
    def load(day: str) -> str:
        nonlocal number
        assert next(ids) == 0
        number += 1
        calls.append(day)
        counts["n"] += 1
        done.set()
        return day

    before = key(INPUTS, load)
    assert load.fn("x") == "x"
    assert key(INPUTS, load) == before
    assert not load.code.first_seen.local


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_what_cannot_be_hashed_is_known_in_this_process(policy: CachePolicy) -> None:
    clients = [SimpleNamespace(lock=open) for _ in range(2)]
    for client in clients:
        client.opened = (each for each in ())
    tasks = [closing(client) for client in clients]
    keys = [key(policy, each) for each in tasks]
    assert len(set(keys)) == 2
    assert keys == [key(policy, each) for each in tasks]
    assert set(tasks[0].code.first_seen.local) == {"table"}


def test_what_is_left_out_is_left_out_of_the_task() -> None:
    for policy in (INPUTS - "table", INPUTS - "table" + TASK_SOURCE, RUN_ID + (INPUTS - "table")):
        assert key(policy, by_default("a")) == key(policy, by_default("b"))
        assert key(policy, a_partial_by_keyword("a")) == key(policy, a_partial_by_keyword("b"))
    for policy in (INPUTS - "self", INPUTS - "self" + RUN_ID):
        assert key(policy, Loader("a").as_task) == key(policy, Loader("b").as_task)


def test_calls_with_the_same_inputs_share_a_key() -> None:
    assert key(INPUTS, by_default("a"), "m") == key(INPUTS, by_default("a"), "m", "a")
    assert key(RUN_ID, by_default("a"), "m") == key(RUN_ID, by_default("a"), "n")


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_copy_in_another_process_is_the_same_task(policy: CachePolicy) -> None:
    for each in (closing({"t": ["a"]}), by_keyword("a"), once_defined, a_partial("a")):
        copied = pickle.loads(cloudpickle.dumps(each))  # noqa: S301 - pickled by this test
        assert key(policy, each) == key(policy, copied)


SOURCE = """
from flowspan import task

@task
def load(x):
    return "one"

def make():
    @task
    def inner(x):
        return "one"
    return inner

def wrap(fn):
    def wrapper(x):
        return fn(x)
    return wrapper

@task
@wrap
def wrapped(x):
    return "one"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Yield a module whose file can be edited: `tmp_path / "edited_module.py"`."""
    path = tmp_path / "edited_module.py"
    path.write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("edited_module")
    del sys.modules["edited_module"]
    linecache.checkcache(str(path))


def test_the_source_is_that_of_the_code_that_runs(module: Any, tmp_path: Path) -> None:
    """The file is edited after the import, as in a long-lived process."""
    path = tmp_path / "edited_module.py"
    path.write_text(SOURCE.replace('"one"', '"another"').replace("\n@task", "\n# Edited.\n@task"))
    linecache.checkcache(str(path))
    names = ("load", "wrapped")
    old = [getattr(module, name) for name in names]
    old += [each.with_options(retries=2) for each in old]
    old.append(module.make())  # Decorated after the edit, from code that is older than the edit.
    keys = {key(TASK_SOURCE, each) for each in old}
    assert len(keys) == 3
    del sys.modules["edited_module"]
    linecache.checkcache(str(path))
    importlib.invalidate_caches()
    for cached in tmp_path.glob("__pycache__/*"):
        cached.unlink()
    new = importlib.import_module("edited_module")
    assert not keys & {key(TASK_SOURCE, each) for each in (new.load, new.wrapped, new.make())}


def test_a_function_without_source_has_its_code() -> None:
    made: dict[str, Any] = {"__name__": "nowhere"}
    exec("def f(x): return x + 1\ndef g(x): return x + 2", made)  # noqa: S102 - has no source
    first, second = made["f"], made["g"]
    second.__name__ = second.__qualname__ = "f"
    assert key(TASK_SOURCE, task(first)) != key(TASK_SOURCE, task(second))
    assert identity_of(task(first)) != identity_of(task(second))


def made_by_code(source: str, **namespace: Any) -> Any:
    """Return a task from code that is executed in a namespace of its own."""
    namespace["task"] = task
    exec(source, namespace)  # noqa: S102 - as in programs that generate tasks
    return namespace["load"]


TEMPLATES = {
    "function": "def q(day): return TABLE, day\n@task\ndef load(day): return q(day)",
    "functions in a circle": "def q(day): return load.fn(day) or TABLE\n"
    "@task\ndef load(day): return q(day)",
    "task": "@task\ndef q(day): return TABLE, day\n@task\ndef load(day): return q(day)",
    "dictionary": "SETTINGS = {'t': [TABLE]}\n@task\ndef load(day): return SETTINGS['t'], day",
    "list": "@task\ndef load(day): return TABLES[0], day\nTABLES = [TABLE]",
    "set": "@task\ndef load(day): return TABLES, day\nTABLES = {TABLE, None}",
    "class": "class C:\n    held = TABLE\n@task\ndef load(day): return C.held, day",
    "method": "class C:\n    def of(self): return TABLE\n"
    "@task\ndef load(day): return C().of(), day",
    "object": "from types import SimpleNamespace\nOF = SimpleNamespace(table=TABLE)\n"
    "@task\ndef load(day): return OF.table, day",
    "partial": "from functools import partial\nq = partial(lambda table, day: (table, day), TABLE)"
    "\n"
    "@task\ndef load(day): return q(day)",
    "closure": "def make(table):\n    return lambda day: (table, day)\nq = make(TABLE)\n"
    "@task\ndef load(day): return q(day)",
    "circle": "from types import SimpleNamespace\nCIRCLE = SimpleNamespace()\nCIRCLE.me = CIRCLE\n"
    "@task\ndef load(day): return CIRCLE, TABLE, day",
}


@pytest.mark.parametrize("source", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_tasks_of_one_template_are_told_apart_by_what_they_call(
    policy: CachePolicy, source: str
) -> None:
    tables = ["a", "b", b"a", 1, 1.0, True]
    tasks = [made_by_code(source, TABLE=table) for table in tables]
    keys = [key(policy, each) for each in tasks]
    assert len(set(keys)) == len(tables)
    assert keys == [key(policy, each) for each in tasks]
    assert keys == [key(policy, made_by_code(source, TABLE=table)) for table in tables]


def test_globals_that_a_task_changes_make_no_other_task() -> None:
    source = """
import itertools, logging, threading
calls, counts, number, lock, ids = [], {"n": 0}, 0, threading.Lock(), itertools.count()
log = logging.getLogger("a")
@task
def load(day):
    global number
    number += 1
    calls.append(day)
    counts["n"] += 1
    next(ids)
    return log, lock, day
"""
    load = made_by_code(source)
    before = key(INPUTS, load)
    load.fn("m")
    assert key(INPUTS, load) == before
    assert key(INPUTS, made_by_code(source)) == before
    assert not load.code.first_seen.local


def an_enumeration(table: Any) -> Any:
    class Tables(enum.Enum):
        ONE = 1

        def held(self) -> Any:
            return table

        @property
        def made_up(self) -> Any:
            return table

    return Tables.ONE


def test_methods_of_an_enumeration_count() -> None:
    first, second, again = (an_enumeration(table) for table in "aba")
    assert stable_hash(first) == stable_hash(again) != stable_hash(second)
    assert key(INPUTS, closing(first)) == key(INPUTS, closing(again))
    assert key(INPUTS, closing(first)) != key(INPUTS, closing(second))


def in_the_program(table: Any) -> Any:
    """Return a task from code that is executed in a copy of the program's namespace."""
    namespace = {**vars(sys.modules["__main__"]), "TABLE": table}
    exec("def load(day): return TABLE, day", namespace)  # noqa: S102 - like a program
    return task(namespace["load"])


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_copy_of_the_programs_namespace_counts(policy: CachePolicy) -> None:
    keys = [key(policy, in_the_program(table)) for table in "abab"]
    assert keys == keys[:2] * 2
    assert len(set(keys)) == 2


def wrapper_of_the_program(table: Any) -> Any:
    """Return a function of the program with the name of the function that it wraps."""

    def wrapper(day: str) -> Any:
        return table, day

    wrapper.__module__, wrapper.__name__, wrapper.__qualname__ = "__main__", "load", "load"
    return wrapper


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_wrappers_are_told_apart_in_a_worker_process(
    policy: CachePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "program_name", lambda: "program")
    by_name, by_code = task(wrapper_of_the_program("a")), task(wrapper_of_the_program("b"))
    monkeypatch.setattr(sys.modules["__main__"], "load", by_name, raising=False)
    keys = [key(policy, each) for each in (by_name, by_code)]
    pickles = [cloudpickle.dumps(each) for each in (by_name, by_code)]
    monkeypatch.setattr(names, "_of_program", "program")
    for _ in range(2):  # In the worker, and in a worker of the worker.
        copied = [pickle.loads(each) for each in pickles]  # noqa: S301 - pickled by this test
        assert [key(policy, each) for each in copied] == keys
        pickles = [cloudpickle.dumps(each) for each in copied]
    assert len(set(keys)) == 2


def test_the_first_pickle_of_an_object_makes_no_other_class() -> None:
    class Local:
        @classmethod
        def load(cls, day: str) -> Any:
            return cls, day

    load = task(Local.load)
    before = key(RUN_ID, load)
    assert stable_hash(Local())
    assert "__slotnames__" in vars(Local)
    assert key(RUN_ID, load) == before


def test_a_partial_that_was_looked_at_is_the_same() -> None:
    class Derived(functools.partial):  # type: ignore[type-arg] # any type
        pass

    for kind in (functools.partial, Derived):
        fn = kind(closing("a").fn)
        load = task(name="load")(lambda day, fn=fn: fn(day))
        before = key(RUN_ID, load), stable_hash(fn)
        assert vars(fn) == {}  # It has a dictionary from here on.
        assert (key(RUN_ID, load), stable_hash(fn)) == before
