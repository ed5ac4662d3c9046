"""The functions and classes of `prefect.states` for states that did not complete."""

import asyncio

from prefect import flow, task
from prefect.exceptions import CancelledRun, CrashedRun, FailedRun
from prefect.states import (
    Cancelled,
    Completed,
    Crashed,
    Failed,
    InfrastructurePending,
    Late,
    Paused,
    Pending,
    Running,
    StateGroup,
    Submitting,
    aget_state_exception,
    get_state_exception,
    get_state_result,
    is_state_iterable,
    raise_state_exception,
)

error = ValueError("no")
print(get_state_exception(Failed(data=error)) is error)
print(get_state_exception(Failed(data=Failed(data=error))) is error)
print(get_state_exception(Failed(data=[Completed(data=1), Failed(data=error)])) is error)
kinds = [FailedRun, FailedRun, FailedRun, CrashedRun, CancelledRun]
states = [Failed(message="m"), Failed(), Failed(data="text"), Crashed(message="m"), Cancelled()]
print([type(get_state_exception(state)) is kind for state, kind in zip(states, kinds)])
print(get_state_exception(Failed(message="m")), get_state_exception(Failed(data="text")))
for state in (Completed(), Running()):
    try:
        get_state_exception(state)
    except ValueError:
        print("has none")
print(raise_state_exception(Completed()), raise_state_exception(Running()))
try:
    raise_state_exception(Failed(data=error))
except ValueError as raised:
    print(raised is error)
try:
    raise_state_exception(Cancelled(message="off"))
except CancelledRun as raised:
    print(raised)


async def main():
    print(await get_state_exception(Failed(data=error)) is error)
    print(await aget_state_exception(Failed(data=error)) is error)
    print(get_state_exception(Failed(data=error), _sync=True) is error)
    print(await get_state_result(Completed(data=4)))
    print(await get_state_result(Failed(data=error), raise_on_failure=False) is error)
    print(await raise_state_exception(Completed()))
    try:
        await raise_state_exception(Failed(data=error))
    except ValueError as raised:
        print(raised is error)


asyncio.run(main())
print(
    [is_state_iterable(each) for each in ([Failed()], (Failed(),), {Failed()}, [], [1, Failed()])]
)
print(is_state_iterable({"a": Failed()}), is_state_iterable(Failed()))

group = StateGroup(
    [Completed(), Completed(), Failed(), Crashed(), Cancelled(), Running(), Paused()]
)
print(group.total_count, group.final_count, group.not_final_count, group.fail_count)
print(group.cancelled_count, group.paused_count, group.all_completed(), group.all_final())
print(group.any_failed(), group.any_cancelled(), group.any_paused())
print(group.counts_message())
print(
    group.type_counts["COMPLETED"],
    StateGroup([Completed()]).all_completed(),
    StateGroup([Failed()]),
)
print(Submitting().name, InfrastructurePending().name, Late().name, Pending().type.value)
print(Submitting().is_pending(), InfrastructurePending().is_pending())

# prints: True
# prints: True
# prints: True
# prints: [True, True, True, True, True]
# prints: m text
# prints: has none
# prints: has none
# prints: None None
# prints: True
# prints: off
# prints: True
# prints: True
# prints: True
# prints: 4
# prints: True
# prints: None
# prints: True
# prints: [True, True, True, False, False]
# prints: False False
# prints: 7 5 2 2
# prints: 1 1 False False
# prints: True True True
# prints: total=7, not_final=2, 'COMPLETED'=2, 'FAILED'=1, 'CRASHED'=1, 'CANCELLED'=1, 'RUNNING'=1, 'PAUSED'=1
# prints: 2 True StateGroup<total=1, 'FAILED'=1>
# prints: Submitting InfrastructurePending Late PENDING
# prints: True True
