"""Templates of run names: attributes, items, formats, and the object of a method."""

import asyncio
import datetime

from prefect import flow, task
from prefect.runtime import flow_run, task_run


class Loader:
    region = "eu"

    def __init__(self, name="x"):
        self.name = name

    @task(task_run_name="{self.name}-{day}")
    def load(self, day):
        return task_run.name

    @task(task_run_name="{self.name}-{day}")
    async def load_later(self, day):
        return task_run.name

    @task(task_run_name=lambda parameters: ",".join(sorted(parameters)))
    def named(self, day):
        return task_run.name

    @flow(flow_run_name="{self.name}:{day}")
    def run(self, day):
        return flow_run.name, self.load(day), self.load.submit(day).result()

    @flow(flow_run_name="{self.name}:{day}")
    async def run_later(self, day):
        return flow_run.name, await self.load_later(day)

    @classmethod
    @task(task_run_name="{cls.region}")
    def of_class(cls):
        return task_run.name

    @staticmethod
    @task(task_run_name="static-{x}")
    def static(x):
        return task_run.name


print(Loader().load(1), Loader("y").run(2), asyncio.run(Loader("z").run_later(3)))
print(Loader().named(1), Loader.of_class(), Loader.static(5))


@flow
def mapped():
    return Loader("m").load.map([1, 2]).result()


print(mapped())

for template, value in (
    ("a-{x}", 1),
    ("{x.region}", Loader()),
    ("{x[a]}", {"a": 5}),
    ("{x[0]}", [9]),
    ("{x:%Y/%m}", datetime.date(2024, 1, 2)),
    ("{x:>4}|{y:03d}", "q"),
    ("{x!r}", "q"),
    ("{{x}}", 1),
):

    @task(task_run_name=template)
    def a_task(x, y=2):
        return task_run.name

    @flow(flow_run_name=template)
    def a_flow(x: object, y: int = 2):
        return flow_run.name

    print(a_task(value), a_flow(value))


@task(task_run_name="{args[0]}-{kwargs[a]}")
def variadic(*args, **kwargs):
    return task_run.name


@task(task_run_name="{flow_run.name}")
def unknown():
    return 1


print(variadic(1, a=2))
try:
    unknown()
except Exception as error:
    print(type(error).__name__)

# prints: x-1 ('y:2', 'y-2', 'y-2') ('z:3', 'z-3')
# prints: day,self eu static-5
# prints: ['m-1', 'm-2']
# prints: a-1 a-1
# prints: eu eu
# prints: 5 5
# prints: 9 9
# prints: 2024/01 2024/01
# prints:    q|002    q|002
# prints: 'q' 'q'
# prints: {x} {x}
# prints: 1-2
# prefect prints: KeyError
# flowspan prints: ValueError
# because: its message names the parameters that there are
