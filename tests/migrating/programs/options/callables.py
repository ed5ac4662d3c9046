"""Lambdas, partials, objects and methods as tasks and flows."""

import asyncio
import functools

from prefect import flow, task
from prefect.runtime import task_run


def load_day(x=1):
    return x


class Callable:
    def __call__(self, x=1):
        return "called", x

    def method(self, x=1):
        return x


class Reader:
    "Made by calling the class."

    def __init__(self, x=1):
        self.x = x


double = task(lambda x: x * 2)
print(double.name, flow(lambda: 1).name, task(load_day).name, flow(load_day).name)
print(double(2), flow(lambda: 1)(), flow(lambda x: x + 1)(3))
print(task(functools.partial(load_day, x=5))(), task(functools.partial(lambda x: x, 6))())
print(task(Callable()).name, task(Callable())(), task(Callable().method)(4))
print(flow(Callable().method)(4), flow(len)([1, 2]), flow(Reader)(3).x, flow(Reader).name)
print(task(lambda: task_run.name)().startswith("<lambda>"))
print(task(functools.partial(load_day)).name, task(name="n")(functools.partial(load_day)).name)


@flow
def main():
    return (
        double.submit(4).result(),
        double.map([1, 2]).result(),
        task(Callable()).submit().result(),
    )


@flow
async def later():
    async def inner(x):
        return x

    return await task(functools.partial(inner, 7))()


print(main(), asyncio.run(later()))
for name in ("a/b", "a%b", "a&b", "a>b", "a<b"):
    try:
        flow(name=name)(load_day)
    except ValueError as error:
        print(type(error).__name__)
    print(task(name=name)(load_day).name)
try:
    flow(load_day).with_options(name="a/b")
except ValueError as error:
    print(type(error).__name__)

# prints: <lambda> unknown-lambda load_day load-day
# prints: 4 1 4
# prints: 5 6
# prints: Callable ('called', 1) 4
# prints: 4 2 3 Reader
# prints: True
# prefect prints: partial n
# flowspan prints: load_day n
# prints: (8, [2, 4], ('called', 1)) 7
# prints: InvalidNameError
# prints: a/b
# prints: InvalidNameError
# prints: a%b
# prints: InvalidNameError
# prints: a&b
# prints: InvalidNameError
# prints: a>b
# prints: InvalidNameError
# prints: a<b
# prints: InvalidNameError
# because: a task of a partial is named after the function in it
