"""Go on after a failure: states instead of exceptions, allow_failure, and what becomes of a flow."""

from prefect import State, allow_failure, flow, task


@task
def extract(source: str) -> list[int]:
    if source == "down":
        raise ConnectionError("no route to host")
    return [1, 2, 3]


@task
def count(rows: list[int]) -> int:
    return len(rows)


@task
def clean_up(result) -> str:
    return f"cleaned up after {result!r}"


@task
def report(text: str) -> str:
    return f"report: {text}"


@flow
def tolerant(sources: list[str]) -> dict[str, str]:
    told = {}
    for source in sources:
        state: State = extract(source, return_state=True)
        if state.is_completed():
            told[source] = f"{len(state.result())} rows"
        else:
            error = state.result(raise_on_failure=False)
            told[source] = f"{state.name}: {type(error).__name__}: {error}"
    return told


@flow
def with_allow_failure(source: str):
    rows = extract.submit(source)
    counted = count.submit(rows)
    cleaned = clean_up.submit(allow_failure(rows), wait_for=[allow_failure(counted)])
    print(rows.wait() or rows.state.name, counted.wait() or counted.state.name)
    print(counted.state.type.value, counted.state.is_pending(), counted.state.message is not None)
    return report(cleaned)


@flow
def unhandled():
    extract("down")
    return "never"


@flow
def last_state_counts():
    good = extract("up", return_state=True)
    bad = extract("down", return_state=True)
    return good, bad


@flow
def states_in_a_dict():
    return {"good": extract("up", return_state=True), "number": 5}


@flow
def returns_nothing():
    extract("down", return_state=True)


print(tolerant(["up", "down"]))
print(with_allow_failure("up"))
print(with_allow_failure("down"))
for each in [unhandled, last_state_counts, states_in_a_dict, returns_nothing]:
    state = each(return_state=True)
    print(f"{each.name}: {state.type.value} {state.name} | {state.message}")
try:
    unhandled()
except ConnectionError as error:
    print("raised:", error)
try:
    extract("down", return_state=True).result()
except ConnectionError as error:
    print("raised by result():", error)
state = extract("up", return_state=True)
print(state.is_final(), state.is_running(), state.is_crashed(), state.is_cancelled())
print(state)

# prints: {'up': '3 rows', 'down': 'Failed: ConnectionError: no route to host'}
# prints: Completed Completed
# prefect prints: COMPLETED False False
# flowspan prints: COMPLETED False True
# prints: report: cleaned up after [1, 2, 3]
# prints: Failed NotReady
# prints: PENDING True True
# prints: report: cleaned up after ConnectionError('no route to host')
# prefect prints: unhandled: FAILED Failed | Flow run encountered an exception: ConnectionError: no route to host
# flowspan prints: unhandled: FAILED Failed | ConnectionError: no route to host
# prints: last-state-counts: FAILED Failed | 1/2 states failed.
# prefect prints: states-in-a-dict: COMPLETED Completed | None
# prefect prints: returns-nothing: COMPLETED Completed | None
# flowspan prints: states-in-a-dict: COMPLETED Completed |
# flowspan prints: returns-nothing: COMPLETED Completed |
# prints: raised: no route to host
# prints: raised by result(): no route to host
# prints: True False False False
# prints: Completed()
# because: a message is the error alone, and empty where there is none
