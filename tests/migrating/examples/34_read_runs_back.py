"""Ask the service afterwards what has run: the client, and the states of runs."""

import asyncio

from prefect import flow, get_client, task
from prefect.client.orchestration import get_client as same_get_client
from prefect.client.schemas.objects import StateType
from prefect.context import get_run_context
from prefect.runtime import flow_run, task_run


@task(task_run_name="square-{x}")
async def square(x: int) -> int:
    if x > 3:
        raise ValueError(f"{x} is too large")
    return x * x


@task
def my_task_run_id() -> str:
    return task_run.id


@flow(name="squares-read-back", flow_run_name="squares-to-{limit}")
async def squares(limit: int) -> dict:
    context = get_run_context()
    total = 0
    for x in range(limit + 1):
        total += await square(x)
    return {
        "total": total,
        "flow_run_id": flow_run.id,
        "task_run_id": my_task_run_id(),
        "same": str(context.flow_run.id) == flow_run.id,
    }


async def main():
    answer = await squares(2)
    print(answer["total"], answer["same"])
    state = await squares(5, return_state=True)
    print(state.type.value, "|", state.message)
    await asyncio.sleep(0.1)

    async with get_client() as client:
        run = await client.read_flow_run(answer["flow_run_id"])
        print(run.name, run.state.name, run.state.type == StateType.COMPLETED)
        print(run.parameters, sorted(run.tags), run.run_count)
        print(str(run.id) == answer["flow_run_id"], run.state.is_completed())
        found = await client.read_flow(run.flow_id)
        print(found.name)
        by_name = await client.read_flow_by_name("squares-read-back")
        print(by_name.id == found.id)
        states = await client.read_flow_run_states(run.id)
        print([each.name for each in states])
        for attempt in range(100):
            try:
                one = await client.read_task_run(answer["task_run_id"])
                if one.state and one.state.is_final():
                    break
            except Exception:
                pass
            await asyncio.sleep(0.05)
        print(one.name.rsplit("-", 1)[0], one.state.name, one.flow_run_id == run.id)
        print(await client.read_flow_run_states(run.id) == [], same_get_client is get_client)


asyncio.run(main())
with get_client(sync_client=True) as client:
    print(client.read_flow_by_name("squares-read-back").name)

# prints: 5 True
# prefect prints: FAILED | Flow run encountered an exception: ValueError: 4 is too large
# flowspan prints: FAILED | ValueError: 4 is too large
# prints: squares-to-2 Completed True
# prefect prints: {'limit': 2} [] 1
# flowspan prints: Payload(encoding='json', data=b'{"limit":2}') [] 1
# prints: True True
# prints: squares-read-back
# prints: True
# prints: ['Pending', 'Running', 'Completed']
# prints: my_task_run_id Completed True
# prints: False True
# prints: squares-read-back
# because: a message is the error alone, and parameters are a Payload: run.parameters.json()
