"""The fields of pydantic as defaults stand for their values, in tasks as in flows."""

import asyncio

from prefect import flow, task
from pydantic import Field


@task
def plain(x: int = Field(default=4), *, y=Field("7", description="text")):
    return x, y


@task
async def later(x=Field(5)):
    return x


@task
def values(x=Field(default=6)):
    yield x


@task(task_run_name="run-{x}")
def named(x=Field(default=4), /):
    from prefect.runtime import task_run

    return task_run.name, task_run.parameters, x


@task
def made(x: list = Field(default_factory=list)):
    return x == []


class Loader:
    @task
    def method(self, x=Field(default=9)):
        return x


@flow
def main(z: int = Field("3")):
    print(plain(), plain(1), plain(y=2), plain(return_state=True).result(), z)
    print(plain.submit().result(), plain.map([1, 2], y=3).result(), plain.with_options(name="n")())
    print(list(values()), values.submit().result(), named(), Loader().method(), made())


@flow
async def main_later():
    return await later(), await later(1), later.submit().result()


main()
print(asyncio.run(main_later()), plain())
try:
    plain(1, 2)
except TypeError:
    print("refused")

# prints: (4, '7') (1, '7') (4, 2) (4, '7') 3
# prints: (4, '7') [(1, 3), (2, 3)] (4, '7')
# prefect prints: [6] [6] ('run-4', {'x': 4}, 4) 9 False
# flowspan prints: [6] [6] ('run-4', {'x': 4}, 4) 9 True
# prints: (5, 1, 5) (4, '7')
# prints: refused
# because: default_factory gives its value, where a task of Prefect is given PydanticUndefined
