"""Equality and ids of states, runs, futures and copies."""

import copy
import pickle

from prefect import flow, get_client, task
from prefect.states import Completed, Failed

one, two = Completed(data=1), Completed(data=2)
print(one == one, one == two, one != two, Completed() == Completed())
print(one in [two], [two, one].index(one), len({one, two, one}), bool(one), bool(Failed()))
for made in (copy.copy, copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))):
    print(made(one) == one, made(one) == two, made(one).id == one.id, made(one).data)
print(one == "Completed", one == None)  # noqa: E711


def hook(definition, run, state):
    details = state.state_details
    print(definition.name, run.id in (details.flow_run_id, details.task_run_id))
    print(run.state_id == state.id, run.state == state, type(run.state_id).__name__)


@task(on_completion=[hook])
def step():
    return 1


@flow(on_completion=[hook])
def main():
    future = step.submit()
    future.wait()
    print(future.state.state_details.task_run_id == future.task_run_id)
    print(type(future.task_run_id).__name__, len({future.task_run_id}))
    return step(return_state=True)


state = main(return_state=True)
with get_client(sync_client=True) as client:
    run = client.read_flow_run(state.state_details.flow_run_id)
    print(run.id == state.state_details.flow_run_id, run.state)
    inner = state.result()
    task_run = client.read_task_run(inner.state_details.task_run_id)
    print(task_run.id == inner.state_details.task_run_id, task_run.flow_run_id == run.id)
again = pickle.loads(pickle.dumps(inner))
print(again == inner, again.id == inner.id, again.state_details == inner.state_details)

# prints: True False True False
# prints: False 1 2 True True
# prints: True False True 1
# prints: True False True 1
# prints: True False True 1
# prints: False False
# prints: step True
# prints: True True UUID
# prints: True
# prints: UUID 1
# prints: step True
# prints: True True UUID
# prints: main True
# prefect prints: False True UUID
# flowspan prints: True True UUID
# prints: True Completed('All states completed.')
# prints: True True
# prints: True True True
# because: Prefect's flow run has a new state and the id of the one before
