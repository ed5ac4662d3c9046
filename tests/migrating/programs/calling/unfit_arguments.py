"""Arguments that do not fit the parameters: the error, by the way of the call."""

import asyncio

from prefect import flow, task
from prefect.exceptions import ParameterBindError, PrefectException

attempts = []


@task(retries=3, retry_delay_seconds=60)
def load(day, count=1):
    attempts.append(day)
    return day


@task
async def load_later(day):
    return day


@task(timeout_seconds=30)
def in_time(day):
    return day


@task
def values(day):
    yield day


@task
def raises(day):
    raise TypeError(f"of the function, {day}")


@flow
def of_flow(day):
    return day


def tried(name, call):
    try:
        print(name, call())
    except ParameterBindError as error:
        print(name, "does not fit", isinstance(error, PrefectException))
    except TypeError as error:
        print(name, error)


@flow
def main():
    tried("missing", lambda: load())
    tried("too many", lambda: load(1, 2, 3))
    tried("unknown", lambda: load(1, other=2))
    tried("twice", lambda: load(1, day=2))
    tried("with a timeout", lambda: in_time())
    tried("asynchronous", lambda: asyncio.run(load_later()))
    tried("a flow", lambda: of_flow(1, 2))
    tried("submitted", lambda: load.submit().result())
    tried("mapped", lambda: load.map([1], other=[2]).result())
    tried("a generator", lambda: values.submit().result())
    tried("its own error", lambda: raises(1))
    tried("fits", lambda: load(1, count=2))


main()
tried("outside", lambda: load())
print(attempts)
try:
    print(load(return_state=True).name)
except ParameterBindError:
    print("raised")

# prints: missing does not fit True
# prints: too many does not fit True
# prints: unknown does not fit True
# prints: twice does not fit True
# prints: with a timeout does not fit True
# prints: asynchronous does not fit True
# prints: a flow does not fit True
# prints: submitted does not fit True
# prints: mapped does not fit True
# prints: a generator does not fit True
# prints: its own error of the function, 1
# prints: fits 1
# prints: outside does not fit True
# prints: [1]
# prefect prints: raised
# flowspan prints: Failed
# because: the call is a run that has failed; without return_state, it raises
