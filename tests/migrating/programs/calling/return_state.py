"""A failed task's state is returned with return_state, and its result is its exception."""

from prefect import flow, task


@task
def fail():
    raise ValueError("no")


@flow
def main():
    state = fail(return_state=True)
    print(state.name, state.is_failed())
    print(repr(state.result(raise_on_failure=False)))
    return 1


print(main())

# prints: Failed True
# prints: ValueError('no')
# prints: 1
