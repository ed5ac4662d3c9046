"""The options of `@flow` and `@task`, for sync and async functions and generators.

One program uses all of them on a real service. Retries, hooks, results and logs have their own
modules.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.reported_program import Told, told

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = '''
    import asyncio, hashlib, json, threading, time
    from contextlib import suppress
    from flowspan import flow, runtime, tags, task
    from flowspan.exceptions import ReservedArgumentError, RunTimeout
    from flowspan.task_runners import ThreadPoolTaskRunner

    KINDS = ("plain", "async", "generator", "async-generator")

    def made(what, kind, body, *, name, **options):
        """A flow or task of one of the four kinds that does what `body` does."""
        def plain(day: str, count: int = 1, *more: int):
            """What it is for."""
            return body(day, count)

        async def later(day: str, count: int = 1, *more: int):
            """What it is for."""
            await asyncio.sleep(0)
            return body(day, count)

        def values(day: str, count: int = 1, *more: int):
            """What it is for."""
            yield body(day, count)

        async def later_values(day: str, count: int = 1, *more: int):
            """What it is for."""
            await asyncio.sleep(0)
            yield body(day, count)

        function = dict(zip(KINDS, (plain, later, values, later_values)))[kind]
        return what(name=f"{name}-{what.__name__}-{kind}", **options)(function)

    async def ended(value):
        if hasattr(value, "__await__"):
            return await value
        if hasattr(value, "__aiter__"):
            return [each async for each in value]
        return list(value) if hasattr(value, "__next__") else value

    def call(it, *args, **kwargs):
        value = it(*args, **kwargs)
        if hasattr(value, "__aiter__") or hasattr(value, "__await__"):
            return asyncio.run(ended(value))
        return list(value) if hasattr(value, "__next__") else value

    def given(day, count):
        return [day, count, type(count).__name__]

    def with_parameters(parameters):
        return f"{parameters['day']} x {parameters['count']}"

    def from_runtime():
        return "made by a function"

    for what in (flow, task):
        run_name = f"{what.__name__}_run_name"
        for kind in KINDS:
            def one(name, body=given, **options):
                return made(what, kind, body, name=name, **options)

            def printed(it, *args, **kwargs):
                print(f"{it.name}: {json.dumps(call(it, *args, **kwargs))}")

            # Names of runs.
            printed(one("template", **{run_name: "{day}/{count}"}), "monday", "2")
            printed(one("callable", **{run_name: from_runtime}), "monday")
            printed(one("callable-parameters", **{run_name: with_parameters}), "monday", 3)
            unnamed = one("unnamed", **{run_name: "{nobody}"})
            with suppress(ValueError):
                call(unnamed, "monday")

            # Descriptions and versions.
            described, said = one("described"), one("said", description="In other words.")
            assert (described.description, said.description) == (
                "What it is for.", "In other words."
            )
            printed(one("versioned", version="7"), "monday")
            printed(one("unversioned"), "monday")

            # Copies.
            original = one("original", retries=3, version="1", **{run_name: "named {day}"})
            copy = original.with_options(name=f"copy-{what.__name__}-{kind}", version="2")
            assert (original.version, copy.retry.retries) == ("1", 3)
            printed(copy, "monday")

            # Deadlines: async code is cancelled; sync code here runs in the main thread.
            def sleeps(day, count):
                time.sleep(600)

            slow = one("slow", sleeps, timeout_seconds=0.2)
            if kind.startswith("async"):
                async def awaits(day: str):
                    await asyncio.sleep(600)

                async def awaits_and_yields(day: str):
                    yield 1
                    await asyncio.sleep(600)

                function = awaits if kind == "async" else awaits_and_yields
                slow = what(name=slow.name, timeout_seconds=0.2)(function)
            with suppress(RunTimeout):
                call(slow, "monday")
                print(f"{slow.name}: was in time")

            # Prints: inherited, or not.
            def prints(day, count):
                print("printed in", day)

            inherits, silent = one("inherits", prints), one("silent", prints, log_prints=False)
            if kind.startswith("async"):
                @flow(name=f"logs-{what.__name__}-{kind}", log_prints=True)
                async def logs():
                    await ended(inherits("it"))
                    await ended(silent("it"))
            else:
                @flow(name=f"logs-{what.__name__}-{kind}", log_prints=True)
                def logs():
                    list(inherits("it") or ())
                    list(silent("it") or ())
            call(logs)
            call(one("by-itself", prints), "it")

            # Reserved names.
            for reserved in ("return_state", "wait_for"):
                function = {
                    "plain": "def f({0}): pass",
                    "async": "async def f({0}): pass",
                    "generator": "def f(*, {0}): yield",
                    "async-generator": "async def f(*, {0}=1): yield",
                }[kind].format(reserved)
                namespace = {}
                exec(function, namespace)
                try:
                    what(namespace["f"])
                except ReservedArgumentError as error:
                    assert repr(reserved) in str(error), error
                else:
                    raise AssertionError("was taken")

    for kind in KINDS:
        # Options of flows only.
        it = made(flow, kind, given, name="unchecked", validate_parameters=False)
        print(f"{it.name}: {json.dumps(call(it, 'monday', '2'))}")

        # Result storage.
        kept = dict(persist_result=True, result_serializer="json")
        for name, options in (
            ("kept", kept),
            ("stored", {"result_storage": "memory://options", "result_serializer": "json"}),
            ("read-again", {**kept, "cache_result_in_memory": False}),
        ):
            it = made(flow, kind, given, name=name, **options)
            state = it("monday", return_state=True)
            state = asyncio.run(state) if hasattr(state, "__await__") else state
            assert state.result() in (["monday", 1, "int"], [["monday", 1, "int"]]), state

        # Options of tasks only.
        with tags("around"):
            it = made(task, kind, given, name="tagged", tags=["io", "slow"])
            call(it, "monday")
            call(it.with_options(name=f"retagged-{kind}", tags=["other"]), "monday")

    # Submitted and mapped tasks have their own names as well.
    @task(task_run_name="load {day}")
    def load(day):
        return day

    @task(task_run_name="load later {day}")
    async def load_later(day):
        return day

    # On a runner with one thread, tasks run one after another.
    together = set()

    @task
    def alone(n):
        together.add(n)
        most = len(together)
        time.sleep(0)
        together.discard(n)
        return most

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def names():
        load.map(["a", "b"])
        load_later.map(["a", "b"])
        return alone.map(range(5)).result()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    async def names_later():
        load.map(["a", "b"])
        load_later.map(["a", "b"])
        return await alone.map(range(5))

    assert names() == asyncio.run(names_later()) == [1] * 5

    # A deadline of a submitted task, whose thread cannot be interrupted.
    stop = threading.Event()

    @task(timeout_seconds=0.2)
    def blocks():
        stop.wait()

    @task(timeout_seconds=0.2)
    async def awaits_long():
        await asyncio.sleep(600)

    @flow
    def submits():
        for each in (blocks, awaits_long):
            error = each.submit().result(raise_on_failure=False)
            assert isinstance(error, RunTimeout), error
        stop.set()

    submits()
    print("version:", hashlib.sha256(open(__file__, "rb").read()).hexdigest()[:16])
'''


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with told(PROGRAM, folder=tmp_path_factory.mktemp("options")) as program:
        yield program


KINDS = pytest.mark.parametrize("kind", ["plain", "async", "generator", "async-generator"])
WHAT = pytest.mark.parametrize("what", ["flow", "task"])


def run_of(program: Told, label: str, what: str, kind: str) -> Any:
    name = f"{label}-{what}-{kind}"
    return program.flow(name) if what == "flow" else program.task(name)


def given(program: Told, label: str, what: str, kind: str) -> Any:
    """Return the function's result; for generators, their only value."""
    value = json.loads(program.printed(f"{label}-{what}-{kind}"))
    return value[0] if kind.endswith("generator") else value


@KINDS
@WHAT
def test_names_of_runs(program: Told, what: str, kind: str) -> None:
    template = run_of(program, "template", what, kind)
    assert (template.name, template.state.name) == ("monday/2", "Completed")
    assert run_of(program, "callable", what, kind).name == "made by a function"
    assert run_of(program, "callable-parameters", what, kind).name == "monday x 3"


@KINDS
@WHAT
def test_a_name_that_cannot_be_made_fails_the_run(program: Told, what: str, kind: str) -> None:
    run = run_of(program, "unnamed", what, kind)
    assert program.history(run) == ["Failed"]
    assert f"{what}_run_name='{{nobody}}' cannot be filled in" in run.state.message


@pytest.mark.parametrize("name", ["load", "load_later"])
def test_names_of_mapped_runs(program: Told, name: str) -> None:
    runs = [run.name for run in program.tasks if run.task_name == name]
    words = name.replace("_", " ")
    assert sorted(runs) == [f"{words} a"] * 2 + [f"{words} b"] * 2


@KINDS
def test_versions_of_flows(program: Told, kind: str) -> None:
    assert run_of(program, "versioned", "flow", kind).flow_version == "7"
    assert run_of(program, "unversioned", "flow", kind).flow_version == program.printed("version")


@KINDS
@WHAT
def test_copies_keep_what_they_are_not_given(program: Told, what: str, kind: str) -> None:
    copy = run_of(program, "copy", what, kind)
    assert (copy.name, copy.state.name) == ("named monday", "Completed")
    if what == "flow":
        assert copy.flow_version == "2"
    assert given(program, "copy", what, kind) == ["monday", 1, "int"]


@KINDS
@WHAT
def test_a_deadline_ends_the_run(program: Told, what: str, kind: str) -> None:
    run = run_of(program, "slow", what, kind)
    assert program.history(run) == ["Running", "TimedOut"]
    assert "exceeded its timeout of 0.2 s" in run.state.message
    assert f"slow-{what}-{kind}" not in program.output
    assert "sleep(600)" in run.state.failure.stack_trace, "where it was"


@pytest.mark.parametrize("name", ["blocks", "awaits_long"])
def test_a_deadline_ends_a_submitted_run(program: Told, name: str) -> None:
    assert program.history(program.task(name)) == ["Running", "TimedOut"]
    told = [line for line in program.logs(program.task(name)) if "could not be interrupted" in line]
    assert len(told) == (name == "blocks")


@KINDS
@WHAT
def test_prints_are_logged_as_the_caller_does(program: Told, what: str, kind: str) -> None:
    assert "printed in it" in program.logs(run_of(program, "inherits", what, kind))
    for label in ("silent", "by-itself"):
        assert "printed in it" not in program.logs(run_of(program, label, what, kind))


@KINDS
def test_flows_validate_unless_told_otherwise(program: Told, kind: str) -> None:
    assert given(program, "template", "flow", kind) == ["monday", 2, "int"]
    assert given(program, "template", "task", kind) == ["monday", "2", "str"]
    assert given(program, "unchecked", "flow", kind) == ["monday", "2", "str"]
    stored = run_of(program, "unchecked", "flow", kind).parameters.data
    assert json.loads(stored) == {"day": "monday", "count": "2", "more": []}


@KINDS
def test_results_of_flows_are_stored(program: Told, kind: str) -> None:
    for label, place in (("kept", "file://"), ("stored", "memory://"), ("read-again", "file://")):
        result = run_of(program, label, "flow", kind).state.result
        assert result.encoding == "flowspan.result-reference+json"
        reference = json.loads(result.data)
        assert reference["url"].startswith(place)
        assert reference["serializer"] == "json"
    assert not run_of(program, "versioned", "flow", kind).state.HasField("result")


@KINDS
def test_tags_of_tasks(program: Told, kind: str) -> None:
    tagged = run_of(program, "tagged", "task", kind)
    assert sorted(tagged.tags) == ["around", "io", "slow"]
    assert sorted(program.task(f"retagged-{kind}").tags) == ["around", "other"]
