"""Calls between flows, tasks and plain code, against a real service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import run_queries as queries
from tests.support.flow_processes import run_code

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

NESTED = """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context
    from flowspan import flow, runtime, task

    kinds = {}

    def called(kind, x):
        value = kinds[kind](x)
        if not asyncio.iscoroutine(value):
            return value
        with ThreadPoolExecutor(1) as pool:  # a loop may run in this thread
            return pool.submit(copy_context().run, asyncio.run, value).result()

    async def awaited(kind, x):
        value = kinds[kind](x)
        return await value if asyncio.iscoroutine(value) else value

    def path(names):
        # The first of "pf,at" is called with the rest.
        head, _, rest = names.partition(",")
        return head, rest

    @task
    def plain_task(rest):
        return "pt" + (called(*path(rest)) if rest else "")

    @task
    async def async_task(rest):
        return "at" + (await awaited(*path(rest)) if rest else "")

    @flow
    def plain_flow(rest):
        return "pf" + (called(*path(rest)) if rest else "")

    @flow
    async def async_flow(rest):
        return "af" + (await awaited(*path(rest)) if rest else "")

    kinds = {"pt": plain_task, "at": async_task, "pf": plain_flow, "af": async_flow}

    for outer in kinds:
        for middle in kinds:
            for inner in kinds:
                value = kinds[outer](f"{middle},{inner},pt")
                if asyncio.iscoroutine(value):
                    value = asyncio.run(value)
                assert value == outer + middle + inner + "pt", value
"""


def test_every_kind_calls_every_kind(service: ServiceProcess) -> None:
    run_code(NESTED, home=service.home / "client", address=service.address)
    runs = [*queries.flow_runs(service.channel), *queries.task_runs(service.channel)]
    assert {run.state.name for run in runs} == {"Completed"}
    by_id = {run.id: run for run in runs}
    assert len(runs) == 4**3 * 4

    def kind(run: Any) -> str:
        return str(getattr(run, "flow_name", None) or run.task_name)

    chains = []
    for run in runs:
        chain = [kind(run)]
        while run.parent_run_id:
            run = by_id[run.parent_run_id]  # noqa: PLW2901 - up to the top
            chain.append(kind(run))
        if len(chain) == 4:
            assert chain[0] == "plain_task"
            chains.append(tuple(chain))
    assert len(set(chains)) == 4**3


RECURSION = """
    import asyncio
    from flowspan import flow, task

    @task
    {a}def factorial(n: int) -> int:
        return 1 if n == 0 else n * {w}factorial(n - 1)

    @flow
    {a}def countdown(n: int) -> int:
        return 0 if n == 0 else 1 + {w}countdown(str(n - 1))

    {a}def main():
        assert {w}factorial(10) == 3628800  # outside of flows
        assert {w}countdown("10") == 10

    {run}
"""


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_recursion(service: ServiceProcess, is_async: bool) -> None:
    code = RECURSION.format(
        a="async " if is_async else "",
        w="await " if is_async else "",
        run="asyncio.run(main())" if is_async else "main()",
    )
    run_code(code, home=service.home / "client", address=service.address)
    for runs in (queries.flow_runs(service.channel), queries.task_runs(service.channel)):
        assert [run.state.name for run in runs] == ["Completed"] * 11
        assert [run.parent_run_id for run in runs[1:]] == [run.id for run in runs[:-1]]
        assert {run.root_run_id for run in runs} == {runs[0].id}


PARAMETERS = """
    from __future__ import annotations

    import asyncio
    from dataclasses import dataclass
    from datetime import date
    from enum import Enum
    from typing import Optional

    from pydantic import BaseModel, Field, SecretStr
    from flowspan import flow

    class Color(Enum):
        RED = "red"

    class Address(BaseModel):
        city: str
        code: int = 1

    @dataclass
    class Point:
        x: int
        y: int = 0

    @flow
    {a}def census(
        day: date,
        address: Address,
        point: Point,
        secret: SecretStr,
        /,
        limit: Optional[int] = None,
        *rest: int,
        color: Color = Color.RED,
        size: int = Field(default=3, gt=2),
        **more: float,
    ):
        assert (day, address, point) == (date(2026, 1, 2), Address(city="Rom", code=5), Point(1, 0))
        assert secret.get_secret_value() == "s3cret"
        # Arguments of `*` and `**` are passed on unchanged.
        assert (limit, rest, color, size) == (7, ("8", 9), Color.RED, 3)
        assert more == {{"a": "1.5"}}

    @flow
    {a}def typed(count: int, names: list[str], point: Point = Point(1)):
        raise AssertionError("not reached")

    {a}def main():
        {w}census(
            "2026-01-02", {{"city": "Rom", "code": "5"}}, {{"x": "1"}}, "s3cret", "7", "8", 9,
            color="red", a="1.5",
        )
        for args, kwargs in (
            (("many", ["a"]), {{}}),
            ((1, ["a", 2]), {{}}),
            ((1,), {{"point": {{"y": 1}}, "names": []}}),
            ((1,), {{}}),
            ((1, []), {{"other": 1}}),
        ):
            try:
                {w}typed(*args, **kwargs)
            except TypeError as error:
                assert type(error).__name__ == "ParameterError", error
            else:
                raise AssertionError("was called")

    {run}
"""


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_parameters_are_validated_and_errors_name_them(
    service: ServiceProcess, is_async: bool
) -> None:
    code = PARAMETERS.format(
        a="async " if is_async else "",
        w="await " if is_async else "",
        run="asyncio.run(main())" if is_async else "main()",
    )
    run_code(code, home=service.home / "client", address=service.address)
    census, *failed = queries.flow_runs(service.channel)
    assert census.state.name == "Completed"
    stored = json.loads(census.parameters.data)
    assert "s3cret" not in census.parameters.data.decode()
    assert (stored["day"], stored["point"]) == ("2026-01-02", {"x": 1, "y": 0})
    assert (stored["rest"], stored["more"]) == (["8", 9], {"a": "1.5"})
    assert (stored["address"], stored["color"]) == ({"city": "Rom", "code": 5}, "red")
    assert {run.state.name for run in failed} == {"Failed"}
    messages = [run.state.message for run in failed]
    for name, message in zip(
        ["'count'", "'names'[1]", "'point'['x']", "'names'", "'other'"], messages, strict=True
    ):
        assert name in message, message
    histories = [queries.flow_history(service.channel, run.id) for run in failed]
    assert histories == [["Pending", "Failed"]] * 5


METHODS = """
    import asyncio, functools
    from flowspan import flow, task

    class Store:
        unit = "class"

        def __init__(self):
            self.unit = "instance"

        @task
        {a}def get(self, key):
            return self.unit, key

        @task
        @classmethod
        {a}def kind(cls, key):
            return cls.unit, key

        @staticmethod
        @task
        {a}def checked(key):
            return "static", key

        {a}def __call__(self, key):
            return "object", key

        @flow
        {a}def fill(self, key: int):
            direct = [{w}self.get(key), {w}Store.kind(key), {w}self.checked(key)]
            submitted = [each.submit(key).result() for each in (self.get, self.kind, self.checked)]
            assert direct == submitted, (direct, submitted)
            assert {w}task(self)(key) == ("object", key)
            assert {w}task(functools.partial(self.get.fn, key))() == ("instance", key)
            return direct

    assert {run} == [("instance", 5), ("class", 5), ("static", 5)]
"""


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_methods_objects_and_partials(service: ServiceProcess, is_async: bool) -> None:
    code = METHODS.format(
        a="async " if is_async else "",
        w="await " if is_async else "",
        run='asyncio.run(Store().fill("5"))' if is_async else 'Store().fill("5")',
    )
    run_code(code, home=service.home / "client", address=service.address)
    (fill,) = queries.flow_runs(service.channel)
    assert (fill.flow_name, fill.state.name) == ("fill", "Completed")
    assert json.loads(fill.parameters.data) == {"key": 5}
    names = sorted(run.name for run in queries.task_runs(service.channel))
    assert names == [
        "Store-0", "checked-0", "checked-1", "get-0", "get-1", "get-2", "kind-0", "kind-1",
    ]  # fmt: skip
