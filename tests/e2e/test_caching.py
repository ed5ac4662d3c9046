"""Cache policies, storage, serializers and transactions, sync and async, on a service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.reported_program import Told, told

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """
import asyncio, json, os, threading, time
from datetime import timedelta
from flowspan import flow, task
from flowspan.cache_policies import *
from flowspan.exceptions import ConfigError
from flowspan.locking.filesystem import FileSystemLockManager
from flowspan.locking.memory import MemoryLockManager
from flowspan.results import ResultStore
from flowspan.transactions import atransaction, get_transaction, transaction

HOME = os.environ["FLOWSPAN_HOME"]

class OddAndEven(CachePolicy):
    def compute_key(self, task_ctx, inputs, flow_parameters, **kwargs):
        return f"{task_ctx.task.name}-{inputs['n'] % 2}"

def key_of(context, parameters):
    n = parameters["n"]
    return None if n == 1 else f"{context.task.name}-{n}"

hour = timedelta(hours=1)
policies = {
    "inputs": dict(cache_policy=INPUTS),
    "task-source": dict(cache_policy=TASK_SOURCE),
    "run-id": dict(cache_policy=RUN_ID),
    "flow-parameters": dict(cache_policy=FLOW_PARAMETERS),
    "default": dict(cache_policy=DEFAULT),
    "persisted": dict(persist_result=True),
    "no-cache": dict(cache_policy=NO_CACHE, persist_result=True),
    "added": dict(cache_policy=INPUTS + FLOW_PARAMETERS),
    "taken-out": dict(cache_policy=INPUTS - "n"),
    "added-and-taken-out": dict(cache_policy=INPUTS + FLOW_PARAMETERS - "n"),
    "key-fn-policy": dict(cache_policy=CacheKeyFnPolicy(cache_key_fn=key_of)),
    "key-fn": dict(cache_key_fn=key_of),
    "of-ones-own": dict(cache_policy=OddAndEven()),
    "not-persisted": dict(cache_policy=INPUTS, persist_result=False),
    "expired": dict(cache_policy=INPUTS, cache_expiration=timedelta(0)),
    "not-yet-expired": dict(cache_policy=INPUTS, cache_expiration=hour),
    "refreshed": dict(cache_policy=INPUTS, refresh_cache=True),
    "key-storage": dict(cache_policy=INPUTS.configure(key_storage=HOME + "/keys")),
    "not-in-memory": dict(cache_policy=INPUTS, cache_result_in_memory=False),
    "json": dict(cache_policy=INPUTS, result_serializer="json"),
    "compressed-json": dict(cache_policy=INPUTS, result_serializer="compressed/json"),
    "compressed-pickle": dict(cache_policy=INPUTS, result_serializer="compressed/pickle"),
    "memory": dict(cache_policy=INPUTS, result_storage="memory://caching"),
    "file": dict(cache_policy=INPUTS, result_storage=f"file://{HOME}/elsewhere"),
}
asked = {"plain": 0, "async": 0}
seen = []

class Counted(Inputs):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def compute_key(self, *args, **kwargs):
        asked[self.kind] += 1
        return super().compute_key(*args, **kwargs)

def told(label):
    print(f"{label}: {json.dumps(seen)}", flush=True)
    seen.clear()
"""

BODY = """
def made_KIND(name, options):
    ASYNC def fn(n):
        return {"n": n, "name": name}
    fn.__qualname__ = name
    return task(name=name, **options)(fn)

tasks_KIND = {name: made_KIND(name + "-KIND", options) for name, options in policies.items()}
@flow(validate_parameters=False)
ASYNC def cached_KIND(parameter):
    for name, each in tasks_KIND.items():
        for n in (0, 1, 0):
            assert (AWAIT each(n))["name"] == name + "-KIND"

@task(cache_policy=INPUTS)
ASYNC def unhashable_KIND(lock):
    return 1

@task(result_storage_key="named-KIND/{parameters[n]}.bin")
ASYNC def named_KIND(n):
    return n

@task(cache_policy=INPUTS, result_storage="/dev/null/results")
ASYNC def unwritable_KIND(n):
    return n

@task(cache_policy=INPUTS, result_storage=HOME + "/damaged-KIND")
ASYNC def damaged_KIND(n):
    return n

@task(cache_policy=Counted("KIND").configure(
    isolation_level="SERIALIZABLE", lock_manager=MemoryLockManager()
))
ASYNC def locked_KIND(n):
    while asked["KIND"] < 3:  # until the others are about to look
        AWAIT SLEEP(0.001)
    return n

@task(cache_policy=INPUTS.configure(isolation_level="SERIALIZABLE"))
ASYNC def without_locks_KIND(n):
    return n

@flow
ASYNC def others_KIND():
    assert AWAIT unhashable_KIND(threading.Lock()) == 1
    assert [AWAIT named_KIND(1), AWAIT named_KIND(1)] == [1, 1]
    assert [AWAIT unwritable_KIND(1), AWAIT unwritable_KIND(1)] == [1, 1]
    assert AWAIT damaged_KIND(1) == 1
    (file,) = os.listdir(HOME + "/damaged-KIND")
    os.truncate(HOME + "/damaged-KIND/" + file, 100)
    assert [AWAIT damaged_KIND(1), AWAIT damaged_KIND(1)] == [1, 1]
    futures = locked_KIND.map([5, 5, 5])
    assert [future.result() for future in futures] == [5, 5, 5]
    AWAIT without_locks_KIND(1, return_state=True)

ASYNC def note_commit_KIND(txn):
    seen.append("commit " + txn.get("name"))

ASYNC def note_rollback_KIND(txn):
    seen.append("rollback " + txn.get("name"))

@task(task_run_name="{name}", on_commit=[note_commit_KIND], on_rollback=[note_rollback_KIND])
ASYNC def step_KIND(name):
    get_transaction().set("name", name)
    if name == "fails":
        raise ValueError(name)
    return name

@flow
ASYNC def lazy_KIND():
    ASYNC with TRANSACTION():
        AWAIT step_KIND("a")
        ASYNC with TRANSACTION():
            AWAIT step_KIND("b")
        seen.append("inner ended")
    seen.append("outer ended")

@flow
ASYNC def eager_KIND():
    ASYNC with TRANSACTION():
        AWAIT step_KIND("a")
        ASYNC with TRANSACTION(commit_mode="EAGER"):
            AWAIT step_KIND("b")
        seen.append("inner ended")
        raise ValueError("later")

@flow
ASYNC def off_KIND():
    ASYNC with TRANSACTION(commit_mode="OFF"):
        AWAIT step_KIND("a")
    ASYNC with TRANSACTION(commit_mode="OFF") as txn:
        AWAIT step_KIND("b")
        assert AWAIT txn.commit()

@flow
ASYNC def inner_fails_KIND():
    ASYNC with TRANSACTION():
        AWAIT step_KIND("a")
        try:
            ASYNC with TRANSACTION():
                AWAIT step_KIND("b")
                AWAIT step_KIND("c")
                AWAIT step_KIND("fails")
        except ValueError:
            seen.append("caught")

@flow
ASYNC def submitted_KIND():
    ASYNC with TRANSACTION():
        step_KIND.map(["a"]).wait()
        step_KIND.submit("b").wait()
        step_KIND.submit("fails").wait()

@flow
ASYNC def by_hand_KIND():
    ASYNC with TRANSACTION() as txn:
        AWAIT step_KIND("a")
        assert AWAIT txn.rollback() and txn.is_rolled_back()

@flow
ASYNC def checkpoint_KIND():
    for overwrite in (False, False, True, False):
        ASYNC with TRANSACTION("checkpoint-KIND", overwrite=overwrite) as txn:
            if txn.is_committed():
                seen.append((AWAIT txn.read()).result)
            else:
                txn.stage(f"staged {len(seen)}")
                seen.append("worked")
    ASYNC with TRANSACTION("unwritten-KIND", write_on_commit=False) as txn:
        txn.stage("nothing")
    ASYNC with TRANSACTION("unwritten-KIND") as txn:
        seen.append(txn.is_committed())
    try:
        ASYNC with TRANSACTION("checkpoint-KIND", isolation_level="SERIALIZABLE"):
            raise AssertionError
    except ConfigError as error:
        seen.append(str(error)[:46])

store_KIND = ResultStore(lock_manager=FileSystemLockManager(HOME + "/locks"))
arrived_KIND = []

@task
ASYNC def guarded_KIND(n):
    arrived_KIND.append(n)
    ASYNC with TRANSACTION("k-KIND", store=store_KIND, isolation_level="SERIALIZABLE") as txn:
        while len(arrived_KIND) < 2:  # until the other is about to ask for the lock
            AWAIT SLEEP(0.001)
        if not txn.is_committed():
            seen.append("worked")
            AWAIT SLEEP(0.02)
            txn.stage("once")
        else:
            seen.append((AWAIT txn.read()).result)

@flow
ASYNC def serializable_KIND():
    futures = [guarded_KIND.submit(n) for n in (1, 2)]
    [future.wait() for future in futures]

SCENARIOS = [
    lazy_KIND, eager_KIND, off_KIND, inner_fails_KIND, submitted_KIND, by_hand_KIND,
    checkpoint_KIND, serializable_KIND,
]
for parameter in (1, 1, 2):
    RUN(cached_KIND(parameter))
RUN(others_KIND())
for scenario in SCENARIOS:
    RUN(scenario(return_state=True))
    told(scenario.name)
"""


def program_of(kind: str) -> str:
    """Return the program with sync functions, or with async ones."""
    is_async = kind == "async"
    words = {
        "KIND": kind,
        "ASYNC ": "async " if is_async else "",
        "AWAIT ": "await " if is_async else "",
        "TRANSACTION(": "atransaction(" if is_async else "transaction(",
        "SLEEP(": "asyncio.sleep(" if is_async else "time.sleep(",
        "RUN(": "asyncio.run(" if is_async else "(",
    }
    code = BODY
    for word, other in words.items():
        code = code.replace(word, other)
    return code


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    code = HEAD + program_of("plain") + program_of("async")
    with told(code, folder=tmp_path_factory.mktemp("caching")) as program:
        yield program


KINDS = pytest.mark.parametrize("kind", ["plain", "async"])


def ends(program: Told, name: str) -> str:
    """Return the ends of a task's runs in order: o for Completed, c for Cached."""
    letters = {"Completed": "o", "Cached": "c"}
    runs = sorted((run for run in program.tasks if run.task_name == name), key=lambda run: run.id)
    return "".join(letters.get(run.state.name, f" {run.state.name} ") for run in runs)


@KINDS
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Called with 0, 1, 0 in a flow run; then in another; then in one with other parameters.
        ("inputs", "ooc ccc ccc"),
        ("task-source", "occ ccc ccc"),
        ("run-id", "occ occ occ"),
        ("flow-parameters", "occ ccc occ"),
        ("default", "ooc ooc ooc"),
        ("persisted", "ooc ooc ooc"),
        ("no-cache", "ooo ooo ooo"),
        ("added", "ooc ccc ooc"),
        ("taken-out", "occ ccc ccc"),
        ("added-and-taken-out", "occ ccc occ"),
        ("key-fn-policy", "ooc coc coc"),
        ("key-fn", "ooc coc coc"),
        ("of-ones-own", "ooc ccc ccc"),
        ("not-persisted", "ooo ooo ooo"),
        ("expired", "ooo ooo ooo"),
        ("not-yet-expired", "ooc ccc ccc"),
        ("refreshed", "ooo ooo ooo"),
        ("key-storage", "ooc ccc ccc"),
        ("not-in-memory", "ooc ccc ccc"),
        ("json", "ooc ccc ccc"),
        ("compressed-json", "ooc ccc ccc"),
        ("compressed-pickle", "ooc ccc ccc"),
        ("memory", "ooc ccc ccc"),
        ("file", "ooc ccc ccc"),
    ],
)
def test_what_is_found_again(program: Told, name: str, kind: str, expected: str) -> None:
    assert ends(program, f"{name}-{kind}") == expected.replace(" ", "")


def references(program: Told, name: str) -> list[dict[str, str]]:
    runs = [run for run in program.tasks if run.task_name == name]
    return [json.loads(run.state.result.data) for run in runs if run.state.result.data]


@KINDS
def test_where_and_how_results_are_stored(program: Told, kind: str) -> None:
    for name in ("json", "compressed-json", "compressed-pickle"):
        serializers = {each["serializer"] for each in references(program, f"{name}-{kind}")}
        assert serializers == {name.replace("-", "/")}
    urls = [each["url"] for each in references(program, f"memory-{kind}")]
    assert urls
    assert all(url.startswith("memory://caching/") for url in urls)
    urls = [each["url"] for each in references(program, f"file-{kind}")]
    assert urls
    assert all("/client/elsewhere/" in url for url in urls)
    (url,) = {each["url"] for each in references(program, f"named_{kind}")}
    assert url.endswith(f"/client/results/named-{kind}/1.bin")
    assert ends(program, f"named_{kind}") == "oc"


@KINDS
def test_what_cannot_be_hashed_is_run_with_a_warning(program: Told, kind: str) -> None:
    run = program.task(f"unhashable_{kind}")
    assert program.history(run) == ["Running", "Completed"]
    (warning,) = program.logs(run)
    assert "parameter 'lock'" in warning


@KINDS
def test_what_cannot_be_stored_is_there_all_the_same(program: Told, kind: str) -> None:
    assert ends(program, f"unwritable_{kind}") == "oo"
    runs = [run for run in program.tasks if run.task_name == f"unwritable_{kind}"]
    assert all("Its result was not stored" in run.state.message for run in runs)
    assert all("NotADirectoryError" in "".join(program.logs(run)) for run in runs)


@KINDS
def test_what_is_damaged_is_computed_again(program: Told, kind: str) -> None:
    assert ends(program, f"damaged_{kind}") == "ooc"
    runs = sorted(program.tasks, key=lambda run: run.id)
    second = [run for run in runs if run.task_name == f"damaged_{kind}"][1]
    assert any("is ignored" in text for text in program.logs(second))


@KINDS
def test_of_several_that_need_a_locked_key_one_computes(program: Told, kind: str) -> None:
    assert sorted(ends(program, f"locked_{kind}")) == ["c", "c", "o"]


@KINDS
def test_a_lock_needs_a_lock_manager(program: Told, kind: str) -> None:
    run = program.task(f"without_locks_{kind}")
    assert program.history(run) == ["Failed"]
    assert "lock_manager=" in run.state.message


@KINDS
@pytest.mark.parametrize(
    ("scenario", "seen", "states"),
    [
        ("lazy", ["inner ended", "commit a", "commit b", "outer ended"], "a b"),
        ("eager", ["commit b", "inner ended", "rollback a"], "-a b"),
        ("off", ["rollback a", "commit b"], "-a b"),
        (
            "inner-fails",
            ["rollback c", "rollback b", "rollback a", "caught"],
            "-a -b -c !fails",
        ),
        ("submitted", ["rollback b", "rollback a"], "-a -b !fails"),
        ("by-hand", ["rollback a"], "-a"),
        (
            "checkpoint",
            [
                *("worked", "staged 0", "worked", "staged 2", False),
                "The isolation level SERIALIZABLE needs a store",
            ],
            "",
        ),
        ("serializable", ["worked", "once"], None),
    ],
)
def test_transactions(
    program: Told, scenario: str, seen: list[object], states: str | None, kind: str
) -> None:
    assert json.loads(program.printed(f"{scenario}-{kind}")) == seen
    flow = program.flow(f"{scenario}-{kind}")
    assert flow.state.name == ("Failed" if scenario == "eager" else "Completed")
    if states is None:
        return
    marks = {"Completed": "", "RolledBack": "-", "Failed": "!"}
    runs = sorted(program.children(flow), key=lambda run: run.id)
    found = [marks[run.state.name] + run.name for run in runs]
    assert " ".join(found) == states
