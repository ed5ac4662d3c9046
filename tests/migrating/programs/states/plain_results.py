"""Values of `result` in plain code: by type of state, with and without data."""

import asyncio

from prefect import State, flow, task
from prefect.exceptions import CancelledRun, CrashedRun, FailedRun, UnfinishedRun
from prefect.states import (
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Paused,
    Pending,
    Running,
    Scheduled,
)


NAMES = {FailedRun: "FailedRun", CrashedRun: "CrashedRun", CancelledRun: "CancelledRun"}


def shown(value):
    if isinstance(value, list):
        return [shown(each) for each in value]
    if isinstance(value, BaseException):
        return f"{NAMES.get(type(value)) or type(value).__name__} {value}"
    return value.name if isinstance(value, State) else repr(value)


def show(state):
    for how in (True, False):
        try:
            result = state.result(raise_on_failure=how)
        except BaseException as error:
            print("raises", shown(error))
        else:
            print("gives", shown(result))


show(Completed(data=3))
show(Completed(data=[]))
show(Failed(data=ValueError("no")))
show(Failed(message="why"))
show(Failed(message="why", data="text"))
show(Failed(data=Failed(data=KeyError("deep"))))
show(Failed(data=[Completed(data=1), Failed(data=KeyError("second"))]))
show(Crashed(message="gone"))
show(Cancelled(message="off"))
for make in (Pending, Running, Scheduled):
    for how in (True, False):
        try:
            make().result(raise_on_failure=how)
        except UnfinishedRun:
            print("unfinished")
try:
    Paused().result()
except BaseException:
    print("paused raises")
print(asyncio.run(Completed(data=4).aresult()))


@task
def needs(x):
    return x


@task
def fail():
    raise ValueError("no")


@flow
def main():
    state = needs.submit(fail.submit(), return_state=True)
    print(state.name, state.type.value)
    try:
        state.result()
    except UnfinishedRun:
        print("never ran")


main()
fail_state = fail(return_state=True)
for _ in range(2):
    try:
        fail_state.result()
    except ValueError as error:
        print(error)

# prints: gives 3
# prints: gives 3
# prints: gives []
# prints: gives []
# prints: raises ValueError no
# prints: gives ValueError no
# prints: raises FailedRun why
# prints: gives FailedRun why
# prints: raises FailedRun text
# prints: gives 'text'
# prints: raises KeyError 'deep'
# prints: gives Failed
# prints: raises KeyError 'second'
# prints: gives ['Completed', 'Failed']
# prints: raises CrashedRun gone
# prints: gives CrashedRun gone
# prints: raises CancelledRun off
# prints: gives CancelledRun off
# prints: unfinished
# prints: unfinished
# prints: unfinished
# prints: unfinished
# prints: unfinished
# prints: unfinished
# prints: paused raises
# prints: 4
# prints: NotReady PENDING
# prints: never ran
# prints: no
# prints: no
