"""`map` over states and futures, and states among what is not mapped."""

import asyncio

from prefect import State, allow_failure, flow, task, unmapped
from prefect.exceptions import (
    MappingLengthMismatch,
    MappingMissingIterable,
    UnfinishedRun,
    UpstreamTaskError,
)
from prefect.states import Completed, Failed, Pending


@task
def nums(n=3):
    return list(range(n))


@task
def five():
    return 5


@task
def bad():
    raise ValueError("bad")


@task
def inc(x, y=0):
    return (x, y)


@task
async def ainc(x, y=0):
    return (x, y)


@task
def text():
    return "abc"


@task
def dct():
    return {"a": 1, "b": 2}


@task
def states():
    return [five(return_state=True), five(return_state=True)]


@flow
def sub():
    return [7, 8]


@flow
def subf():
    return [five.submit(), five.submit()]


CASES = {
    "state": lambda: inc.map(nums(return_state=True)),
    "future": lambda: inc.map(nums.submit()),
    "made by hand": lambda: inc.map(Completed(data=[1, 2])),
    "failed, made": lambda: inc.map(Failed(data=[1, 2])),
    "pending": lambda: inc.map(Pending(data=[1, 2])),
    "failed state": lambda: inc.map(bad(return_state=True)),
    "failed future": lambda: inc.map(bad.submit()),
    "state of a number": lambda: inc.map(five(return_state=True)),
    "list and a number's state": lambda: inc.map([1, 2], five(return_state=True)),
    "list and a number's future": lambda: inc.map([1, 2], five.submit()),
    "unmapped state": lambda: inc.map([1, 2], unmapped(five(return_state=True))),
    "unmapped state of a list": lambda: inc.map([1, 2], unmapped(nums(return_state=True))),
    "unmapped future": lambda: inc.map([1, 2], unmapped(nums.submit())),
    "unmapped failed state": lambda: inc.map([1, 2], unmapped(bad(return_state=True))),
    "list of states": lambda: inc.map([five(return_state=True), five(return_state=True)]),
    "list with a failed one": lambda: inc.map([five(return_state=True), bad(return_state=True)]),
    "by keyword": lambda: inc.map(x=nums(return_state=True), y=nums.submit()),
    "other lengths": lambda: inc.map(nums(return_state=True), [1]),
    "allow_failure future": lambda: inc.map([1, 2], allow_failure(bad.submit())),
    "allow_failure list": lambda: inc.map(allow_failure([bad(return_state=True), 1])),
    "text": lambda: inc.map(text(return_state=True), [1]),
    "dict": lambda: inc.map(dct(return_state=True)),
    "subflow's state": lambda: inc.map(sub(return_state=True)),
    "subflow's states": lambda: inc.map(subf()),
    "state of a subflow's states": lambda: inc.map(subf(return_state=True)),
    "state of states": lambda: inc.map(states(return_state=True)),
    "future of states": lambda: inc.map(states.submit()),
    "mapped futures": lambda: inc.map(inc.map([1, 2])),
    "mapped states": lambda: inc.map(inc.map([1, 2], return_state=True)),
    "asynchronous": lambda: ainc.map(nums(return_state=True)),
    "return_state": lambda: inc.map(nums(return_state=True), return_state=True),
    "in a tuple": lambda: inc.map((nums(return_state=True), 2)),
    "wait_for": lambda: inc.map([1], wait_for=[five(return_state=True)]),
    "wait_for failed": lambda: inc.map([1], wait_for=[bad(return_state=True)]),
    "empty": lambda: inc.map(Completed(data=[])),
    "range": lambda: inc.map(Completed(data=range(2))),
}


def results(futures):
    found = []
    for each in futures:
        try:
            if isinstance(each, State):
                found.append(each.result(_sync=True))
            else:
                found.append(each.result())
        except Exception as error:
            found.append("unfinished" if isinstance(error, UnfinishedRun) else repr(error))
    return found


@flow
def main():
    for name, call in CASES.items():
        try:
            print(f"{name}: {results(call())}")
        except MappingMissingIterable:
            print(f"{name}: nothing to map")
        except MappingLengthMismatch:
            print(f"{name}: other lengths")
        except UpstreamTaskError:
            print(f"{name}: upstream failed")


@flow
async def amain():
    for name in ("state", "future", "unmapped state", "failed state"):
        try:
            print(f"{name}: {results(CASES[name]())}")
        except UpstreamTaskError:
            print(f"{name}: upstream failed")


main()
asyncio.run(amain())

# prints: state: [(0, 0), (1, 0), (2, 0)]
# prints: future: [(0, 0), (1, 0), (2, 0)]
# prints: made by hand: [(1, 0), (2, 0)]
# prints: failed, made: upstream failed
# prints: pending: upstream failed
# prints: failed state: upstream failed
# prints: failed future: upstream failed
# prints: state of a number: nothing to map
# prints: list and a number's state: [(1, 5), (2, 5)]
# prints: list and a number's future: [(1, 5), (2, 5)]
# prints: unmapped state: [(1, 5), (2, 5)]
# prints: unmapped state of a list: [(1, [0, 1, 2]), (2, [0, 1, 2])]
# prints: unmapped future: [(1, [0, 1, 2]), (2, [0, 1, 2])]
# prints: unmapped failed state: ['unfinished', 'unfinished']
# prints: list of states: [(5, 0), (5, 0)]
# prints: list with a failed one: [(5, 0), 'unfinished']
# prints: by keyword: [(0, 0), (1, 1), (2, 2)]
# prints: other lengths: other lengths
# prints: allow_failure future: [(1, ValueError('bad')), (2, ValueError('bad'))]
# prints: allow_failure list: [(ValueError('bad'), 0), (1, 0)]
# prints: text: [('abc', 1)]
# prints: dict: [('a', 0), ('b', 0)]
# prints: subflow's state: [(7, 0), (8, 0)]
# prints: subflow's states: [(5, 0), (5, 0)]
# prints: state of a subflow's states: [(5, 0), (5, 0)]
# prints: state of states: [(5, 0), (5, 0)]
# prints: future of states: [(5, 0), (5, 0)]
# prints: mapped futures: [((1, 0), 0), ((2, 0), 0)]
# prints: mapped states: [((1, 0), 0), ((2, 0), 0)]
# prints: asynchronous: [(0, 0), (1, 0), (2, 0)]
# prints: return_state: [(0, 0), (1, 0), (2, 0)]
# prints: in a tuple: [([0, 1, 2], 0), (2, 0)]
# prints: wait_for: [(1, 0)]
# prints: wait_for failed: ['unfinished']
# prints: empty: []
# prints: range: [(0, 0), (1, 0)]
# prints: state: [(0, 0), (1, 0), (2, 0)]
# prints: future: [(0, 0), (1, 0), (2, 0)]
# prints: unmapped state: [(1, 5), (2, 5)]
# prints: failed state: upstream failed
