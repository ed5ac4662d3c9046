"""Values and errors of all kinds pass through flows and tasks; the service has the end of each run.

One program takes every value along every path; its tests check the service's data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.api_clients import Face
from tests.support.reported_program import Told, told
from tests.support.user_values import ERRORS, REAL, VALUES
from tests.support.value_paths import WAYS

from flowspan.v1 import state_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = (
    f"""
    import sys
    sys.path.insert(0, {str(Path(__file__).parents[2])!r})
"""
    """
    from tests.support.sync_and_async import ASYNC, PLAIN, ended, value_of
    from tests.support.value_paths import WAYS, way_of
    from tests.support.user_values import *
    from tests.support.user_values import touched
    from flowspan import flow, get_run_logger, tags, task
    from flowspan.artifacts import *
    from flowspan.cache_policies import INPUTS
    from flowspan.states import Completed, Failed
    from flowspan.task_runners import ProcessPoolTaskRunner
    from flowspan.variables import Variable

    KINDS = {"plain": PLAIN, "async": ASYNC}

    def all_ways():
        for label, kind in KINDS.items():
            for way in WAYS:
                for name, make in VALUES.items():
                    touched.clear()
                    kind.run(kind.flow(way_of(kind, way), name=f"{way}:{label}:{name}"), make)
                    if touched:
                        print("touched:", label, way, name, touched)

    def cached():
        for label, kind in KINDS.items():
            for name in REAL:
                @kind.task(cache_policy=INPUTS, name=f"cached:{label}:{name}", persist_result=True)
                async def keep(value, more=None):
                    return value

                @kind.flow(name=f"caching:{label}:{name}")
                async def caching():
                    for _ in range(2):
                        value = await ended(keep(REAL[name](), more=[REAL[name]()]))
                        assert type(value) is type(REAL[name]()), value

                kind.run(caching)

    @task
    def make_it(make):
        return make()

    @task
    async def make_it_later(make):
        return make()

    @task
    def pass_on(value, more=None):
        return value

    @task
    def fail(make):
        raise make()

    @task
    async def fail_later(make):
        raise make()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def in_processes():
        for name, make in VALUES.items():
            if name == "hostile":  # pickling asks for its class
                continue
            made = make_it.with_options(name=f"processed:{name}").submit(make)
            later = make_it_later.with_options(name=f"processed:{name}").submit(make)
            passed = pass_on.with_options(name=f"processed:{name}").submit(made, more=[later])
            assert type(passed.result()) is type(make()), name
        for name, make in ERRORS.items():
            fail.with_options(name=f"failed:process:{name}").submit(make).wait()
            fail_later.with_options(name=f"failed:process later:{name}").submit(make).wait()

    def errors():
        def bad(make):
            raise make()
        async def bad_later(make):
            raise make()
        for name, make in ERRORS.items():
            for label, fn in (("plain", bad), ("async", bad_later)):
                @flow(name=f"failing:{label}:{name}")
                def failing():
                    it = task(fn, name=f"failed:{label}:{name}", retries=1)
                    value_of(it(make, return_state=True))
                    it.submit(make).wait()
                    it.map([make, make]).wait()
                failing()
            flow(bad, name=f"failed:flow:{name}")(make, return_state=True)

    def stuck():
        @task
        def take(value):
            return 1

        for name, make in HOSTILE.items():
            @flow(name=f"stuck:{name}")
            def stuck():
                try:
                    take.submit(make())
                    take.map([make(), make()])
                except Exception as error:
                    print("stuck:", name, type(error))
            stuck()

    class Noted:
        texts = 0
        def __str__(self):
            Noted.texts += 1
            return f"text {Noted.texts}"

    @flow(log_prints=True)
    def printing():
        print(Noted(), end=" !\\n")

    @flow
    def shown():
        create_table_artifact(frame(), key="pandas")
        create_table_artifact(polars_frame(), key="polars")
        create_table_artifact(series(), key="series")
        create_table_artifact({"x": series(), "y": array()[0]}, key="columns")
        create_table_artifact([{"n": scalar(), "m": array()[0][0]}], key="scalars")
        create_table_artifact(array(), key="array")
        create_progress_artifact(array()[1][1], key="progress")
        Artifact(key="data", data={"frame": frame(), array()[0][1]: [array()[0][0]]}).create()

    @flow(name="half\\ud800", flow_run_name="run {x}", version="v\\ud800")
    def half(x):
        @task(name="task\\ud800", tags=["tag\\ud800"], task_run_name="run\\ud800")
        def inner():
            get_run_logger().info("log\\ud800")
            create_markdown_artifact("text\\ud800", key="half", description="about\\ud800")
            return Completed(name="name\\ud800", message="message\\ud800")
        with tags("more\\ud800"):
            inner()
            inner.submit().wait()
        task(fail.fn, name="raising\\ud800")(surrogate_error, return_state=True)
        return Failed(message="bad\\ud800")

    all_ways()
    cached()
    in_processes()
    errors()
    stuck()
    printing()
    shown()
    half("x\\ud800", return_state=True)
    Variable.set("frame", frame(), tags=["tag\\ud800"])
    Variable.set("numbers", [scalar(), array()[0][0], {array()[0][0]: series()}])
    print("done")
"""
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with told(PROGRAM, folder=tmp_path_factory.mktemp("values")) as found:
        yield found


def names(found: list[Any], kind: str) -> dict[str, list[str]]:
    """Return the state names of the runs of one kind ("cached:…"), by run name."""
    by_name: dict[str, list[str]] = {}
    for run in found:
        name = getattr(run, "task_name", None) or run.flow_name
        if name.startswith(f"{kind}:"):
            by_name.setdefault(name.removeprefix(f"{kind}:"), []).append(run.state.name)
    return by_name


def test_no_run_is_left_open_and_no_value_was_touched(runs: Told) -> None:
    assert "done" in runs.output
    assert "touched:" not in runs.output
    ended = {
        state_pb2.STATE_TYPE_COMPLETED,
        state_pb2.STATE_TYPE_FAILED,
    }
    assert {run.state.type for run in (*runs.flows, *runs.tasks)} <= ended


def test_every_value_completes_every_way(runs: Told) -> None:
    for way in WAYS:
        expected = {
            f"{kind}:{name}": ["Completed"] for kind in ("plain", "async") for name in VALUES
        }
        assert names(runs.flows, way) == expected


def test_real_values_are_cached(runs: Told) -> None:
    found = names(runs.tasks, "cached")
    assert set(found) == {f"{kind}:{name}" for kind in ("plain", "async") for name in REAL}
    for name, states in found.items():
        assert len(states) == 2
        assert set(states) <= {"Completed", "Cached"}, name
    # The hashes of the others depend on their pickles.
    for name in ("pandas.DataFrame", "numpy.array", "pandas.Series"):
        assert found[f"plain:{name}"][1] == found[f"async:{name}"][1] == "Cached"


def test_values_come_back_from_worker_processes(runs: Told) -> None:
    expected = {name: ["Completed"] * 3 for name in VALUES if name != "hostile"}
    assert names(runs.tasks, "processed") == expected


def test_runs_fail_with_errors_that_cannot_be_told_of(runs: Told) -> None:
    found = names(runs.tasks, "failed")
    for name in ERRORS:
        for where, count in (("plain", 4), ("async", 4), ("process", 1), ("process later", 1)):
            assert found[f"{where}:{name}"] == ["Failed"] * count, (where, name)
    assert names(runs.flows, "failed") == {f"flow:{name}": ["Failed"] for name in ERRORS}
    assert names(runs.flows, "failing") == {
        f"{kind}:{name}": ["Completed"] for kind in ("plain", "async") for name in ERRORS
    }


def test_a_flow_that_submits_what_cannot_be_looked_through_ends(runs: Told) -> None:
    assert set(names(runs.flows, "stuck")) == {name for name in VALUES if name not in REAL}
    assert {states[0] for states in names(runs.flows, "stuck").values()} == {"Completed"}
    assert "stuck:" not in runs.output


def test_a_print_makes_its_text_once(runs: Told) -> None:
    assert "text 1 !\n" in runs.output
    assert "text 2" not in runs.output
    assert runs.logs(runs.flow("printing"), "print") == ["text 1 !"]


def test_tables_and_numbers_of_data_libraries_are_shown(runs: Told) -> None:
    face = Face(runs.address, is_sync=True)

    def shown(key: str) -> Any:
        return face.read_latest_artifact(key).data.json()

    rows = [{"a": 1}, {"a": 2}]
    assert shown("pandas") == shown("polars") == shown("series") == rows
    assert shown("columns") == {"x": [1, 2], "y": [1, 2]}
    assert shown("scalars") == [{"n": None, "m": 1}]
    assert shown("array") == [[1, 2], [3, 4]]
    assert shown("progress") == 4
    assert shown("data") == {"frame": rows, "2": [1]}
    assert face.read_variable_by_name("frame").value.json() == rows
    assert face.read_variable_by_name("numbers").value.json() == [None, 1, {"1": [1, 2]}]


def test_half_a_surrogate_pair_in_every_text(runs: Told) -> None:
    flow = runs.flow("half\\ud800")
    assert flow.name == "run x\\ud800"
    assert (flow.state.name, flow.state.message) == ("Failed", "bad\\ud800")
    assert json.loads(flow.parameters.data)["x"] == "x\ud800"
    children = [run for run in runs.tasks if run.task_name == "task\\ud800"]
    assert len(children) == 2
    for run in children:
        assert run.name == "run\\ud800"
        assert list(run.tags) == ["tag\\ud800", "more\\ud800"]
        assert (run.state.name, run.state.message) == ("name\\ud800", "message\\ud800")
        assert "log\\ud800" in runs.logs(run)
    raising = runs.task("raising\\ud800")
    assert raising.state.message == "ValueError: half \\ud800"
    artifact = Face(runs.address, is_sync=True).read_latest_artifact("half")
    assert artifact.description == "about\\ud800"
    assert artifact.data.json() in {"text\ud800", "text\\ud800"}
    variable = Face(runs.address, is_sync=True).read_variable_by_name("frame")
    assert list(variable.tags) == ["tag\\ud800"]
