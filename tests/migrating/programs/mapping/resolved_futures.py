"""Futures in a collection are replaced by their states, and by their results."""

from prefect import flow, task
from prefect.futures import resolve_futures_to_results, resolve_futures_to_states
from prefect.states import Completed


@task
def double(x: int) -> int:
    return 2 * x


@task
def fail() -> None:
    raise ValueError("no")


@flow
def collections() -> None:
    futures = {"a": double.submit(1), "b": [double.submit(2), (3, double.submit(4))], "c": "text"}
    print(resolve_futures_to_results(futures))
    states = resolve_futures_to_states(futures)
    print(states["a"].name, states["b"][1][1].is_completed(), states["c"])
    print(resolve_futures_to_results(double.submit(5)), resolve_futures_to_results([6, None]))
    print(resolve_futures_to_results({"state": Completed()})["state"].name)
    try:
        resolve_futures_to_results([double.submit(1), fail.submit()])
    except Exception as error:
        print(error)
    print(resolve_futures_to_states([fail.submit()])[0].name)


collections(return_state=True)

# prints: {'a': 2, 'b': [4, (3, 8)], 'c': 'text'}
# prints: Completed True text
# prints: 10 [6, None]
# prints: Completed
# prefect prints: At least one result did not complete successfully
# flowspan prints: Task run 'fail-0', whose result is needed, ended as Failed: ValueError: no
# prints: Failed
# because: the error names the run that did not complete
