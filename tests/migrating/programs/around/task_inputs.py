"""The runs whose results a task took, by parameter."""

from prefect import flow, task


def tell(task, run, state):
    inputs = {name: found for name, found in run.task_inputs.items() if not name.startswith("__")}
    print({name: len(found) for name, found in sorted(inputs.items())})
    made.extend(each.id for found in inputs.values() for each in found)


made = []


@task
def number(n):
    return n


@task(on_completion=[tell])
def add(a, b=0, *, c=()):
    return a


@flow
def inputs():
    one, two = number.submit(1), number.submit(2)
    add(one, 3)
    add(one, b=two, c=[one, two], wait_for=[two])
    ids = [one.state.state_details.task_run_id, two.state.state_details.task_run_id]
    print(made[0] == ids[0], set(made) == set(ids))


inputs()

# prints: {'a': 1, 'b': 0, 'c': 0}
# prints: {'a': 1, 'b': 1, 'c': 2, 'wait_for': 1}
# prints: True True
