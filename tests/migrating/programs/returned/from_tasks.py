"""Tasks that return states and futures: called, submitted, passed on."""

from dataclasses import dataclass

from prefect import State, flow, task
from prefect.exceptions import CancelledRun, CrashedRun, FailedRun
from prefect.states import Cancelled, Completed, Crashed, Failed


NAMES = {CrashedRun: "CrashedRun", FailedRun: "FailedRun", CancelledRun: "CancelledRun"}


def named(error):
    return NAMES.get(type(error)) or type(error).__name__


def shown(value):
    """States by their names and what is in them, so that both print the same."""
    if isinstance(value, State):
        if not value.is_final():
            return f"{value.name}"
        if value.is_cancelled():
            return f"{value.name} {value.message}"
        inside = value.result(raise_on_failure=False, _sync=True)
        return f"{value.name}<{shown(inside)}>"
    if isinstance(value, (list, tuple, set)):
        ends = {list: "[]", tuple: "()", set: "{}"}[type(value)]
        return ends[0] + ", ".join(sorted(map(shown, value))) + ends[1]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, BaseException):
        return f"{named(value)}({value})"
    return repr(value)


@task
def ok(x=1):
    return x


@task
def bad():
    raise ValueError("bad")


@task
def off():
    return Cancelled(message="off")


@task
def after(x):
    return x


@flow
def child():
    return 5


@flow
def bad_child():
    raise KeyError("child")


@dataclass
class Box:
    item: object


FORMS = {
    "future": lambda: ok.submit(),
    "failed future": lambda: bad.submit(),
    "state": lambda: ok(return_state=True),
    "failed state": lambda: bad(return_state=True),
    "subflow's state": lambda: child(return_state=True),
    "failed subflow's state": lambda: bad_child(return_state=True),
    "futures": lambda: [ok.submit(), ok.submit(2)],
    "futures, one failed": lambda: [ok.submit(), bad.submit()],
    "futures, all failed": lambda: [bad.submit(), bad.submit()],
    "one failed": lambda: [bad.submit()],
    "tuple": lambda: (ok.submit(), bad.submit()),
    "set": lambda: {bad.submit()},
    "states": lambda: [ok(return_state=True), bad(return_state=True)],
    "tuple with a value": lambda: (1, bad.submit()),
    "list with a value": lambda: [ok.submit(), bad(return_state=True), 3],
    "dict": lambda: {"a": bad.submit(), "b": ok.submit()},
    "nested": lambda: [[bad.submit()], [ok.submit()]],
    "nested with values": lambda: {"a": [1, ok.submit()], "b": bad.submit()},
    "cancelled and failed": lambda: [off.submit(), bad.submit()],
    "cancelled and completed": lambda: [off.submit(), ok.submit()],
    "all cancelled": lambda: [off.submit(), off.submit()],
    "not ready": lambda: [after.submit(bad.submit()), ok.submit()],
    "map": lambda: ok.map([1, 2]),
    "map, one failed": lambda: after.map([bad.submit(), 1]),
    "map's states": lambda: ok.map([1, 2], return_state=True),
    "made by hand": lambda: [Completed(data=1), Failed(data=ValueError("made"))],
    "made by hand, crashed": lambda: [Completed(data=1), Crashed(message="gone")],
    "made by hand, completed": lambda: [Completed(data=1), Completed(data=2)],
    "made in a dict": lambda: {"a": Failed(message="x")},
    "empty": lambda: [],
    "in a dataclass": lambda: type(Box(bad(return_state=True)).item).__name__,
}


TRIED = [
    "state",
    "failed state",
    "subflow's state",
    "states",
    "tuple with a value",
    "made by hand",
    "made in a dict",
    "future",
    "futures, one failed",
    "dict",
    "map",
]


def given(call):
    try:
        value = call()
    except BaseException as error:
        return f"raises {named(error)}"
    return shown(value)


def without_futures(value):
    """Futures by the results that they give."""
    if isinstance(value, dict):
        return {key: without_futures(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_futures(each) for each in value]
    if hasattr(value, "wait"):
        value.wait()
        return value.state
    return value


for name in TRIED:

    @task(name="returns")
    def returns():
        return FORMS[name]()

    @task(name="passes")
    async def passes():
        return FORMS[name]()

    @flow(name="calls")
    def calls():
        called = given(lambda: without_futures(returns()))
        future = returns.submit()
        future.wait()
        submitted = given(lambda: without_futures(future.result()))
        asynchronous = passes.submit()
        asynchronous.wait()
        same = given(lambda: without_futures(asynchronous.result())) == submitted
        print(f"{name}: {called} | {future.state.type.value} {submitted} {same}")

    calls()


@task
def children():
    return [ok.submit(3), ok.submit(4)]


@task
def child_states():
    return {"a": ok(return_state=True)}


@flow
def resolved():
    print(after(children.submit()), after.submit(children.submit()).result())
    print(after(child_states.submit()), after(child_states(return_state=True)))
    print(after.map(children.submit()).result())


resolved()

# prints: state: Completed<1> | COMPLETED Completed<1> True
# prints: failed state: Failed<ValueError(bad)> | FAILED raises ValueError True
# prints: subflow's state: Completed<5> | COMPLETED Completed<5> True
# prints: states: [Completed<1>, Failed<ValueError(bad)>] | FAILED raises ValueError True
# prints: tuple with a value: [1, Failed<ValueError(bad)>] | COMPLETED [1, Failed<ValueError(bad)>] True
# prints: made by hand: [Completed<1>, Failed<ValueError(made)>] | FAILED raises ValueError True
# prints: made in a dict: {a: Failed<FailedRun(x)>} | COMPLETED {a: Failed<FailedRun(x)>} True
# prints: future: Completed<1> | COMPLETED Completed<1> True
# prints: futures, one failed: [Completed<1>, Failed<ValueError(bad)>] | COMPLETED [Completed<1>, Failed<ValueError(bad)>] True
# prints: dict: {a: Failed<ValueError(bad)>, b: Completed<1>} | COMPLETED {a: Failed<ValueError(bad)>, b: Completed<1>} True
# prints: map: [Completed<1>, Completed<2>] | COMPLETED [Completed<1>, Completed<2>] True
# prints: [3, 4] [3, 4]
# prints: {'a': 1} {'a': 1}
# prints: [3, 4]
