"""A task or flow that returns a state which it made: its name, message and data, and what is given."""

import asyncio

from prefect import State, flow, task
from prefect.exceptions import CancelledRun, CrashedRun, FailedRun
from prefect.states import Cancelled, Completed, Crashed, Failed

MADE = {
    "Failed": lambda: Failed(message="m", data=7),
    "Failed, error": lambda: Failed(message="m", data=ValueError("e")),
    "Failed, text": lambda: Failed(message="m", data="text"),
    "Completed": lambda: Completed(message="m", data=3),
    "Completed, nothing": lambda: Completed(message="m"),
    "Skipped": lambda: Completed(name="Skipped", message="m", data=0),
    "Crashed": lambda: Crashed(message="m", data=ValueError("c")),
    "Cancelled": lambda: Cancelled(message="m"),
    "Completed of a list": lambda: Completed(data=[Failed(data=1), 2]),
    "Failed of a state": lambda: Failed(message="m", data=Failed(data=KeyError("inner"))),
}
KINDS = {CrashedRun: "CrashedRun", FailedRun: "FailedRun", CancelledRun: "CancelledRun"}


def shown(value):
    if isinstance(value, State):
        data = value.result(raise_on_failure=False, _sync=True) if value.is_completed() else "-"
        return f"state {value.type.value} {value.name} {value.message or None} {shown(data)}"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    return repr(value)


def given(call):
    try:
        return shown(call())
    except BaseException as error:
        return f"raises {KINDS.get(type(error)) or type(error).__name__}"


for name, make in MADE.items():

    @task(name="t")
    def plain():
        return make()

    @task(name="t")
    async def asynchronous():
        return make()

    @flow(name="f")
    def returns():
        return make()

    @flow(name="f")
    async def async_returns():
        return make()

    @flow(name="main")
    def main():
        called = given(plain)
        state = plain(return_state=True)
        print(f"{name}: {called} | {shown(state)}")
        future = plain.submit()
        other = asynchronous.submit()
        future.wait()
        other.wait()
        kinds = [future.state.type.value, other.state.type.value, future.state.name]
        if "Failed" != name:
            print("   submitted:", given(future.result), given(other.result), *kinds)
        if not future.state.is_cancelled():
            print("   data:", shown(future.result(raise_on_failure=False)))
        if "Failed" != name:
            print("   flow:", given(returns), shown(returns(return_state=True)))

    main()
    if "Failed" != name:
        print("   async:", given(lambda: asyncio.run(async_returns())))


@flow
def unexplained():
    return Failed(message="m", data=7)


try:
    unexplained()
except Exception as error:
    print(type(error).__name__)


attempts = []


@task(retries=2)
def again():
    attempts.append(1)
    return Completed(data="now") if len(attempts) == 3 else Failed(message="not yet")


@flow
def retrying():
    state = again(return_state=True)
    print(state.name, len(attempts), state.result())


retrying()

# prints: Failed: state FAILED Failed m '-' | state FAILED Failed m '-'
# prints:    data: 7
# prints: Failed, error: state FAILED Failed m '-' | state FAILED Failed m '-'
# prints:    submitted: raises ValueError raises ValueError FAILED FAILED Failed
# prints:    data: ValueError('e')
# prints:    flow: raises ValueError state FAILED Failed m '-'
# prints:    async: raises ValueError
# prints: Failed, text: state FAILED Failed m '-' | state FAILED Failed m '-'
# prints:    submitted: raises FailedRun raises FailedRun FAILED FAILED Failed
# prints:    data: 'text'
# prints:    flow: raises FailedRun state FAILED Failed m '-'
# prints:    async: raises FailedRun
# prints: Completed: state COMPLETED Completed m 3 | state COMPLETED Completed m 3
# prints:    submitted: 3 3 COMPLETED COMPLETED Completed
# prints:    data: 3
# prints:    flow: 3 state COMPLETED Completed m 3
# prints:    async: 3
# prints: Completed, nothing: state COMPLETED Completed m None | state COMPLETED Completed m None
# prints:    submitted: None None COMPLETED COMPLETED Completed
# prints:    data: None
# prints:    flow: None state COMPLETED Completed m None
# prints:    async: None
# prints: Skipped: state COMPLETED Skipped m 0 | state COMPLETED Skipped m 0
# prints:    submitted: 0 0 COMPLETED COMPLETED Skipped
# prints:    data: 0
# prints:    flow: 0 state COMPLETED Skipped m 0
# prints:    async: 0
# prints: Crashed: state CRASHED Crashed m '-' | state CRASHED Crashed m '-'
# prints:    submitted: raises ValueError raises ValueError CRASHED CRASHED Crashed
# prints:    data: ValueError('c')
# prints:    flow: raises ValueError state CRASHED Crashed m '-'
# prints:    async: raises ValueError
# prints: Cancelled: state CANCELLED Cancelled m '-' | state CANCELLED Cancelled m '-'
# prints:    submitted: raises CancelledRun raises CancelledRun CANCELLED CANCELLED Cancelled
# prints:    flow: raises CancelledRun state CANCELLED Cancelled m '-'
# prints:    async: raises CancelledRun
# prints: Completed of a list: state COMPLETED Completed None [state FAILED Failed None '-', 2] | state COMPLETED Completed None [state FAILED Failed None '-', 2]
# prints:    submitted: [state FAILED Failed None '-', 2] [state FAILED Failed None '-', 2] COMPLETED COMPLETED Completed
# prints:    data: [state FAILED Failed None '-', 2]
# prints:    flow: [state FAILED Failed None '-', 2] state COMPLETED Completed None [state FAILED Failed None '-', 2]
# prints:    async: [state FAILED Failed None '-', 2]
# prints: Failed of a state: state FAILED Failed m '-' | state FAILED Failed m '-'
# prints:    submitted: raises KeyError raises KeyError FAILED FAILED Failed
# prints:    data: state FAILED Failed None '-'
# prints:    flow: raises KeyError state FAILED Failed m '-'
# prints:    async: raises KeyError
# prefect prints: TypeError
# flowspan prints: RunFailed
# prints: Completed 3 now
# because: the error of a failed state with other data than an error is RunFailed with its message, and no complaint about the data
