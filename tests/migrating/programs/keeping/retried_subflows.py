"""A retried flow does not run again the subflows that completed in an earlier attempt."""

from prefect import flow, task

ran = []
attempts = []


@task
def note(what):
    ran.append(what)
    return what


@flow(persist_result=True, on_completion=[lambda _flow, _run, _state: ran.append("hook")])
def charge(card):
    note(f"charge {card}")
    return [card]


@flow(persist_result=True)
def gives_nothing():
    ran.append("nothing")


@flow(persist_result=False)
def anew():
    ran.append("anew")
    return "anew"


@flow(persist_result=True)
def deeper():
    ran.append("deeper")
    return charge(7)


@flow(persist_result=True)
def shaky():
    ran.append("shaky")
    charge(9)
    if attempts[-1] == 1:
        raise ValueError("shaky")
    return "steady"


@flow(retries=2, persist_result=True)
def main():
    attempts.append(len(attempts) + 1)
    first = charge(1)
    print(attempts[-1], first)
    first.append("changed")
    print([charge(card) for card in (1, 1, 2)], gives_nothing(), anew(), deeper())
    state = charge(3, return_state=True)
    print(state.is_completed(), state.result())
    if attempts[-1] == 2:
        raise ValueError("again")
    print(shaky())
    return "done"


print(main())
print(*ran, sep="\n")


@flow
def other(number):
    ran.append(number)
    return number


@flow(retries=1, persist_result=True)
def with_other_parameters():
    attempts.append(len(attempts) + 1)
    print(other(attempts[-1]))
    if attempts[-1] == 1:
        raise ValueError("again")


ran.clear()
attempts.clear()
with_other_parameters()
print(ran)


@flow(retries=1)
def without_persistence():
    attempts.append(len(attempts) + 1)
    other(5)
    if attempts[-1] == 1:
        raise ValueError("again")


ran.clear()
attempts.clear()
without_persistence()
print(ran)

# prints: 1 [1]
# prints: [[1], [1], [2]] None anew [7]
# prints: True [3]
# prints: 2 [1]
# prints: [[1], [1], [2]] None anew [7]
# prints: True [3]
# prints: 3 [1]
# prints: [[1], [1], [2]] None anew [7]
# prints: True [3]
# prints: steady
# prints: done
# prints: charge 1
# prints: hook
# prints: charge 1
# prints: hook
# prints: charge 1
# prints: hook
# prints: charge 2
# prints: hook
# prints: nothing
# prints: anew
# prints: deeper
# prints: charge 7
# prints: hook
# prints: charge 3
# prints: hook
# prints: shaky
# prints: charge 9
# prints: hook
# prints: hook
# prints: hook
# prints: hook
# prints: hook
# prints: anew
# prints: hook
# prints: hook
# prints: hook
# prints: hook
# prints: hook
# prints: anew
# prints: hook
# prints: shaky
# prints: charge 9
# prints: hook
# prints: 1
# prefect prints: 1
# prefect prints: [1]
# prefect prints: [5, 5]
# flowspan prints: 2
# flowspan prints: [1, 2]
# flowspan prints: [5]
# because: a call with other parameters is another call, and what completed is kept without persist_result too, as of tasks
