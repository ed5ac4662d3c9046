"""Flows and tasks that say themselves how they ended."""

from prefect import flow, task
from prefect.states import Cancelled, Completed, Failed

SEEN: set[str] = {"a.csv"}


@task
def process(name: str):
    if name in SEEN:
        return Completed(name="Skipped", message=f"{name} was seen before", data=0)
    if name.endswith(".tmp"):
        return Failed(message=f"{name} is not finished")
    SEEN.add(name)
    return len(name)


@flow
def process_all(names: list[str]):
    states = [process(name, return_state=True) for name in names]
    for name, state in zip(names, states):
        print(f"{name}: {state.type.value} {state.name} {state.message}")
    if all(state.name == "Skipped" for state in states):
        return Completed(message="Nothing new.", name="Skipped", data=[])
    bad = [name for name, state in zip(names, states) if state.is_failed()]
    if bad:
        return Failed(message=f"{len(bad)} of {len(names)} failed", data=bad)
    return [state.result() for state in states]


@flow
def quality_gate(errors: int, limit: int = 3):
    if errors > limit:
        return Failed(message=f"{errors} errors", name="RejectedByGate")
    return Completed(message="fine", data={"errors": errors})


@flow
def calls_the_gate(errors: int):
    return quality_gate(errors)


@flow
def gives_future(name: str):
    return process.submit(name)


@flow
def cancels_itself():
    return Cancelled(message="a newer run has begun")


print(process_all(["b.csv", "longer.csv"]))
print(process_all(["a.csv", "b.csv"]))
state = process_all(["c.tmp", "d.csv"], return_state=True)
print(state.name, "|", state.message)
print(quality_gate(1))
for gate in [quality_gate, calls_the_gate]:
    try:
        gate(9)
    except Exception as error:
        print(type(error).__name__, "|", error)
state = quality_gate(9, return_state=True)
print(state.type.value, state.name, state.message)
state = gives_future("e.csv", return_state=True)
print(state.type.value, state.result())
print(type(gives_future("new.csv")).__name__)
state = cancels_itself(return_state=True)
print(state.type.value, state.name, state.message, state.is_cancelled())
print(process("a.csv"))

# prefect prints: b.csv: COMPLETED Completed None
# prefect prints: longer.csv: COMPLETED Completed None
# flowspan prints: b.csv: COMPLETED Completed
# flowspan prints: longer.csv: COMPLETED Completed
# prints: [5, 10]
# prints: a.csv: COMPLETED Skipped a.csv was seen before
# prints: b.csv: COMPLETED Skipped b.csv was seen before
# prints: []
# prints: c.tmp: FAILED Failed c.tmp is not finished
# prefect prints: d.csv: COMPLETED Completed None
# flowspan prints: d.csv: COMPLETED Completed
# prints: Failed | 1 of 2 failed
# prints: {'errors': 1}
# prefect prints: FailedRun | 9 errors
# prefect prints: FailedRun | 9 errors
# flowspan prints: RunFailed | 9 errors
# flowspan prints: RunFailed | 9 errors
# prints: FAILED RejectedByGate 9 errors
# prints: COMPLETED Completed()
# prints: State
# prints: CANCELLED Cancelled a newer run has begun True
# prints: Skipped('a.csv was seen before', type=COMPLETED)
# because: a message is empty where there is none, and FailedRun is another name of RunFailed
